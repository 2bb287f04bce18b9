// queue_decoder_test: what each kind of source is asked, and what is made of its answer.
// SPDX-License-Identifier: Apache-2.0
#include "health/queue_decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace postern::health {
namespace {

using Kind = conf::QueueSource::Kind;
using Status = QueueDecoder::Status;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
using namespace std::string_literals;  // NOLINT: literals only

conf::QueueSource Source(Kind kind) {
  conf::QueueSource source;
  source.kind = kind;
  source.soft = 2;
  source.hard = 100;
  source.url = "http://mail1.example:9154/metrics?x=1";
  source.metric = "q";
  source.pointer = "/queue/active";
  source.queues = {"incoming", "active"};
  return source;
}
std::string RequestOf(const conf::QueueSource& source) {
  std::string request;
  MakeQueueDecoder(source)->AppendRequest(request);
  return request;
}
QueueReading Read(const conf::QueueSource& source, std::string_view answer,
                  AnswerEnd end = AnswerEnd::kEof) {
  const auto decoder = MakeQueueDecoder(source);
  const Status status = decoder->Feed(answer);
  return decoder->Finish(status == Status::kMore ? end : AnswerEnd::kWhole);
}
std::string Http(std::string_view body) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         std::string(body);
}

TEST(QueueDecoderTest, AsksForAnExportersText) {
  const std::string request = RequestOf(Source(Kind::kPrometheus));
  EXPECT_THAT(request, StartsWith("GET /metrics?x=1 HTTP/1.1\r\nHost: mail1.example:9154\r\n"));
  EXPECT_THAT(request, AllOf(HasSubstr("\r\nUser-Agent: postern\r\n"),
                             HasSubstr("\r\nAccept: text/plain;version=0.0.4"),
                             HasSubstr("\r\nConnection: close\r\n"), EndsWith("\r\n\r\n")));
}

TEST(QueueDecoderTest, HeadersOfTheConfigurationTakePrecedence) {
  conf::QueueSource source = Source(Kind::kHttpJson);
  source.headers["Authorization"] = base::Secret("Bearer hush");
  source.headers["accept"] = base::Secret("text/x-json");
  const std::string request = RequestOf(source);
  EXPECT_THAT(request, AllOf(HasSubstr("\r\nAuthorization: Bearer hush\r\n"),
                             HasSubstr("\r\naccept: text/x-json\r\n"), Not(HasSubstr("Accept: "))));
}

TEST(QueueDecoderTest, AgentsHearWhatIsConfiguredAndShowqNothing) {
  conf::QueueSource agent = Source(Kind::kAgent);
  agent.send = "mail1\n";
  EXPECT_EQ(RequestOf(agent), "mail1\n");
  EXPECT_EQ(RequestOf(Source(Kind::kShowq)), "");
}

TEST(QueueDecoderTest, Prometheus) {
  const conf::QueueSource source = Source(Kind::kPrometheus);
  EXPECT_EQ(Read(source, Http("q{a=\"1\"} 3\nq{a=\"2\"} 4\n")).depth, 7);
  conf::QueueSource largest = source;
  largest.combine_max = true;
  EXPECT_EQ(Read(largest, Http("q{a=\"1\"} 3\nq{a=\"2\"} 4\n")).depth, 4);
  EXPECT_EQ(Read(source, Http("other 1\n")).error, "there is no sample of q");
  EXPECT_EQ(Read(source, "HTTP/1.1 500 Oops\r\n\r\n").error, "the answer is 500");
}

TEST(QueueDecoderTest, AbsurdNumbersAreErrors) {
  const conf::QueueSource source = Source(Kind::kPrometheus);
  for (const char* number : {"-1", "NaN", "+Inf", "-Inf", "1e30"}) {
    const QueueReading reading = Read(source, Http("q "s + number + "\n"));
    EXPECT_EQ(reading.depth, std::nullopt) << number;
    EXPECT_THAT(reading.error, StartsWith("no queue can be that deep: ")) << number;
  }
  EXPECT_EQ(Read(Source(Kind::kHttpJson), Http(R"({"queue": {"active": -1}})")).depth,
            std::nullopt);
}

TEST(QueueDecoderTest, Json) {
  const conf::QueueSource source = Source(Kind::kHttpJson);
  EXPECT_EQ(Read(source, Http(R"({"queue": {"active": 812}})")).depth, 812);
  EXPECT_EQ(Read(source, Http(R"({"queue": {}})")).error, "there is nothing at the pointer");
  EXPECT_EQ(Read(source, Http("")).error, "the answer is not JSON");
}

TEST(QueueDecoderTest, HalfAnAnswerIsNone) {
  const std::string half = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nq 5\n";
  const conf::QueueSource source = Source(Kind::kPrometheus);
  EXPECT_EQ(Read(source, half, AnswerEnd::kEof).error, "the answer was cut off");
  EXPECT_EQ(Read(source, half, AnswerEnd::kLost).error, "the answer was cut off");
  EXPECT_EQ(Read(source, half, AnswerEnd::kTimeout).error, "no whole answer in time");
  EXPECT_EQ(Read(source, half, AnswerEnd::kTooLong).error, "the answer is too long");
  // Without a length only a clean end is an end.
  const std::string open = "HTTP/1.1 200 OK\r\n\r\nq 5\n";
  EXPECT_EQ(Read(source, open, AnswerEnd::kEof).depth, 5);
  EXPECT_EQ(Read(source, open, AnswerEnd::kLost).depth, std::nullopt);
}

TEST(QueueDecoderTest, Agent) {
  const conf::QueueSource source = Source(Kind::kAgent);
  const QueueReading reading = Read(source, "75% up queue:12\r\nignored");
  EXPECT_EQ(reading.depth, 12);
  ASSERT_TRUE(reading.agent.has_value());
  EXPECT_EQ(reading.agent->percent, 75u);
  EXPECT_EQ(reading.error, "");
}

TEST(QueueDecoderTest, AnAgentNeedNotTellADepth) {
  const QueueReading reading = Read(Source(Kind::kAgent), "ready\n");
  EXPECT_EQ(reading.depth, std::nullopt);
  EXPECT_EQ(reading.error, "");
  EXPECT_TRUE(reading.agent.has_value());
  const QueueReading absurd = Read(Source(Kind::kAgent), "drain queue:-4\n");
  EXPECT_NE(absurd.error, "");
  EXPECT_EQ(absurd.agent->admin, AgentLine::Admin::kDrain);
}

TEST(QueueDecoderTest, AnAgentsLineNeedsItsEnd) {
  const conf::QueueSource source = Source(Kind::kAgent);
  EXPECT_EQ(Read(source, "queue:12").error, "the agent's line has no end");
  EXPECT_EQ(Read(source, "queue:12").agent, std::nullopt);
  EXPECT_EQ(Read(source, "queue:12", AnswerEnd::kTimeout).error, "no whole answer in time");
  EXPECT_EQ(Read(source, "").error, "the agent said nothing");
  EXPECT_EQ(Read(source, std::string(kMaxAgentLineBytes + 1, 'x')).error, "the answer is too long");
}

std::string Messages(std::string_view queue, int count) {
  std::string list;
  for (int i = 0; i < count; ++i)
    list += "queue_name\0"s + std::string(queue) + "\0sender\0a@example.com\0\0"s;
  return list;
}

TEST(QueueDecoderTest, Showq) {
  const conf::QueueSource source = Source(Kind::kShowq);
  EXPECT_EQ(Read(source, Messages("active", 3) + "\0"s).depth, 3);
  EXPECT_EQ(Read(source, Messages("active", 3) + Messages("deferred", 1)).depth, 3);
  EXPECT_EQ(Read(source, "\0"s).depth, 0);
  EXPECT_EQ(Read(source, Messages("active", 3)).error, "the answer was cut off");
  EXPECT_THAT(Read(source, "Mail queue is empty\n").error, StartsWith("this is not Postfix's"));
}

TEST(QueueDecoderTest, AListTooLongForUsProvesAtLeastSoMany) {
  const conf::QueueSource source = Source(Kind::kShowq);  // soft 2
  EXPECT_EQ(Read(source, Messages("active", 3), AnswerEnd::kTooLong).depth, 3);
  EXPECT_EQ(Read(source, Messages("active", 3), AnswerEnd::kTimeout).depth, 3);
  // At or below soft it proves nothing that matters.
  EXPECT_EQ(Read(source, Messages("active", 2), AnswerEnd::kTimeout).error,
            "no whole answer in time");
  EXPECT_EQ(Read(source, Messages("active", 3), AnswerEnd::kLost).depth, std::nullopt);
}

}  // namespace
}  // namespace postern::health
