// intake_test: a connection before its dialogue: PROXY headers good, bad, cut and late; TLS behind
// them; time.
// SPDX-License-Identifier: Apache-2.0
#include "lb/session/intake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "lb/proto/proxy_header.h"
#include "test/support/meters.h"
#include "test/support/sim_loop.h"
#include "test/support/sim_net.h"

namespace postern::test {
namespace {

using session::Intake;
using std::chrono::milliseconds;
using std::chrono::seconds;

const base::SocketAddress kHop = *base::SocketAddress::Parse("10.0.0.1:40000");
const base::SocketAddress kOurs = *base::SocketAddress::Parse("10.0.0.2:993");
const base::SocketAddress kClient = *base::SocketAddress::Parse("192.0.2.7:4711");
const base::SocketAddress kPublic = *base::SocketAddress::Parse("198.51.100.1:993");

class AnyTls final : public io::TlsSettings {};

class Ear final : public io::Stream::Observer {
 public:
  void OnStream(io::Stream& stream, io::Stream::Event event) override {
    if (event == io::Stream::Event::kTlsUp) is_tls_up = true;
    if (event == io::Stream::Event::kEnd) end = stream.end();
    received += stream.Input();
    stream.Consume(stream.Input().size());
  }
  std::string received;
  bool is_tls_up = false;
  io::StreamEnd end = io::StreamEnd::kNone;
};

class IntakeTest : public testing::Test, public session::IntakeHost {
 protected:
  IntakeTest() {
    conf::Listener& listener = config_.listeners.emplace_back();
    listener.name = "l";
    listener.protocol = conf::Protocol::kImap;
    listener.tls = conf::TlsMode::kNone;
    listener.timeouts.tls = seconds(10);
  }
  conf::Listener& listener() { return config_.listeners[0]; }
  void WantProxyHeader() { listener().accept_proxy_from = {*base::Network::Parse("10.0.0.0/8")}; }
  void WantTls() { listener().tls = conf::TlsMode::kImplicit; }

  // A connection of the hop's, accepted now.
  void Begin() {
    auto settings = std::make_shared<session::ListenerSettings>();
    settings->conf = listener();
    settings->slots = meters_.SlotsOf(config_).listeners[0];
    settings->tls = std::make_shared<AnyTls>();
    ASSERT_TRUE(Intake::IsNeeded(*settings));
    auto [near, far] = net_.Pair(kHop, kOurs);
    hop_ = std::move(near);
    hop_->SetObserver(&ear_);
    session::ClientFacts facts;
    facts.client = kHop;
    facts.local = kOurs;
    facts.accepted = loop_.Now();
    intake_.emplace(loop_, meters_.recorder, *this, std::move(settings), facts, std::move(far));
    intake_->Start();
  }
  void Say(std::string_view bytes) {
    hop_->Write(bytes);
    loop_.RunFor(milliseconds(50));
  }
  void SayTlsHello() {
    io::TlsRequest request;
    request.role = io::TlsRole::kClient;
    request.settings = &tls_;
    request.server_name = "imap.example";
    hop_->StartTls(request);
    loop_.RunFor(milliseconds(50));
  }
  double Rejected(const std::string& reason) {
    return meters_.registry.Value("postern_connections_rejected_total{listener=\"l\",reason=\"" +
                                  reason + "\"}");
  }
  void ExpectRejected(const std::string& reason) {
    EXPECT_EQ(num_ready_, 0);
    EXPECT_EQ(num_failed_, 1);
    EXPECT_EQ(Rejected(reason), 1);
    loop_.RunFor(milliseconds(50));
    EXPECT_NE(ear_.end, io::StreamEnd::kNone);
    EXPECT_EQ(ear_.received, "");  // without a word
  }

  void IntakeReady(Intake&) override { ++num_ready_; }
  void IntakeFailed(Intake&) override { ++num_failed_; }

  SimLoop loop_;
  base::SeededRng rng_{1};
  SimNet net_{loop_, rng_};
  Meters meters_;
  AnyTls tls_;
  conf::Config config_;
  Ear ear_;
  std::unique_ptr<SimStream> hop_;
  std::optional<Intake> intake_;
  int num_ready_ = 0;
  int num_failed_ = 0;
};

TEST_F(IntakeTest, IsOnlyForListenersThatWantMoreThanADialogue) {
  session::ListenerSettings settings;
  settings.conf = listener();
  EXPECT_FALSE(Intake::IsNeeded(settings));
  settings.conf.tls = conf::TlsMode::kStartTls;
  EXPECT_FALSE(Intake::IsNeeded(settings));
}

TEST_F(IntakeTest, TheClientIsWhomTheHeaderNames) {
  WantProxyHeader();
  for (const auto version : {proto::ProxyVersion::kV1, proto::ProxyVersion::kV2}) {
    num_ready_ = 0;
    Begin();
    Say(proto::PrintProxyHeader(version, kClient, kPublic) + "a1 NOOP\r\n");
    ASSERT_EQ(num_ready_, 1);
    EXPECT_EQ(intake_->client.client, kClient);
    EXPECT_EQ(intake_->client.local, kPublic);
    EXPECT_EQ(intake_->stream->Input(), "a1 NOOP\r\n");  // the session's to read
  }
}

TEST_F(IntakeTest, AHopThatSpeaksForItselfIsTheClient) {
  WantProxyHeader();
  for (const auto version : {proto::ProxyVersion::kV1, proto::ProxyVersion::kV2}) {
    num_ready_ = 0;
    Begin();
    Say(proto::PrintLocalProxyHeader(version));
    ASSERT_EQ(num_ready_, 1);
    EXPECT_EQ(intake_->client.client, kHop);
    EXPECT_EQ(intake_->client.local, kOurs);
  }
}

TEST_F(IntakeTest, AHeaderMayComeByteByByte) {
  WantProxyHeader();
  Begin();
  const std::string header = proto::PrintProxyHeader(proto::ProxyVersion::kV2, kClient, kPublic);
  for (const char byte : header) {
    ASSERT_EQ(num_ready_, 0);
    Say(std::string(1, byte));
  }
  ASSERT_EQ(num_ready_, 1);
  EXPECT_EQ(intake_->client.client, kClient);
}

TEST_F(IntakeTest, WithoutAHeaderNobodyIsServed) {
  WantProxyHeader();
  Begin();
  Say("a1 LOGIN alice secret\r\n");
  ExpectRejected("proxy_header");
}

TEST_F(IntakeTest, AHeaderThatDoesNotComeIsWaitedForOnlySoLong) {
  WantProxyHeader();
  Begin();
  Say("PROXY TCP4 ");
  loop_.RunFor(seconds(9));
  EXPECT_EQ(num_failed_, 0);
  loop_.RunFor(seconds(1));
  ExpectRejected("proxy_header");
}

TEST_F(IntakeTest, AHopThatLeavesBeforeItsHeaderIsWhole) {
  WantProxyHeader();
  Begin();
  Say("PROXY TCP4 ");
  hop_->Close();
  loop_.RunFor(milliseconds(50));
  EXPECT_EQ(num_failed_, 1);
  EXPECT_EQ(Rejected("proxy_header"), 1);
}

TEST_F(IntakeTest, TlsBehindAHeaderMayComeInItsPacket) {
  WantProxyHeader();
  WantTls();
  Begin();
  hop_->Write(proto::PrintProxyHeader(proto::ProxyVersion::kV1, kClient, kPublic));
  SayTlsHello();
  ASSERT_EQ(num_ready_, 1);
  EXPECT_TRUE(ear_.is_tls_up);
  EXPECT_TRUE(intake_->stream->in_tls());
  EXPECT_EQ(intake_->stream->tls_facts()->server_name, "imap.example");
  EXPECT_EQ(intake_->client.client, kClient);
}

TEST_F(IntakeTest, ReadyOnlyOnceTlsIsUp) {
  WantTls();
  Begin();
  EXPECT_EQ(num_ready_, 0);
  SayTlsHello();
  ASSERT_EQ(num_ready_, 1);
  EXPECT_EQ(intake_->client.client, kHop);
  loop_.RunFor(seconds(20));  // its deadline is no more
  EXPECT_EQ(num_failed_, 0);
}

TEST_F(IntakeTest, ClearTextIsNoHandshake) {
  WantTls();
  Begin();
  Say("a1 LOGIN alice secret\r\n");
  EXPECT_EQ(num_ready_, 0);
  EXPECT_EQ(num_failed_, 1);
  EXPECT_EQ(Rejected("tls"), 1);
}

TEST_F(IntakeTest, HeaderAndHandshakeShareOneTime) {
  WantProxyHeader();
  WantTls();
  Begin();
  loop_.RunFor(seconds(9));
  Say(proto::PrintProxyHeader(proto::ProxyVersion::kV1, kClient, kPublic));
  EXPECT_EQ(num_failed_, 0);
  loop_.RunFor(seconds(1));
  EXPECT_EQ(num_failed_, 1);
  EXPECT_EQ(Rejected("tls"), 1);
}

TEST_F(IntakeTest, AStopEndsItWithoutAWord) {
  WantTls();
  Begin();
  intake_->Kill();
  ExpectRejected("draining");
  intake_->Kill();  // and once only
  EXPECT_EQ(num_failed_, 1);
}

}  // namespace
}  // namespace postern::test
