// queue_read_test: single reads of honest, broken and hostile sources, in virtual time.
// SPDX-License-Identifier: Apache-2.0
#include "health/queue_read.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

#include "test/health/queue_world.h"

namespace postern::health {
namespace {

using Kind = conf::QueueSource::Kind;
using Then = SourceServer::Then;
using testing::HasSubstr;
using testing::StartsWith;
using namespace std::chrono_literals;  // NOLINT: literals only
using namespace std::string_literals;  // NOLINT: literals only

class QueueReadTest : public testing::Test {
 protected:
  QueueReadTest() {
    source_.kind = Kind::kPrometheus;
    source_.url = "http://10.0.0.1:9154/metrics";
    source_.metric = "q";
    source_.queues = {"incoming", "active"};
    server_.request_end = "\r\n\r\n";
    net_.Listen(address_, server_.Door());
    target_.dial.address = address_;
  }
  void Say(std::string answer, Then then = Then::kCloses) {
    server_.answer = std::move(answer);
    server_.then = then;
  }
  void SayBody(const std::string& body) {
    Say("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body,
        Then::kStays);
  }
  QueueReading Read() {
    std::optional<QueueReading> reading;
    const base::MonoTime started = loop_.Now();
    QueueRead read(loop_, net_, target_, MakeQueueDecoder(source_), [&](QueueReading its) {
      EXPECT_FALSE(reading.has_value());
      reading = std::move(its);
      took_ = loop_.Now() - started;
    });
    read.Start(started + QueueRead::kTimeout);
    EXPECT_FALSE(reading.has_value());
    loop_.RunFor(5s);
    EXPECT_TRUE(reading.has_value());
    return reading.value_or(QueueReading());
  }

  test::SimLoop loop_;
  base::SeededRng rng_{1};
  test::SimNet net_{loop_, rng_};
  const base::SocketAddress address_ = *base::SocketAddress::Parse("10.0.0.1:9154");
  SourceServer server_{loop_};
  conf::QueueSource source_;
  QueueTarget target_;
  base::Duration took_{};
};

TEST_F(QueueReadTest, ReadsAnExporter) {
  SayBody("q 812\n");
  const QueueReading reading = Read();
  EXPECT_EQ(reading.depth, 812);
  EXPECT_EQ(reading.error, "");
  EXPECT_LT(took_, 100ms);
  EXPECT_THAT(server_.request, StartsWith("GET /metrics HTTP/1.1\r\n"));
  EXPECT_EQ(server_.num_ends, 1);
}

TEST_F(QueueReadTest, ReadsWhateverTheCuts) {
  SayBody("q{a=\"1\"} 800\nq{a=\"2\"} 12\n");
  net_.options.cut = test::SimCut::kByByte;
  EXPECT_EQ(Read().depth, 812);
}

TEST_F(QueueReadTest, ReadsInsideTls) {
  target_.tls = std::make_shared<AnyTls>();
  target_.server_name = "mail1.example";
  server_.has_tls = true;
  SayBody("q 5\n");
  EXPECT_EQ(Read().depth, 5);
}

TEST_F(QueueReadTest, ACertificateThatIsNotAcceptableIsAnError) {
  target_.tls = std::make_shared<AnyTls>();
  server_.has_tls = true;
  net_.SetBadCertificate(address_, true);
  SayBody("q 5\n");
  EXPECT_THAT(Read().error, StartsWith("TLS: "));
  EXPECT_EQ(server_.request, "");
}

TEST_F(QueueReadTest, ReadsShowqThroughALocalSocket) {
  source_.kind = Kind::kShowq;
  target_.dial = {};
  target_.dial.unix_path = "/var/spool/postfix/public/showq";
  net_.Listen(target_.dial.unix_path, server_.Door());
  server_.request_end.clear();
  Say("protocol\0mail_queue_list_protocol\0\0queue_name\0active\0sender\0a\0\0\0"s);
  EXPECT_EQ(Read().depth, 1);
}

TEST_F(QueueReadTest, AsksAnAgent) {
  source_.kind = Kind::kAgent;
  source_.send = "mail1\r\n\r\n";
  Say("50% queue:7\n", Then::kStays);
  const QueueReading reading = Read();
  EXPECT_EQ(reading.depth, 7);
  EXPECT_EQ(server_.request, "mail1\r\n\r\n");
}

TEST_F(QueueReadTest, NobodyThereIsAnErrorAtOnce) {
  net_.SetDoor(address_, test::SimNet::Door::kRefuses);
  EXPECT_EQ(Read().error, "connection refused");
  net_.SetDoor(address_, test::SimNet::Door::kShort);
  EXPECT_EQ(Read().error, "no descriptor, port or memory of our own");
  EXPECT_LT(took_, 100ms);
}

TEST_F(QueueReadTest, WhoNeverAnswersIsLeftAfterTwoSeconds) {
  net_.SetDoor(address_, test::SimNet::Door::kHangs);
  EXPECT_EQ(Read().error, "no connection in time");
  EXPECT_EQ(took_, 2s);
}

TEST_F(QueueReadTest, WhoAcceptsAndSaysNothingIsLeftAfterTwoSeconds) {
  Say("", Then::kStays);
  EXPECT_EQ(Read().error, "no whole answer in time");
  EXPECT_EQ(took_, 2s);
  EXPECT_EQ(server_.num_ends, 1);
}

TEST_F(QueueReadTest, WhoShakesNoHandsIsLeftAfterTwoSeconds) {
  target_.tls = std::make_shared<AnyTls>();
  Say("", Then::kStays);
  EXPECT_EQ(Read().error, "no connection in time");
  EXPECT_EQ(took_, 2s);
}

TEST_F(QueueReadTest, SlowDropsDoNotProlongIt) {
  // An octet every 100 ms, for ever.
  Say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", Then::kStays);
  std::unique_ptr<test::SimStream> slow;
  net_.Listen(address_, [&](auto stream) { slow = std::move(stream); });
  struct Ignore final : io::Stream::Observer {
    void OnStream(io::Stream& stream, io::Stream::Event) override {
      stream.Consume(stream.Input().size());
    }
  } ignore;
  size_t sent = 0;
  std::function<void()> drop = [&] {
    if (slow != nullptr && slow->end() == io::StreamEnd::kNone) {
      slow->SetObserver(&ignore);
      slow->Write(server_.answer.substr(sent++ % server_.answer.size(), 1));
    }
    loop_.Schedule(100ms, drop);
  };
  loop_.Schedule(100ms, drop);
  EXPECT_EQ(Read().error, "no whole answer in time");
  EXPECT_EQ(took_, 2s);
}

TEST_F(QueueReadTest, AnEndlessAnswerIsCutAtFourMebibytes) {
  Say("HTTP/1.1 200 OK\r\n\r\n" + std::string(100000, '\n'), Then::kRepeats);
  net_.options.latency = 1us;
  EXPECT_EQ(Read().error, "the answer is too long");
  EXPECT_LT(took_, 2s);
  EXPECT_GE(server_.num_ends, 1);
}

TEST_F(QueueReadTest, AnEndlessLineKeepsNoMemoryAndIsCut) {
  Say("HTTP/1.1 200 OK\r\n\r\nq{a=\"" + std::string(100000, 'x'), Then::kRepeats);
  net_.options.latency = 1us;
  EXPECT_EQ(Read().error, "the answer is too long");
}

TEST_F(QueueReadTest, AnEndlessListOfMailIsAtLeastSoLong) {
  source_.kind = Kind::kShowq;
  source_.soft = 500;
  server_.request_end.clear();
  std::string list;
  for (int i = 0; i < 1000; ++i)
    list += "queue_name\0active\0sender\0"s + std::string(100, 'a') + "\0\0"s;
  Say(list, Then::kRepeats);
  net_.options.latency = 1us;
  EXPECT_GT(Read().depth.value_or(0), 20000);
}

TEST_F(QueueReadTest, ABrokenConnectionIsAnError) {
  Say("HTTP/1.1 200 OK\r\n\r\nq 5\n", Then::kResets);
  EXPECT_EQ(Read().error, "the answer was cut off");
}

TEST_F(QueueReadTest, DestroyedInTheMiddleItIsSilent) {
  Say("", Then::kStays);
  bool was_called = false;
  auto read = std::make_unique<QueueRead>(loop_, net_, target_, MakeQueueDecoder(source_),
                                          [&](const QueueReading&) { was_called = true; });
  read->Start(loop_.Now() + QueueRead::kTimeout);
  loop_.RunFor(500ms);
  read.reset();
  loop_.RunFor(5s);
  EXPECT_FALSE(was_called);
}

}  // namespace
}  // namespace postern::health
