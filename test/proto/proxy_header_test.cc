// proxy_header_test: valid headers are read exactly, anything else is invalid, at any cut.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/proxy_header.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace postern::proto {
namespace {

using base::SocketAddress;
using std::string_literals::operator""s;
using Status = ProxyParse::Status;

const std::string kSignature = "\r\n\r\n\0\r\nQUIT\n"s;
const std::string kFour = "\x0c\x00\x02\x01\x0a\x00\x00\x01\x12\x34\x03\xe1"s;

std::string V2(char command, char family, const std::string& body) {
  return kSignature + command + family + static_cast<char>(body.size() >> 8) +
         static_cast<char>(body.size() & 0xff) + body;
}

struct Row {
  const char* name;
  std::string input;
  Status status;
  std::string source, destination;  // empty: the socket's own
};

const std::vector<Row> kRows = {
    {"V1Tcp4", "PROXY TCP4 192.0.2.1 10.0.0.1 4711 993\r\n", Status::kDone, "192.0.2.1:4711",
     "10.0.0.1:993"},
    {"V1Tcp6", "PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", Status::kDone, "[2001:db8::1]:1",
     "[::1]:65535"},
    {"V1Unknown", "PROXY UNKNOWN\r\n", Status::kDone, "", ""},
    {"V1UnknownMore", "PROXY UNKNOWN ffff::1 whatever\r\n", Status::kDone, "", ""},
    {"V1BadOctet", "PROXY TCP4 999.1.1.1 10.0.0.1 1 2\r\n", Status::kInvalid, "", ""},
    {"V1LeadingZero", "PROXY TCP4 192.0.2.01 10.0.0.1 1 2\r\n", Status::kInvalid, "", ""},
    {"V1BadPort", "PROXY TCP4 192.0.2.1 10.0.0.1 65536 2\r\n", Status::kInvalid, "", ""},
    {"V1PortZeroPadded", "PROXY TCP4 192.0.2.1 10.0.0.1 01 2\r\n", Status::kInvalid, "", ""},
    {"V1PortSigned", "PROXY TCP4 192.0.2.1 10.0.0.1 +1 2\r\n", Status::kInvalid, "", ""},
    {"V1NoPort", "PROXY TCP4 192.0.2.1 10.0.0.1 1\r\n", Status::kInvalid, "", ""},
    {"V1OneWordMore", "PROXY TCP4 192.0.2.1 10.0.0.1 1 2 3\r\n", Status::kInvalid, "", ""},
    {"V1BlankAtTheEnd", "PROXY TCP4 192.0.2.1 10.0.0.1 1 2 \r\n", Status::kInvalid, "", ""},
    {"V1TwoBlanks", "PROXY TCP4 192.0.2.1  10.0.0.1 1 2\r\n", Status::kInvalid, "", ""},
    {"V1WrongFamily", "PROXY TCP4 ::1 ::1 1 2\r\n", Status::kInvalid, "", ""},
    {"V1WrongFamily6", "PROXY TCP6 192.0.2.1 10.0.0.1 1 2\r\n", Status::kInvalid, "", ""},
    {"V1LowerCase", "proxy tcp4 192.0.2.1 10.0.0.1 1 2\r\n", Status::kInvalid, "", ""},
    {"V1Udp", "PROXY UDP4 192.0.2.1 10.0.0.1 1 2\r\n", Status::kInvalid, "", ""},
    {"V1BareLf", "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\n", Status::kInvalid, "", ""},
    {"V1BareCr", "PROXY TCP4 192.0.2.1\r 10.0.0.1 1 2\r\n", Status::kInvalid, "", ""},
    {"V1TooLong", "PROXY UNKNOWN " + std::string(100, 'x') + "\r\n", Status::kInvalid, "", ""},
    {"V1Longest", "PROXY UNKNOWN " + std::string(91, 'x') + "\r\n", Status::kDone, "", ""},
    {"V2Tcp4", V2(0x21, 0x11, kFour), Status::kDone, "12.0.2.1:4660", "10.0.0.1:993"},
    {"V2Tcp6",
     V2(0x21, 0x21,
        "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
        "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x01\0\x02"s),
     Status::kDone, "[2001:db8::1]:1", "[::1]:2"},
    {"V2Tlvs", V2(0x21, 0x11, kFour + "\x01\0\x02h2\xee\0\0"s), Status::kDone, "12.0.2.1:4660",
     "10.0.0.1:993"},
    {"V2TlvCut", V2(0x21, 0x11, kFour + "\x01\0\x03h2"s), Status::kInvalid, "", ""},
    {"V2TlvHeadCut", V2(0x21, 0x11, kFour + "\x01\0"s), Status::kInvalid, "", ""},
    {"V2Local", V2(0x20, 0x00, ""), Status::kDone, "", ""},
    {"V2LocalWithAddresses", V2(0x20, 0x11, kFour), Status::kDone, "", ""},
    {"V2Unspec", V2(0x21, 0x00, "whatever"), Status::kDone, "", ""},
    {"V2BadCommand", V2(0x2f, 0x11, kFour), Status::kInvalid, "", ""},
    {"V2BadVersion", V2(0x11, 0x11, kFour), Status::kInvalid, "", ""},
    {"V2Udp", V2(0x21, 0x12, kFour), Status::kInvalid, "", ""},
    {"V2Unix", V2(0x21, 0x31, std::string(216, 'x')), Status::kInvalid, "", ""},
    {"V2ShortAddresses", V2(0x21, 0x11, kFour.substr(1)), Status::kInvalid, "", ""},
    {"V2Longest", V2(0x20, 0x00, std::string(kMaxProxyHeaderBytes - 16, 'x')), Status::kDone, "",
     ""},
    {"V2TooLong", V2(0x20, 0x00, std::string(kMaxProxyHeaderBytes - 15, 'x')), Status::kInvalid, "",
     ""},
    {"NoHeader", "a LOGIN alice secret\r\n", Status::kInvalid, "", ""},
    {"TlsHello", "\x16\x03\x01\x02\x00\x01"s, Status::kInvalid, "", ""},
    {"AlmostV1", "PROXX", Status::kInvalid, "", ""},
    {"AlmostV2", "\r\n\r\n\0\r\nQUIT\r"s, Status::kInvalid, "", ""},
};

class ProxyHeaderTest : public testing::TestWithParam<Row> {};

void ExpectRow(const ProxyParse& got, const Row& row) {
  ASSERT_EQ(got.status, row.status);
  EXPECT_EQ(got.header.has_addresses, !row.source.empty());
  if (row.status == Status::kDone) {
    EXPECT_EQ(got.size_bytes, row.input.size());
  }
  if (row.source.empty()) return;
  EXPECT_EQ(got.header.source.ToString(), row.source);
  EXPECT_EQ(got.header.destination.ToString(), row.destination);
}

TEST_P(ProxyHeaderTest, Whole) {
  ExpectRow(ParseProxyHeader(GetParam().input), GetParam());
}

TEST_P(ProxyHeaderTest, WithBytesBehind) {
  const Row& row = GetParam();
  ExpectRow(ParseProxyHeader(row.input + "\x16\x03"), row);
}

TEST_P(ProxyHeaderTest, ByteByByte) {
  const std::string& input = GetParam().input;
  for (size_t size = 0; size <= input.size(); ++size) {
    const ProxyParse got = ParseProxyHeader(std::string_view(input).substr(0, size));
    if (got.status == Status::kNeedMore) continue;
    EXPECT_EQ(got.status, GetParam().status) << size;
    if (got.status == Status::kDone) {
      ExpectRow(got, GetParam());
    }
    return;
  }
  ADD_FAILURE() << "wants more for ever";
}

INSTANTIATE_TEST_SUITE_P(Table, ProxyHeaderTest, testing::ValuesIn(kRows),
                         [](const auto& row) { return std::string(row.param.name); });

struct Pair {
  const char* source;
  const char* destination;
  const char* v1;
};
const std::vector<Pair> kPairs = {
    {"192.0.2.1:4711", "10.0.0.1:993", "PROXY TCP4 192.0.2.1 10.0.0.1 4711 993\r\n"},
    {"[2001:db8::1]:4711", "[2001:db8::2]:993", "PROXY TCP6 2001:db8::1 2001:db8::2 4711 993\r\n"},
    {"192.0.2.1:4711", "[2001:db8::2]:993", "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 4711 993\r\n"},
};

TEST(PrintProxyHeaderTest, IsReadBackAlike) {
  for (const Pair& pair : kPairs) {
    const SocketAddress source = *SocketAddress::Parse(pair.source);
    const SocketAddress destination = *SocketAddress::Parse(pair.destination);
    EXPECT_EQ(PrintProxyHeader(ProxyVersion::kV1, source, destination), pair.v1);
    for (const ProxyVersion version : {ProxyVersion::kV1, ProxyVersion::kV2}) {
      const std::string header = PrintProxyHeader(version, source, destination);
      const ProxyParse got = ParseProxyHeader(header);
      ASSERT_EQ(got.status, Status::kDone) << pair.v1;
      EXPECT_EQ(got.size_bytes, header.size());
      EXPECT_EQ(got.header.source, source);
      EXPECT_EQ(got.header.destination, destination);
    }
  }
}

TEST(PrintProxyHeaderTest, LocalKeepsTheSocketsOwn) {
  for (const ProxyVersion version : {ProxyVersion::kV1, ProxyVersion::kV2}) {
    const ProxyParse got = ParseProxyHeader(PrintLocalProxyHeader(version));
    ASSERT_EQ(got.status, Status::kDone);
    EXPECT_FALSE(got.header.has_addresses);
  }
}

}  // namespace
}  // namespace postern::proto
