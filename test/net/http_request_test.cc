// http_request_test: requests out of bytes: strict, bounded, whole or byte by byte.
// SPDX-License-Identifier: Apache-2.0
#include "lb/net/http_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace postern::net {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using Status = HttpReader::Status;

constexpr size_t kHead = 1000;
constexpr size_t kBody = 100;

// The status of a request that is refused; 0 if it is not.
int RefusedWith(std::string_view text) {
  HttpReader reader(kHead, kBody);
  return reader.Read(text) == Status::kRefused ? reader.refusal().status : 0;
}

TEST(HttpReaderTest, ReadsLineHeadersAndBody) {
  HttpReader reader(kHead, kBody);
  const std::string text =
      "POST /a%2Fb/c+d?x=%41+b&y HTTP/1.1\r\nHost: h\r\nX-One:  1 \r\nx-one: 2\r\n"
      "Content-Length: 4\r\n\r\nbodyGET";
  ASSERT_EQ(reader.Read(text), Status::kDone);
  EXPECT_EQ(reader.consumed(), text.size() - 3);
  EXPECT_EQ(reader.request().method, "POST");
  EXPECT_EQ(reader.request().path, "/a/b/c+d");
  EXPECT_THAT(reader.request().segments, ElementsAre("a/b", "c+d"));
  EXPECT_THAT(reader.request().query, ElementsAre(Pair("x", "A b"), Pair("y", "")));
  EXPECT_EQ(reader.request().Header("x-one"), "1, 2");
  EXPECT_EQ(reader.request().body, "body");
  EXPECT_TRUE(reader.keeps_open());
}

TEST(HttpReaderTest, EveryPrefixNeedsBytesAndTheWholeIsDone) {
  const std::string text = "\r\nPUT /a?b=c HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n12345";
  HttpReader reader(kHead, kBody);
  for (size_t size = 0; size < text.size(); ++size) {
    ASSERT_EQ(reader.Read(std::string_view(text).substr(0, size)), Status::kNeedBytes) << size;
  }
  ASSERT_EQ(reader.Read(text), Status::kDone);
  EXPECT_EQ(reader.request().body, "12345");
  EXPECT_THAT(reader.request().segments, ElementsAre("a"));
  EXPECT_THAT(reader.request().query, ElementsAre(Pair("b", "c")));
}

TEST(HttpReaderTest, AsksForTheBodyOnce) {
  const std::string head =
      "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
  HttpReader reader(kHead, kBody);
  EXPECT_EQ(reader.Read(head), Status::kContinue);
  EXPECT_EQ(reader.Read(head + "a"), Status::kNeedBytes);
  EXPECT_EQ(reader.Read(head + "ab"), Status::kDone);
}

TEST(HttpReaderTest, KnowsWhoseConnectionStaysOpen) {
  const struct {
    const char* text;
    bool keeps_open;
  } kCases[] = {
      {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", true},
      {"GET / HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n\r\n", false},
      {"GET / HTTP/1.0\r\n\r\n", false},
      {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true},
  };
  for (const auto& test : kCases) {
    HttpReader reader(kHead, kBody);
    ASSERT_EQ(reader.Read(test.text), Status::kDone) << test.text;
    EXPECT_EQ(reader.keeps_open(), test.keeps_open) << test.text;
  }
}

TEST(HttpReaderTest, TakesTheAbsoluteForm) {
  HttpReader reader(kHead, kBody);
  ASSERT_EQ(reader.Read("GET http://h:1/a?b HTTP/1.1\r\nHost: h\r\n\r\n"), Status::kDone);
  EXPECT_EQ(reader.request().path, "/a");
}

TEST(HttpReaderTest, RefusesWhatIsAmbiguousOrTooLarge) {
  const struct {
    std::string text;
    int status;
  } kCases[] = {
      {"EHLO a.example\r\n", 400},
      {"GET / HTTP/1.1\n", 400},
      {"\n", 400},
      {"GET /\r\n", 400},
      {"GET  / HTTP/1.1\r\n", 400},
      {"G@T / HTTP/1.1\r\n", 400},
      {"GET a HTTP/1.1\r\n", 400},
      {"GET /%zz HTTP/1.1\r\n", 400},
      {"GET /%4 HTTP/1.1\r\n", 400},
      {"GET /?a=%g0 HTTP/1.1\r\n", 400},
      {"GET / HTTP/2.0\r\n", 505},
      {"GET / HTTP/1.1\r\n\r\n", 400},  // no Host
      {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\r\nX: b\nY: c\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1x\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n", 413},
      {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n", 413},
      {"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 501},
      {"GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(kHead, 'x'), 431},
  };
  for (const auto& test : kCases) EXPECT_EQ(RefusedWith(test.text), test.status) << test.text;
}

TEST(HttpReaderTest, RefusesTooManyHeaders) {
  std::string text = "GET / HTTP/1.1\r\nHost: a\r\n";
  for (int i = 0; i < 101; ++i) text += "h" + std::to_string(i) + ": x\r\n";
  HttpReader reader(100000, kBody);
  ASSERT_EQ(reader.Read(text + "\r\n"), Status::kRefused);
  EXPECT_EQ(reader.refusal().status, 431);
}

TEST(HttpReaderTest, ResetForgetsTheRequestBefore) {
  HttpReader reader(kHead, kBody);
  ASSERT_EQ(reader.Read("GET /a?b HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n"), Status::kDone);
  reader.Reset();
  ASSERT_EQ(reader.Read("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), Status::kDone);
  EXPECT_EQ(reader.request().Header("x"), "");
  EXPECT_TRUE(reader.request().segments.empty());
  EXPECT_TRUE(reader.request().query.empty());
}

TEST(HttpWireTest, PutsAnswersOnTheWire) {
  const HttpResponse response{.content_type = "text/plain", .headers = {{"A", "b"}}, .body = "hi"};
  EXPECT_EQ(ToWire(response, false, HttpEnd::kKeepOpen),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nA: b\r\n\r\nhi");
  EXPECT_EQ(ToWire(response, true, HttpEnd::kClose),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nA: b\r\n"
            "Connection: close\r\n\r\n");
  EXPECT_EQ(ToWire({.status = 204}, false, HttpEnd::kKeepOpen), "HTTP/1.1 204 No Content\r\n\r\n");
}

TEST(HttpWireTest, ErrorsAreJson) {
  EXPECT_EQ(HttpError(404, "not_found", "no \"x\"", "/a").body,
            "{\"error\":{\"code\":\"not_found\",\"message\":\"no \\\"x\\\"\",\"path\":\"/a\"}}\n");
}

}  // namespace
}  // namespace postern::net
