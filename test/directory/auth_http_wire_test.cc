// auth_http_wire_test: questions octet by octet, answers honest and not, whole and cut.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/auth_http_wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace postern::directory {
namespace {

using Kind = io::LookupAnswer::Kind;
using Status = AuthHttpAnswer::Status;
using testing::HasSubstr;
using testing::Not;
using namespace std::chrono_literals;  // NOLINT: literals only
using namespace std::string_literals;  // NOLINT: literals only

// --- questions ------------------------------------------------------------------------------

io::LoginFacts Alice(const base::Secret& password) {
  io::LoginFacts login;
  login.protocol = "imap";
  login.mechanism = "plain";
  login.user = "Alice@example.com";
  login.password = &password;
  login.client = *base::SocketAddress::Parse("192.0.2.7:40000");
  return login;
}
std::string Ask(const io::LoginFacts* login, const AuthHttpHeaders& headers = {},
                std::string_view key = "alice@example.com") {
  const auto question = AuthHttpQuestion({key, login}, headers);
  return question ? std::string(question->Reveal()) : "error: " + question.error();
}

TEST(AuthHttpQuestionTest, TheHeadIsEachServersOwn) {
  const auto url = base::ParseHttpUrl("http://Lookup.example:7072/service?x=1");
  EXPECT_EQ(AuthHttpHead(*url, {}), "GET /service?x=1 HTTP/1.0\r\nHost: lookup.example:7072\r\n");
  AuthHttpHeaders headers;
  headers.emplace("host", base::Secret("other.example"));
  EXPECT_EQ(AuthHttpHead(*url, headers), "GET /service?x=1 HTTP/1.0\r\n");
}

TEST(AuthHttpQuestionTest, ALoginIsToldAsNginxTellsIt) {
  const base::Secret password("secret");
  const io::LoginFacts login = Alice(password);
  EXPECT_EQ(Ask(&login),
            "Auth-Method: plain\r\n"
            "Auth-User: Alice@example.com\r\n"
            "Auth-Pass: secret\r\n"
            "Auth-Protocol: imap\r\n"
            "Auth-Login-Attempt: 1\r\n"
            "Client-IP: 192.0.2.7\r\n"
            "\r\n");
}

TEST(AuthHttpQuestionTest, BlanksControlsAndPercentAreEscapedAndNothingElse) {
  const base::Secret password("a b%\r\nX: \0\x7f\xc3\xa9+&=/"s);
  io::LoginFacts login = Alice(password);
  login.user = "al ice\r\nEvil: 1%41";
  const std::string question = Ask(&login);
  EXPECT_THAT(question, HasSubstr("Auth-User: al%20ice%0D%0AEvil:%201%2541\r\n"));
  EXPECT_THAT(question, HasSubstr("Auth-Pass: a%20b%25%0D%0AX:%20%00\x7f\xc3\xa9+&=/\r\n"));
}

TEST(AuthHttpQuestionTest, MechanismsAreInSmallLettersAndLoginIsPlain) {
  const base::Secret token("t");
  io::LoginFacts login = Alice(token);
  login.mechanism = "login";
  EXPECT_THAT(Ask(&login), HasSubstr("Auth-Method: plain\r\n"));
  login.mechanism = "LOGIN";
  EXPECT_THAT(Ask(&login), HasSubstr("Auth-Method: plain\r\n"));
  login.mechanism = "XOAUTH2";
  EXPECT_THAT(Ask(&login), HasSubstr("Auth-Method: xoauth2\r\n"));
}

TEST(AuthHttpQuestionTest, TlsNamesAndAttemptsAreTold) {
  const base::Secret password("secret");
  io::LoginFacts login = Alice(password);
  login.is_in_tls = true;
  login.client_name = "client.example";
  login.attempt = 3;
  const std::string question = Ask(&login);
  EXPECT_THAT(question, HasSubstr("Auth-Login-Attempt: 3\r\n"));
  EXPECT_THAT(question, HasSubstr("Client-Host: client.example\r\n"));
  EXPECT_THAT(question, HasSubstr("Auth-SSL: on\r\n"));
}

TEST(AuthHttpQuestionTest, ATransactionWithoutLoginHasItsCommands) {
  io::LoginFacts login;
  login.protocol = "smtp";
  login.mechanism = "none";
  login.client = *base::SocketAddress::Parse("[2001:db8::1]:40000");
  login.hello = "client.example";
  login.to = "postmaster@example.com";
  EXPECT_EQ(Ask(&login),
            "Auth-Method: none\r\n"
            "Auth-User: \r\n"
            "Auth-Pass: \r\n"
            "Auth-Protocol: smtp\r\n"
            "Auth-Login-Attempt: 1\r\n"
            "Client-IP: 2001:db8::1\r\n"
            "Client-Host: [UNAVAILABLE]\r\n"
            "Auth-SMTP-Helo: client.example\r\n"
            "Auth-SMTP-From: MAIL FROM: <>\r\n"
            "Auth-SMTP-To: RCPT TO: <postmaster@example.com>\r\n"
            "\r\n");
}

TEST(AuthHttpQuestionTest, AKeyAloneIsARecipient) {
  EXPECT_EQ(Ask(nullptr, {}, "bob@example.com"),
            "Auth-Method: none\r\n"
            "Auth-User: \r\n"
            "Auth-Pass: \r\n"
            "Auth-Protocol: smtp\r\n"
            "Auth-Login-Attempt: 1\r\n"
            "Auth-SMTP-To: RCPT TO: <bob@example.com>\r\n"
            "\r\n");
}

TEST(AuthHttpQuestionTest, ConfiguredHeadersStandInPlaceOfOurs) {
  const base::Secret password("secret");
  const io::LoginFacts login = Alice(password);
  AuthHttpHeaders headers;
  headers.emplace("X-Auth-Key", base::Secret("k3y"));
  headers.emplace("auth-protocol", base::Secret("imapssl"));
  const std::string question = Ask(&login, headers);
  EXPECT_THAT(question, HasSubstr("X-Auth-Key: k3y\r\n"));
  EXPECT_THAT(question, HasSubstr("auth-protocol: imapssl\r\n"));
  EXPECT_THAT(question, Not(HasSubstr("Auth-Protocol: imap\r\n")));
}

TEST(AuthHttpQuestionTest, WhatWouldBreakALineIsNotSent) {
  EXPECT_EQ(Ask(nullptr, {}, "bob\r\nX: y"), "error: a control character in Auth-SMTP-To");
  EXPECT_EQ(Ask(nullptr, {}, "bob\0"s), "error: a control character in Auth-SMTP-To");
  io::LoginFacts login;
  login.protocol = "smtp";
  login.mechanism = "none";
  login.hello = "a\nb";
  EXPECT_EQ(Ask(&login), "error: a control character in Auth-SMTP-Helo");
  login = io::LoginFacts();
  login.client_name = "a\rb";
  EXPECT_EQ(Ask(&login), "error: a control character in Client-Host");
  AuthHttpHeaders headers;
  headers.emplace("X-Key", base::Secret("a\nb"));
  EXPECT_EQ(Ask(nullptr, headers), "error: a control character in X-Key");
}

TEST(AuthHttpQuestionTest, AQuestionHasABound) {
  EXPECT_EQ(Ask(nullptr, {}, std::string(70'000, 'x')), "error: the question is too long");
}

// --- answers --------------------------------------------------------------------------------

AuthHttpAnswer ReadIn(std::string_view bytes, size_t piece_bytes) {
  AuthHttpAnswer answer;
  for (size_t at = 0; at < bytes.size(); at += piece_bytes)
    answer.Feed(bytes.substr(at, piece_bytes));
  return answer;
}
// Of a 200 with these fields; the same whole and octet by octet.
AuthHttpAnswer Answer(const std::string& fields) {
  const std::string bytes = "HTTP/1.0 200 OK\r\n" + fields + "\r\n";
  AuthHttpAnswer whole = ReadIn(bytes, bytes.size());
  const AuthHttpAnswer cut = ReadIn(bytes, 1);
  EXPECT_EQ(whole.status(), cut.status());
  EXPECT_EQ(whole.error(), cut.error());
  EXPECT_EQ(whole.answer().value, cut.answer().value);
  return whole;
}
std::string Value(const std::string& fields) {
  const AuthHttpAnswer answer = Answer(fields);
  if (answer.status() != Status::kDone) return "error: " + answer.error();
  return answer.answer().kind == Kind::kFound ? answer.answer().value : "not found";
}
constexpr const char* kAt = "Auth-Status: OK\r\nAuth-Server: 198.51.100.1\r\nAuth-Port: 143\r\n";

TEST(AuthHttpAnswerTest, AServerIsFound) {
  EXPECT_EQ(Value(kAt), "198.51.100.1:143");
  EXPECT_EQ(Value("auth-status:OK\r\nAUTH-SERVER: 2001:DB8::1\r\nAuth-Port: 993\r\n"),
            "[2001:db8::1]:993");
  EXPECT_EQ(Value("Auth-Status: OK\r\nAuth-Server: [2001:db8::1]\r\nAuth-Port: 1\r\n"),
            "[2001:db8::1]:1");
  EXPECT_EQ(Value("Auth-Status: OK\r\nAuth-Server: Store-1.Example\r\nAuth-Port: 143\r\n"),
            "store-1.example:143");
}

TEST(AuthHttpAnswerTest, AStatusMayBeMissing) {
  EXPECT_EQ(Value("Auth-Server: 198.51.100.1\r\nAuth-Port: 143\r\n"), "198.51.100.1:143");
}

TEST(AuthHttpAnswerTest, TheBodyIsNotWaitedFor) {
  EXPECT_EQ(Value(std::string(kAt) + "Content-Length: 9999\r\n"), "198.51.100.1:143");
  EXPECT_EQ(Value(std::string(kAt) + "Content-Length: 0\r\n"), "198.51.100.1:143");
}

TEST(AuthHttpAnswerTest, AnotherNameForTheBackend) {
  const AuthHttpAnswer answer = Answer(std::string(kAt) +
                                       "Auth-User: alice@real\r\n"
                                       "Auth-Pass: ignored\r\n");
  EXPECT_EQ(answer.answer().user, "alice@real");
  EXPECT_EQ(Value(std::string(kAt) + "Auth-User: a\tb\r\n"),
            "error: its Auth-User cannot be a name");
  EXPECT_EQ(Value(std::string(kAt) + "Auth-User: " + std::string(2000, 'x') + "\r\n"),
            "error: its Auth-User cannot be a name");
}

TEST(AuthHttpAnswerTest, WithoutAUsableServerThereIsNoAnswer) {
  EXPECT_EQ(Value("Auth-Status: OK\r\n"), "error: it names no server or no port");
  EXPECT_EQ(Value("Content-Type: text/html\r\n"), "error: it names no server or no port");
  EXPECT_EQ(Value("Auth-Server: 198.51.100.1\r\n"), "error: it names no server or no port");
  EXPECT_EQ(Value("Auth-Server: a b\r\nAuth-Port: 1\r\n"),
            "error: its Auth-Server is no server: a b");
  for (const char* port : {"0", "65536", "-1", "143x", "", "+1"}) {
    EXPECT_THAT(Value("Auth-Server: 198.51.100.1\r\nAuth-Port: "s + port + "\r\n"),
                HasSubstr("error: "))
        << port;
  }
}

TEST(AuthHttpAnswerTest, ARefusalHasItsWords) {
  const AuthHttpAnswer answer = Answer(
      "Auth-Status: Invalid login or password\r\nAuth-Wait: 3\r\n"
      "Auth-Error-Code: 535 5.7.8\r\nAuth-Server: 198.51.100.1\r\nAuth-Port: 1\r\n");
  ASSERT_EQ(answer.status(), Status::kDone);
  EXPECT_EQ(answer.answer().kind, Kind::kRefused);
  EXPECT_EQ(answer.answer().refusal_text, "Invalid login or password");
  EXPECT_EQ(answer.answer().refusal_code, "535 5.7.8");
  EXPECT_EQ(answer.answer().refusal_delay, 3s);
}

TEST(AuthHttpAnswerTest, ARefusalStandsWhateverItsTrimmings) {
  for (const char* code : {"abc", "250 2.0.0", "535 4.7.8", "5355", "535 5.7", "535-5.7.8"}) {
    const AuthHttpAnswer answer =
        Answer("Auth-Status: no\r\nAuth-Wait: soon\r\nAuth-Error-Code: "s + code + "\r\n");
    EXPECT_EQ(answer.answer().kind, Kind::kRefused) << code;
    EXPECT_EQ(answer.answer().refusal_code, "") << code;
    EXPECT_EQ(answer.answer().refusal_delay, 0s) << code;
  }
  EXPECT_EQ(Answer("Auth-Status: no\r\nAuth-Error-Code: 451\r\n").answer().refusal_code, "451");
  EXPECT_EQ(Answer("Auth-Status: no\r\nAuth-Wait: 4000000000\r\n").answer().refusal_delay,
            AuthHttpAnswer::kLongestWait);
}

TEST(AuthHttpAnswerTest, ARefusalIsOneShortLineOfAscii) {
  const AuthHttpAnswer answer =
      Answer("Auth-Status: no\tway \xc3\xa9" + std::string(400, 'x') + "\r\n");
  EXPECT_THAT(answer.answer().refusal_text, testing::StartsWith("no?way ??xxx"));
  EXPECT_EQ(answer.answer().refusal_text.size(), AuthHttpAnswer::kMaxRefusalBytes);
}

TEST(AuthHttpAnswerTest, OnlyOkIsOk) {
  for (const char* status : {"ok", "OK ok", "Ok", "OKAY"}) {
    EXPECT_EQ(
        Value("Auth-Status: "s + status + "\r\nAuth-Server: 198.51.100.1\r\nAuth-Port: 1\r\n"),
        "not found")
        << status;
  }
}

TEST(AuthHttpAnswerTest, NeitherNothingNorWaitIsAVerdict) {
  EXPECT_EQ(Value("Auth-Status:\r\nAuth-Server: 198.51.100.1\r\nAuth-Port: 1\r\n"),
            "error: its Auth-Status is empty");
  EXPECT_EQ(Value("Auth-Status: WAIT\r\nAuth-Wait: 1\r\n"), "error: it asks to come again later");
}

TEST(AuthHttpAnswerTest, ContradictionsAreNoAnswer) {
  EXPECT_EQ(Value(std::string(kAt) + "Auth-Status: no\r\n"),
            "error: it gives two values for Auth-Status");
  EXPECT_EQ(Value(std::string(kAt) + "auth-server: 198.51.100.2\r\n"),
            "error: it gives two values for Auth-Server");
  EXPECT_EQ(Value(std::string(kAt) + "Auth-Port: 143\r\n"), "198.51.100.1:143");
}

TEST(AuthHttpAnswerTest, WhatIsNoHttpAnswerIsTheServersFault) {
  const auto read = [](std::string_view bytes) {
    AuthHttpAnswer answer = ReadIn(bytes, 7);
    answer.End();
    return answer;
  };
  EXPECT_EQ(read("220 mail ESMTP\r\n").status(), Status::kBroken);
  EXPECT_EQ(read("HTTP/1.0 500 No\r\nAuth-Status: OK\r\n\r\n").error(), "the answer is 500");
  EXPECT_EQ(read("HTTP/1.0 302 Found\r\nLocation: http://evil/\r\n\r\n").status(), Status::kBroken);
  EXPECT_EQ(read("").error(), "the connection ended without an answer");
  EXPECT_EQ(read("HTTP/1.0 200 OK\r\nAuth-Status: OK\r\n").error(), "the answer was cut off");
  EXPECT_EQ(read("HTTP/1.0 200 OK\r\n folded: x\r\n\r\n").status(), Status::kBroken);
}

TEST(AuthHttpAnswerTest, AnEndlessHeaderIsCut) {
  AuthHttpAnswer answer;
  answer.Feed("HTTP/1.0 200 OK\r\n");
  for (int i = 0; i < 100 && answer.status() == Status::kMore; ++i)
    answer.Feed("X: " + std::string(1000, 'x') + "\r\n");
  EXPECT_EQ(answer.status(), Status::kBroken);
}

}  // namespace
}  // namespace postern::directory
