// http_response_test: answers of exporters, whole and cut, honest and not.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/http_response.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace postern::proto {
namespace {

using Status = HttpResponse::Status;

struct Outcome {
  Status status = Status::kMore;
  std::string body;
  std::string error;
  bool operator==(const Outcome&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Outcome& outcome) {
  return out << static_cast<int>(outcome.status) << " \"" << outcome.body << "\" " << outcome.error;
}

void Feed(HttpResponse& response, std::string_view bytes, std::string& body) {
  while (!bytes.empty()) {
    const HttpResponse::Step step = response.Next(bytes);
    body += step.body;
    if (step.consumed == 0) return;
    bytes.remove_prefix(step.consumed);
  }
}
enum class End { kOpen, kClean, kReset };
Outcome ReadIn(std::string_view bytes, End end, size_t piece_bytes) {
  HttpResponse response;
  Outcome outcome;
  for (size_t at = 0; at < bytes.size(); at += piece_bytes)
    Feed(response, bytes.substr(at, piece_bytes), outcome.body);
  if (end != End::kOpen) response.End(end == End::kClean);
  outcome.status = response.status();
  outcome.error = response.error();
  return outcome;
}
Outcome Read(std::string_view bytes, End end = End::kOpen) {
  const Outcome whole = ReadIn(bytes, end, bytes.size() + 1);
  EXPECT_EQ(ReadIn(bytes, end, 1), whole);
  EXPECT_EQ(ReadIn(bytes, end, 7), whole);
  return whole;
}
std::string Error(std::string_view bytes, End end = End::kOpen) {
  const Outcome outcome = Read(bytes, end);
  return outcome.status == Status::kBroken ? outcome.error : "none";
}

TEST(HttpResponseTest, ALengthEndsTheBody) {
  EXPECT_EQ(Read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
            (Outcome{Status::kDone, "hello", ""}));
  EXPECT_EQ(Read("HTTP/1.1 200 OK\r\ncontent-length:5\r\n\r\nhello, more"),
            (Outcome{Status::kDone, "hello", ""}));
  EXPECT_EQ(Read("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), (Outcome{Status::kDone, "", ""}));
  EXPECT_EQ(Read("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello").status, Status::kMore);
}

TEST(HttpResponseTest, ChunksAreJoined) {
  EXPECT_EQ(Read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nTrailer: x\r\n\r\n"),
            (Outcome{Status::kDone, "hello", ""}));
  // A length beside it does not count (RFC 9112 6.3).
  EXPECT_EQ(Read("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: Chunked\r\n\r\n"
                 "00A\r\n0123456789\r\n0\r\n\r\n"),
            (Outcome{Status::kDone, "0123456789", ""}));
}

TEST(HttpResponseTest, OtherwiseTheConnectionEndsTheBody) {
  constexpr std::string_view kText = "HTTP/1.0 200 OK\r\n\r\nhello";
  EXPECT_EQ(Read(kText), (Outcome{Status::kMore, "hello", ""}));
  EXPECT_EQ(Read(kText, End::kClean), (Outcome{Status::kDone, "hello", ""}));
  EXPECT_EQ(Error(kText, End::kReset), "the answer was cut off");
}

TEST(HttpResponseTest, BareNewlinesAndNoReasonWillDo) {
  EXPECT_EQ(Read("HTTP/1.1 200\nContent-Length: 2\n\nok"), (Outcome{Status::kDone, "ok", ""}));
}

TEST(HttpResponseTest, InterimAnswersArePassedOver) {
  EXPECT_EQ(Read("HTTP/1.1 103 Early Hints\r\nContent-Length: 100\r\nLink: x\r\n\r\n"
                 "HTTP/1.1 100 Continue\r\n\r\n"
                 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            (Outcome{Status::kDone, "ok", ""}));
}

TEST(HttpResponseTest, AnythingBut200IsAnError) {
  EXPECT_EQ(Error("HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n\r\n"),
            "the answer is 302; redirects are not followed");
  EXPECT_EQ(Error("HTTP/1.1 404 Not Found\r\nContent-Encoding: gzip\r\n\r\n"), "the answer is 404");
  EXPECT_EQ(Error("HTTP/1.1 204 No Content\r\n\r\n"), "the answer is 204");
}

TEST(HttpResponseTest, WhatIsNotUnderstoodIsNotGuessed) {
  constexpr std::string_view kHead = "HTTP/1.1 200 OK\r\n";
  constexpr std::string_view kChunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(Error("220 mail ESMTP\r\n"), "the answer is not HTTP/1.1: 220 mail ESMTP");
  EXPECT_NE(Error("HTTP/2 200 OK\r\n"), "none");
  EXPECT_NE(Error("HTTP/1.1 2000 OK\r\n"), "none");
  EXPECT_NE(Error("HTTP/1.1 099 OK\r\n"), "none");
  EXPECT_NE(Error(std::string(kHead) + "no colon\r\n"), "none");
  EXPECT_NE(Error(std::string(kHead) + "Content-Length: -1\r\n"), "none");
  EXPECT_NE(Error(std::string(kHead) + "Content-Length: 99999999999999999999\r\n"), "none");
  EXPECT_NE(Error(std::string(kHead) + "Content-Length: 1\r\nContent-Length: 2\r\n"), "none");
  EXPECT_NE(Error(std::string(kHead) + "Transfer-Encoding: gzip, chunked\r\n"), "none");
  EXPECT_NE(Error(std::string(kHead) + "Content-Encoding: gzip\r\n"), "none");
  EXPECT_NE(Error(std::string(kChunked) + "x\r\n"), "none");
  EXPECT_NE(Error(std::string(kChunked) + "\r\n"), "none");
  EXPECT_NE(Error(std::string(kChunked) + "2\r\nabc\r\n"), "none");
  EXPECT_NE(Error(std::string(kChunked) + "fffffffffffffffff\r\n"), "none");
}

std::string Fields(std::string_view bytes, size_t piece_bytes) {
  HttpResponse response;
  std::string fields;
  for (size_t at = 0; at < bytes.size(); at += piece_bytes) {
    std::string_view piece = bytes.substr(at, piece_bytes);
    while (!piece.empty() && response.status() == Status::kMore) {
      const HttpResponse::Step step = response.Next(piece);
      if (step.field) {
        EXPECT_FALSE(response.has_head());
        fields.append(step.field->name).append("=").append(step.field->value).append(";");
      }
      piece.remove_prefix(step.consumed);
    }
  }
  return fields + (response.has_head() ? "." : "");
}

TEST(HttpResponseTest, FieldsOfTheHeaderAreShownAsTheyCome) {
  constexpr std::string_view kText =
      "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
      "HTTP/1.1 200 OK\r\nAuth-Status:  OK \r\nX:\r\nTransfer-Encoding: chunked\r\n\r\n"
      "2\r\nok\r\n0\r\nTrailer: y\r\n\r\n";
  constexpr std::string_view kFields = "Auth-Status=OK;X=;Transfer-Encoding=chunked;.";
  EXPECT_EQ(Fields(kText, kText.size()), kFields);
  EXPECT_EQ(Fields(kText, 1), kFields);
  EXPECT_EQ(Fields("HTTP/1.1 200 OK\r\nAuth-Status: OK\r\n", 1), "Auth-Status=OK;");
  EXPECT_EQ(Fields("HTTP/1.1 500 No\r\nAuth-Status: OK\r\n\r\n", 1), "");
}

TEST(HttpResponseTest, NamesAreTokensAndValuesHaveNoLineBreak) {
  const std::string head = "HTTP/1.1 200 OK\r\n";
  EXPECT_NE(Error(head + "Auth-Status : OK\r\n"), "none");
  EXPECT_NE(Error(head + "Auth-Status: O\r\n K: folded\r\n"), "none");
  EXPECT_NE(Error(head + ": no name\r\n"), "none");
  EXPECT_NE(Error(head + "Auth-User: a\rX: b\r\n"), "none");
  EXPECT_NE(Error(head + "Auth-User: a" + std::string(1, '\0') + "\r\n"), "none");
}

TEST(HttpResponseTest, AnEndInTheMiddleIsAnError) {
  const std::string whole = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
  for (size_t size = 1; size < whole.size(); ++size)
    ASSERT_EQ(Error(whole.substr(0, size), End::kClean), "the answer was cut off") << size;
  EXPECT_EQ(Error("", End::kClean), "the connection ended without an answer");
  EXPECT_EQ(Error("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", End::kClean),
            "the answer was cut off");
}

TEST(HttpResponseTest, EndlessHeadersAndChunkLinesAreCut) {
  const std::string header = "X: " + std::string(1000, 'x') + "\r\n";
  std::string text = "HTTP/1.1 200 OK\r\n";
  for (int i = 0; i < 40; ++i) text += header;
  EXPECT_EQ(Error(text), "the answer's header is too long");
  EXPECT_EQ(Error("HTTP/1.1 " + std::string(40000, '2')), "the answer's header is too long");
  std::string hints;
  for (int i = 0; i < 2000; ++i) hints += "HTTP/1.1 103 Hint\r\n\r\n";
  EXPECT_EQ(Error(hints), "the answer's header is too long");
  const std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(Error(chunked + "1;" + std::string(300, 'x')), "a chunk's size has no end");
  std::string trailer = chunked + "0\r\n";
  for (int i = 0; i < 40; ++i) trailer += header;
  EXPECT_EQ(Error(trailer), "the answer's header is too long");
}

}  // namespace
}  // namespace postern::proto
