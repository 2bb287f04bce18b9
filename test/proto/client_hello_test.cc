// client_hello_test: names are found at any cut of packets and records; what is no hello, or could
// be read in two ways, is told apart.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/client_hello.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace postern::proto {
namespace {

using std::string_literals::operator""s;
using Status = ClientHelloReader::Status;

std::string Number(size_t value, int num_bytes) {
  std::string bytes;
  for (int shift = 8 * (num_bytes - 1); shift >= 0; shift -= 8)
    bytes += static_cast<char>(value >> shift & 0xff);
  return bytes;
}
std::string Vector(int size_bytes, const std::string& body) {
  return Number(body.size(), size_bytes) + body;
}
std::string Extension(size_t type, const std::string& body) {
  return Number(type, 2) + Vector(2, body);
}
std::string ServerName(const std::string& name) {
  return Extension(0, Vector(2, "\0"s + Vector(2, name)));
}
const std::string kSome = Extension(10, Vector(2, "\x00\x1d"s)) + Extension(0xfafa, "");

std::string BodyUpToExtensions() {
  return "\x03\x03" + std::string(32, 'r') + Vector(1, std::string(32, 's')) +
         Vector(2, "\x13\x01\x13\x02") + Vector(1, "\0"s);
}
std::string Message(const std::string& body, char type = 1) {
  return type + Vector(3, body);
}
std::string Hello(const std::string& extensions) {
  return Message(BodyUpToExtensions() + Vector(2, extensions));
}
std::string Record(const std::string& fragment, char type = 22,
                   const std::string& version = "\3\1") {
  return type + version + Vector(2, fragment);
}

struct Verdict {
  Status status;
  std::string name;
  bool operator==(const Verdict&) const = default;
};
void PrintTo(const Verdict& verdict, std::ostream* out) {
  *out << static_cast<int>(verdict.status) << ' ' << Name(verdict.status) << " '" << verdict.name
       << "'";
}

Verdict ReadWhole(const std::string& input) {
  ClientHelloReader reader;
  const Status status = reader.Read(input);
  return {status, reader.server_name()};
}

Verdict ReadByByte(const std::string& input) {
  ClientHelloReader reader;
  Status status = Status::kNeedMore;
  for (size_t n = 0; n <= input.size(); ++n) status = reader.Read(input.substr(0, n));
  return {status, reader.server_name()};
}

struct Row {
  const char* name;
  std::string input;
  Verdict want;
};

const std::string kName = "mail.example.com";

const std::vector<Row> kRows = {
    {"WithName", Record(Hello(kSome + ServerName(kName) + kSome)), {Status::kDone, kName}},
    {"InLowerCase", Record(Hello(ServerName("Mail.EXAMPLE.com"))), {Status::kDone, kName}},
    {"WithoutName", Record(Hello(kSome)), {Status::kDone, ""}},
    {"WithoutAnyExtension", Record(Hello("")), {Status::kDone, ""}},
    {"WithoutExtensions", Record(Message(BodyUpToExtensions())), {Status::kDone, ""}},
    {"RecordOfTls12", Record(Hello(ServerName(kName)), 22, "\3\3"), {Status::kDone, kName}},
    {"BytesBehindTheMessage", Record(Hello(ServerName(kName)) + "more"), {Status::kDone, kName}},
    {"LongestName",
     Record(Hello(ServerName(std::string(255, 'a')))),
     {Status::kDone, std::string(255, 'a')}},
    {"Underscore", Record(Hello(ServerName("_imaps.example"))), {Status::kDone, "_imaps.example"}},

    {"Nothing", "", {Status::kNeedMore, ""}},
    {"HalfAHeader", "\x16\x03\x01", {Status::kNeedMore, ""}},
    {"Unfinished", Record(Hello(ServerName(kName)).substr(0, 60)), {Status::kNeedMore, ""}},
    {"MayBeSslV2", "\x80\x2e", {Status::kNeedMore, ""}},

    {"Http", "GET / HTTP/1.1\r\n\r\n", {Status::kNotTls, ""}},
    {"Imap", "a LOGIN u p\r\n", {Status::kNotTls, ""}},
    {"Ssh", "SSH-2.0-x\r\n", {Status::kNotTls, ""}},
    {"Alert", Record("\1\0"s, 21), {Status::kNotTls, ""}},
    {"WrongMajorVersion", Record(Hello(""), 22, "\2\0"s), {Status::kNotTls, ""}},
    {"HighBitAndNoHello", "\x80\x2e\x04\x03\x01", {Status::kNotTls, ""}},
    {"SslV2", "\x80\x2e\x01\x03\x01"s + std::string(43, 'x'), {Status::kSslV2, ""}},

    {"MessageTooLong", Record("\1" + Number(kMaxClientHelloBytes - 8, 3)), {Status::kTooLong, ""}},
    {"MessageVeryLong", Record("\1\xff\xff\xff"), {Status::kTooLong, ""}},
    {"ServerHello", Record(Message(BodyUpToExtensions(), 2)), {Status::kInvalid, ""}},
    {"EmptyRecord", Record(""), {Status::kInvalid, ""}},
    {"RecordTooLong", "\x16\x03\x01\x40\x01", {Status::kInvalid, ""}},
    {"AnotherRecordBetween", Record("\1\0"s) + Record("\1", 20), {Status::kInvalid, ""}},
    {"AnotherVersionBetween", Record("\1\0"s) + Record("x", 22, "\2\0"s), {Status::kInvalid, ""}},
    {"EmptyBody", Record(Message("")), {Status::kInvalid, ""}},
    {"SessionTooLong",
     Record(Message("\3\3" + std::string(32, 'r') + Vector(1, std::string(33, 's')) +
                    Vector(2, "\x13\x01") + Vector(1, "\0"s))),
     {Status::kInvalid, ""}},
    {"NoCipher",
     Record(
         Message("\3\3" + std::string(32, 'r') + Vector(1, "") + Vector(2, "") + Vector(1, "\0"s))),
     {Status::kInvalid, ""}},
    {"HalfACipher",
     Record(Message("\3\3" + std::string(32, 'r') + Vector(1, "") + Vector(2, "abc") +
                    Vector(1, "\0"s))),
     {Status::kInvalid, ""}},
    {"NoCompression",
     Record(
         Message("\3\3" + std::string(32, 'r') + Vector(1, "") + Vector(2, "ab") + Vector(1, ""))),
     {Status::kInvalid, ""}},
    {"BytesBehindTheExtensions",
     Record(Message(BodyUpToExtensions() + Vector(2, ServerName(kName)) + "x")),
     {Status::kInvalid, ""}},
    {"HalfAnExtension", Record(Hello(ServerName(kName) + "\0"s)), {Status::kInvalid, ""}},
    {"ExtensionBeyondTheEnd",
     Record(Hello(ServerName(kName) + "\0\5\0\1"s)),
     {Status::kInvalid, ""}},
    {"TwoNames",
     Record(Hello(ServerName(kName) + ServerName("b.example"))),
     {Status::kInvalid, ""}},
    {"TwoNamesInOne",
     Record(Hello(Extension(0, Vector(2, "\0"s + Vector(2, "a") + "\0"s + Vector(2, "b"))))),
     {Status::kInvalid, ""}},
    {"AnotherKindOfName",
     Record(Hello(Extension(0, Vector(2, "\1" + Vector(2, "a"))))),
     {Status::kInvalid, ""}},
    {"EmptyName", Record(Hello(ServerName(""))), {Status::kInvalid, ""}},
    {"EmptyExtension", Record(Hello(Extension(0, ""))), {Status::kInvalid, ""}},
    {"BytesBehindTheName",
     Record(Hello(Extension(0, Vector(2, "\0"s + Vector(2, "a")) + "x"))),
     {Status::kInvalid, ""}},
    {"NameTooLong", Record(Hello(ServerName(std::string(256, 'a')))), {Status::kInvalid, ""}},
    {"NulInTheName", Record(Hello(ServerName("a.example\0.b"s))), {Status::kInvalid, ""}},
    {"BlankInTheName", Record(Hello(ServerName("a example"))), {Status::kInvalid, ""}},
    {"NotAsciiInTheName", Record(Hello(ServerName("m\xc3\xa4il.example"))), {Status::kInvalid, ""}},
    {"StarInTheName", Record(Hello(ServerName("*.example"))), {Status::kInvalid, ""}},
};

class ClientHelloTest : public testing::TestWithParam<Row> {};

TEST_P(ClientHelloTest, AtOnceAndByteByByte) {
  EXPECT_EQ(ReadWhole(GetParam().input), GetParam().want);
  EXPECT_EQ(ReadByByte(GetParam().input), GetParam().want);
}

INSTANTIATE_TEST_SUITE_P(All, ClientHelloTest, testing::ValuesIn(kRows),
                         [](const auto& param_info) { return param_info.param.name; });

TEST(ClientHelloCutsTest, InTwoPacketsAtEveryPlace) {
  const std::string input = Record(Hello(kSome + ServerName(kName)));
  for (size_t cut = 0; cut < input.size(); ++cut) {
    ClientHelloReader reader;
    ASSERT_EQ(reader.Read(input.substr(0, cut)), Status::kNeedMore) << cut;
    EXPECT_EQ(reader.server_name(), "");
    ASSERT_EQ(reader.Read(input), Status::kDone) << cut;
    EXPECT_EQ(reader.server_name(), kName);
  }
}

TEST(ClientHelloCutsTest, InTwoRecordsAtEveryPlace) {
  const std::string message = Hello(kSome + ServerName(kName));
  for (size_t cut = 1; cut < message.size(); ++cut) {
    const std::string input = Record(message.substr(0, cut)) + Record(message.substr(cut));
    const Verdict want{Status::kDone, kName};
    EXPECT_EQ(ReadWhole(input), want) << cut;
    EXPECT_EQ(ReadByByte(input), want) << cut;
  }
}

TEST(ClientHelloCutsTest, InRecordsOfOneByte) {
  std::string input;
  for (const char c : Hello(ServerName(kName))) input += Record(std::string(1, c));
  EXPECT_EQ(ReadWhole(input), (Verdict{Status::kDone, kName}));
}

// A hello of exactly the limit is read; one byte more on the wire is not, however it comes.
TEST(ClientHelloLimitTest, CountsWhatIsOnTheWire) {
  const size_t fixed = Record(Hello(ServerName(kName) + Extension(21, ""))).size();
  const auto padded = [&](size_t wire_bytes) {
    return Record(Hello(ServerName(kName) + Extension(21, std::string(wire_bytes - fixed, '\0'))));
  };
  const std::string longest = padded(kMaxClientHelloBytes);
  ASSERT_EQ(longest.size(), kMaxClientHelloBytes);
  EXPECT_EQ(ReadWhole(longest), (Verdict{Status::kDone, kName}));
  EXPECT_EQ(ReadWhole(padded(kMaxClientHelloBytes + 1)), (Verdict{Status::kTooLong, ""}));
  // The same message in two records has one header more.
  const std::string message = longest.substr(5);
  const std::string split = Record(message.substr(0, 100)) + Record(message.substr(100));
  EXPECT_EQ(ReadWhole(split), (Verdict{Status::kTooLong, ""}));
  EXPECT_EQ(ReadByByte(split), (Verdict{Status::kTooLong, ""}));
}

TEST(ClientHelloLimitTest, AnAnswerStays) {
  ClientHelloReader reader;
  ASSERT_EQ(reader.Read("x"), Status::kNotTls);
  EXPECT_EQ(reader.Read(Record(Hello(ServerName(kName)))), Status::kNotTls);
  EXPECT_EQ(reader.server_name(), "");
}

TEST(ClientHelloNamesTest, EveryRefusalHasItsWords) {
  for (const Status status : {Status::kNotTls, Status::kSslV2, Status::kTooLong, Status::kInvalid})
    EXPECT_NE(Name(status), "");
}

}  // namespace
}  // namespace postern::proto
