// learner_test: where endpoints are and what they can do, found out over a simulated network.
// SPDX-License-Identifier: Apache-2.0
#include "health/learner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "lb/base/rng.h"
#include "test/support/sim_loop.h"
#include "test/support/sim_net.h"

namespace postern::health {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::StartsWith;

class FakeResolver final : public io::Resolver {
 public:
  explicit FakeResolver(io::Loop& loop) : loop_(loop) {}
  void Resolve(const std::string& host,
               std::function<void(const io::ResolvedName&)> done) override {
    asked.push_back(host);
    loop_.Post([done = std::move(done), answer = answer] { done(answer); });
  }
  void FindPeerName(const base::IpAddress&, std::function<void(const io::PeerName&)>) override {}

  io::ResolvedName answer;
  std::vector<std::string> asked;

 private:
  io::Loop& loop_;
};

class Tls final : public io::TlsSettings {};

// A server that answers each line by its script: whoever begins with the word gets the text.
class ScriptedServer final : public io::Stream::Observer {
 public:
  struct Line {
    std::string word, answer;
    bool starts_tls = false;
    bool closes = false;
  };
  void Accept(std::unique_ptr<test::SimStream> stream) {
    ++num_connections;
    stream_ = std::move(stream);
    stream_->SetObserver(this);
    if (is_implicit) {
      stream_->StartTls({});
    } else {
      stream_->Write(greeting);
    }
  }
  void OnStream(io::Stream& stream, io::Stream::Event event) override {
    if (event == io::Stream::Event::kTlsUp && is_implicit) stream.Write(greeting);
    if (event == io::Stream::Event::kEnd) ++num_ends;
    if (event != io::Stream::Event::kReadable) return;
    while (true) {
      const size_t end = stream.Input().find("\r\n");
      if (end == base::ByteView::npos) return;
      const std::string line(stream.Input().substr(0, end));
      stream.Consume(end + 2);
      lines.push_back(line);
      for (const Line& known : script) {
        const size_t at = line.find(known.word);
        if (at == std::string::npos) continue;
        // A tag of the client's stands for %.
        std::string answer = known.answer;
        for (size_t mark = answer.find('%'); mark != std::string::npos; mark = answer.find('%'))
          answer.replace(mark, 1, line.substr(0, line.find(' ')));
        stream.Write(answer);
        if (known.starts_tls) {
          stream.StartTls({});
          return;
        }
        if (known.closes) stream.ShutdownWrite();
        break;
      }
    }
  }

  std::string greeting;
  std::vector<Line> script;
  bool is_implicit = false;
  std::vector<std::string> lines;
  int num_connections = 0;
  int num_ends = 0;

 private:
  std::unique_ptr<test::SimStream> stream_;
};

class LearnerTest : public testing::Test {
 protected:
  LearnerTest() {
    resolver_.answer.addresses = {address_.ip};
    resolver_.answer.ttl = std::chrono::minutes(10);
    config_->hostname = "lb.example.com";
    config_->backends.resize(1);
    config_->backends[0].name = "mail1";
    config_->backends[0].host = "mail1.example.com";
    net_.Listen(address_, [this](auto stream) { server_.Accept(std::move(stream)); });
  }
  void Watch(conf::Protocol protocol, conf::TlsMode tls = conf::TlsMode::kNone) {
    config_->backends[0].endpoints = {{.protocol = protocol, .port = address_.port, .tls = tls}};
    WatchAgain();
  }
  void WatchAgain() {
    table_ = std::make_shared<balance::EndpointTable>(*config_, book_);
    learner_.Watch(config_, table_, {std::make_shared<Tls>()});
  }
  std::shared_ptr<const balance::EndpointFacts> facts() {
    auto facts = table_->endpoints()[0].state->facts();
    return facts != nullptr ? facts : std::make_shared<const balance::EndpointFacts>();
  }
  void ServeSmtp(bool offers_starttls = false) {
    server_.greeting = "220 mail1 ESMTP\r\n";
    server_.script = {
        {"EHLO", std::string("250-mail1\r\n") + (offers_starttls ? "250-STARTTLS\r\n" : "") +
                     "250-SIZE 1000\r\n250 8BITMIME\r\n"},
        {"STARTTLS", "220 go\r\n", true},
        {"QUIT", "221 bye\r\n", false, true}};
  }
  void ServeImap() {
    server_.greeting = "* OK ready\r\n";
    server_.script = {{"CAPABILITY", "* CAPABILITY IMAP4rev1 IDLE\r\n% OK done\r\n"},
                      {"LOGOUT", "* BYE bye\r\n% OK done\r\n", false, true}};
  }

  test::SimLoop loop_;
  base::SeededRng rng_{1};
  test::SimNet net_{loop_, rng_};
  const base::SocketAddress address_ = *base::SocketAddress::Parse("10.0.0.1:143");
  ScriptedServer server_;
  FakeResolver resolver_{loop_};
  std::shared_ptr<conf::Config> config_ = std::make_shared<conf::Config>();
  balance::EndpointBook book_{1};
  std::shared_ptr<balance::EndpointTable> table_;
  int num_news_ = 0;
  Learner learner_{loop_, net_, resolver_, [this] { ++num_news_; }};
};

TEST_F(LearnerTest, LearnsImapAndSaysGoodbye) {
  ServeImap();
  Watch(conf::Protocol::kImap);
  loop_.RunFor(seconds(5));
  EXPECT_TRUE(facts()->has_capabilities);
  EXPECT_THAT(facts()->capabilities, Contains("IDLE"));
  EXPECT_THAT(facts()->addresses, ElementsAre(address_.ip));
  EXPECT_NE(server_.lines.back().find("LOGOUT"), std::string::npos);
  EXPECT_EQ(num_news_, 2) << "the address, the capabilities";
}

TEST_F(LearnerTest, LearnsPop3) {
  server_.greeting = "+OK ready\r\n";
  server_.script = {{"CAPA", "+OK\r\nUIDL\r\nTOP\r\n.\r\n"}, {"QUIT", "+OK\r\n", false, true}};
  Watch(conf::Protocol::kPop3);
  loop_.RunFor(seconds(5));
  EXPECT_THAT(facts()->capabilities, Contains("UIDL"));
  EXPECT_THAT(server_.lines, ElementsAre("CAPA", "QUIT"));
}

TEST_F(LearnerTest, LearnsSmtpByEhloAndQuit) {
  ServeSmtp();
  Watch(conf::Protocol::kSmtp);
  loop_.RunFor(seconds(5));
  EXPECT_THAT(facts()->capabilities, ElementsAre("SIZE 1000", "8BITMIME"));
  EXPECT_THAT(server_.lines, ElementsAre("EHLO lb.example.com", "QUIT"));
}

TEST_F(LearnerTest, SmtpIsAskedAgainInsideTls) {
  ServeSmtp(true);
  Watch(conf::Protocol::kSubmission, conf::TlsMode::kStartTls);
  loop_.RunFor(seconds(5));
  EXPECT_TRUE(facts()->has_capabilities);
  EXPECT_THAT(server_.lines,
              ElementsAre("EHLO lb.example.com", "STARTTLS", "EHLO lb.example.com", "QUIT"));
}

TEST_F(LearnerTest, ASmtpServerWithoutTheStartTlsThatIsWantedTeachesNothing) {
  ServeSmtp(false);
  Watch(conf::Protocol::kSmtp, conf::TlsMode::kStartTls);
  loop_.RunFor(milliseconds(900));
  EXPECT_FALSE(facts()->has_capabilities);
  EXPECT_THAT(server_.lines, ElementsAre("EHLO lb.example.com"));
}

TEST_F(LearnerTest, ImplicitTlsComesBeforeTheGreeting) {
  ServeImap();
  server_.is_implicit = true;
  Watch(conf::Protocol::kImap, conf::TlsMode::kImplicit);
  loop_.RunFor(seconds(5));
  EXPECT_TRUE(facts()->has_capabilities);
}

TEST_F(LearnerTest, ABadCertificateTeachesNothing) {
  ServeImap();
  server_.is_implicit = true;
  net_.SetBadCertificate(address_, true);
  Watch(conf::Protocol::kImap, conf::TlsMode::kImplicit);
  loop_.RunFor(seconds(5));
  EXPECT_FALSE(facts()->has_capabilities);
  EXPECT_THAT(server_.lines, IsEmpty());
}

TEST_F(LearnerTest, AProxyHeaderOfItsOwnGoesFirst) {
  ServeSmtp();
  config_->backends[0].endpoints = {{.protocol = conf::Protocol::kSmtp,
                                     .port = address_.port,
                                     .client_address = conf::ClientAddress::kProxyV1}};
  WatchAgain();
  loop_.RunFor(seconds(5));
  ASSERT_FALSE(server_.lines.empty());
  EXPECT_THAT(server_.lines[0], StartsWith("PROXY UNKNOWN"));
  EXPECT_EQ(server_.lines[1], "EHLO lb.example.com");
}

TEST_F(LearnerTest, TriesUntilTheServerIsThere) {
  ServeImap();
  net_.SetDoor(address_, test::SimNet::Door::kRefuses);
  Watch(conf::Protocol::kImap);
  loop_.RunFor(seconds(100));
  EXPECT_FALSE(facts()->has_capabilities);
  // At 0, 1, 3, 7, 15, 31, 63 seconds.
  EXPECT_EQ(net_.num_dials(), 7U);
  net_.SetDoor(address_, test::SimNet::Door::kOpen);
  loop_.RunFor(seconds(61));
  EXPECT_TRUE(facts()->has_capabilities);
}

TEST_F(LearnerTest, OnceLearnedItAsksNoMore) {
  ServeImap();
  Watch(conf::Protocol::kImap);
  loop_.RunFor(std::chrono::hours(3));
  WatchAgain();
  loop_.RunFor(std::chrono::hours(3));
  EXPECT_EQ(server_.num_connections, 1);
}

TEST_F(LearnerTest, AServerThatSaysNothingIsLeftAfterTheDeadline) {
  Watch(conf::Protocol::kImap);
  loop_.RunFor(seconds(11));
  EXPECT_FALSE(facts()->has_capabilities);
  loop_.RunFor(seconds(2));
  EXPECT_EQ(server_.num_connections, 2);
}

TEST_F(LearnerTest, AskingTheResolverFollowsTheTtlWithinBounds) {
  ServeImap();
  resolver_.answer.ttl = milliseconds(1);
  Watch(conf::Protocol::kImap);
  loop_.RunFor(seconds(22));
  EXPECT_EQ(resolver_.asked.size(), 5U) << "at 0, 5, 10, 15, 20 s";
}

TEST_F(LearnerTest, AnotherAddressIsNewsAndTheSameInAnotherOrderIsNot) {
  ServeImap();
  const auto other = *base::IpAddress::Parse("10.0.0.2");
  resolver_.answer.ttl = seconds(5);
  Watch(conf::Protocol::kImap);
  loop_.RunFor(seconds(2));
  num_news_ = 0;
  resolver_.answer.addresses = {address_.ip, other};
  loop_.RunFor(seconds(5));
  EXPECT_EQ(num_news_, 1);
  EXPECT_THAT(facts()->addresses, ElementsAre(address_.ip, other));
  EXPECT_TRUE(facts()->has_capabilities) << "what was learned stays";
  resolver_.answer.addresses = {other, address_.ip};
  loop_.RunFor(seconds(5));
  EXPECT_EQ(num_news_, 1);
}

TEST_F(LearnerTest, AFailedLookupKeepsTheAddresses) {
  ServeImap();
  resolver_.answer.ttl = seconds(5);
  Watch(conf::Protocol::kImap);
  loop_.RunFor(seconds(2));
  resolver_.answer = {};
  resolver_.answer.error = "SERVFAIL";
  loop_.RunFor(seconds(20));
  EXPECT_THAT(facts()->addresses, ElementsAre(address_.ip));
}

TEST_F(LearnerTest, AnAddressThatCannotBeReachedIsNotTheOnlyOneTried) {
  ServeImap();
  resolver_.answer.addresses = {*base::IpAddress::Parse("10.0.0.9"), address_.ip};
  Watch(conf::Protocol::kImap);
  loop_.RunFor(seconds(3));
  EXPECT_TRUE(facts()->has_capabilities);
}

TEST_F(LearnerTest, AReloadInTheMiddleOfAProbeBeginsAnew) {
  Watch(conf::Protocol::kImap);  // no greeting: the probe waits
  loop_.RunFor(seconds(2));
  ServeImap();
  WatchAgain();
  loop_.RunFor(seconds(2));
  EXPECT_TRUE(facts()->has_capabilities);
}

}  // namespace
}  // namespace postern::health
