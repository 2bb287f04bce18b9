// delivery_probes_test: rounds, results, events and what stays behind, in virtual time.
// SPDX-License-Identifier: Apache-2.0
#include "health/delivery_probes.h"

#include "test/health/delivery_world.h"

namespace postern::health {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class DeliveryProbesTest : public DeliveryWorld {};

TEST_F(DeliveryProbesTest, AMessageArrivesAndIsTimedAndDeleted) {
  Watch();
  EXPECT_EQ(Count("ok"), 0) << "the series is there from the start";
  RunRound();
  EXPECT_EQ(Count("ok"), 1);
  EXPECT_EQ(server_.num_accepted, 1);
  EXPECT_THAT(server_.folders["INBOX"], IsEmpty());
  for (const char* stage : {"submit", "arrive", "cleanup", "roundtrip"})
    EXPECT_EQ(Stage(stage), 1) << stage;
  EXPECT_GE(Stage("arrive", "sum"), 0.3);
  EXPECT_LT(Stage("arrive", "sum"), 0.5);
  EXPECT_THAT(events_, IsEmpty());
  EXPECT_EQ(NumSaid("NOTIFY=NEVER"), 1);
}

TEST_F(DeliveryProbesTest, RoundsComeEveryInterval) {
  Watch();
  loop_.RunFor(minutes(10));
  EXPECT_GE(Count("ok"), 9);
  EXPECT_LE(Count("ok"), 12);
  EXPECT_THAT(server_.folders["INBOX"], IsEmpty());
}

TEST_F(DeliveryProbesTest, AnyCutOfTheBytesWillDo) {
  net_.options.cut = test::SimCut::kByByte;
  server_.junk = "Spam";
  Watch();
  RunRound();
  EXPECT_EQ(Count("ok"), 1);
}

TEST_F(DeliveryProbesTest, TheJunkFolderIsAFailureOfItsOwnKind) {
  server_.junk = server_.delivers_to = "Spam";
  Watch();
  RunRound();
  EXPECT_EQ(Count("failed"), 1);
  ASSERT_THAT(events_, SizeIs(1));
  EXPECT_EQ(events_[0].kind, "delivery_probe_junk");
  EXPECT_EQ(events_[0].object, "p");
  EXPECT_THAT(server_.folders["Spam"], IsEmpty());
  EXPECT_EQ(Stage("arrive"), 0);
}

TEST_F(DeliveryProbesTest, WhatComesAfterTheTimeoutIsFailedAndThenLate) {
  server_.delivers_after = seconds(40);
  Watch();
  RunRound();
  EXPECT_EQ(Count("failed"), 1);
  ASSERT_THAT(events_, SizeIs(1));
  EXPECT_EQ(events_[0].kind, "delivery_probe_failed");
  EXPECT_THAT(events_[0].text, HasSubstr("lost: accepted by m1/smtp"));
  server_.delivers_after = milliseconds(10);
  RunRound();
  EXPECT_EQ(Count("ok"), 1);
  EXPECT_EQ(Count("late"), 1);
  EXPECT_THAT(server_.folders["INBOX"], IsEmpty());
  ASSERT_THAT(events_, SizeIs(3));
  EXPECT_EQ(events_[1].kind, "delivery_probe_ok");
  EXPECT_EQ(events_[2].kind, "delivery_probe_late");
}

TEST_F(DeliveryProbesTest, ALossThatGoesOnIsToldOncePerMinuteAndAddsNothing) {
  server_.delivers_to.clear();
  config_->probes[0].interval = milliseconds(100);
  config_->probes[0].timeout = seconds(1);
  Watch();
  loop_.RunFor(minutes(3));
  EXPECT_GT(Count("failed"), 60);
  EXPECT_GE(events_.size(), 3U);
  EXPECT_LE(events_.size(), 4U);
}

TEST_F(DeliveryProbesTest, ARefusedMessageSaysByWhomAndWhy) {
  server_.refuses["RCPT"] = "550 5.1.1 no such user";
  Watch();
  RunRound();
  EXPECT_EQ(Count("failed"), 1);
  ASSERT_THAT(events_, SizeIs(1));
  EXPECT_EQ(events_[0].text, "submit: m1/smtp: rcpt: 550 5.1.1 no such user");
  loop_.RunFor(seconds(1));
  EXPECT_EQ(NumSaid("QUIT"), 1);
}

TEST_F(DeliveryProbesTest, WhereTheMailboxCannotBeLookedAtNothingIsSent) {
  for (const char* no : {"% NO [AUTHENTICATIONFAILED] who?", "* BYE closing"}) {
    server_.refuses["LOGIN"] = no;
    if (Count("failed") == 0) Watch();
    RunRound();
  }
  server_.refuses.clear();
  for (const char* no : {"% NO no such mailbox", "% OK [READ-ONLY] look but do not touch"}) {
    server_.refuses["SELECT"] = no;
    RunRound();
  }
  server_.refuses.clear();
  server_.Put("INBOX", Marked());
  server_.refuses["UID STORE"] = "% NO not allowed";
  RunRound();
  EXPECT_EQ(Count("failed"), 5);
  EXPECT_EQ(server_.num_accepted, 0);
}

TEST_F(DeliveryProbesTest, OlderMessagesGoAndOthersStay) {
  server_.junk = "Spam";
  for (const char* folder : {"INBOX", "Spam"}) {
    for (int i = 0; i < 1200; ++i) server_.Put(folder, Marked());
    server_.Put(folder, Marked("xlb1/p"));
    server_.Put(folder, Marked("lb1/pp"));
    server_.Put(folder, "Subject: lb1/p\r\n\r\nmail\r\n");
  }
  Watch();
  RunRound();
  EXPECT_EQ(Count("ok"), 1);
  EXPECT_EQ(Count("late"), 0) << "another process sent them";
  EXPECT_THAT(server_.folders["INBOX"], SizeIs(3));
  EXPECT_THAT(server_.folders["Spam"], SizeIs(3));
}

TEST_F(DeliveryProbesTest, WithoutUidplusOnlyOursAreExpunged) {
  server_.capabilities = "IMAP4rev1";
  Watch();
  RunRound();
  EXPECT_EQ(Count("ok"), 1);
  EXPECT_THAT(server_.folders["INBOX"], IsEmpty());
  // Somebody marks mail: nothing is expunged any more, and after one message nothing is sent.
  server_.Put("INBOX", "Subject: theirs\r\n\r\n");
  server_.folders["INBOX"][0].is_deleted = true;
  const int before = server_.num_accepted;
  for (int i = 0; i < 5; ++i) RunRound();
  EXPECT_EQ(server_.num_accepted, before + 1);
  EXPECT_THAT(server_.folders["INBOX"], SizeIs(2));
  EXPECT_EQ(NumSaid(" EXPUNGE"), 1);
}

TEST_F(DeliveryProbesTest, AMailboxConnectionThatIsLostIsMadeAnew) {
  server_.delivers_after = seconds(8);
  Watch();
  ASSERT_TRUE(loop_.RunUntil([&] { return server_.num_accepted == 1; }));
  loop_.RunFor(seconds(1));
  server_.CutImap();
  RunRound();
  EXPECT_EQ(Count("ok"), 1);
  EXPECT_EQ(NumSaid("LOGIN"), 2);
}

TEST_F(DeliveryProbesTest, ADeadMemberOfAPoolIsPassedOver) {
  AddBackend("m2", "10.0.0.2");  // nobody listens there
  conf::Pool& pool = config_->pools.emplace_back();
  pool.name = "all";
  pool.backends = {"m2", "m1"};
  pool.balance = conf::Balance::kFirst;
  pool.storage = conf::Storage::kShared;
  conf::Probe& probe = config_->probes[0];
  probe.send_backend.clear();
  probe.find_backend.clear();
  probe.send_pool = probe.find_pool = "all";
  Watch();
  RunRound();
  EXPECT_EQ(Count("ok"), 1);
}

TEST_F(DeliveryProbesTest, AServerThatHangsEndsWithTheTimeout) {
  net_.SetDoor(*base::SocketAddress::Parse("10.0.0.1:25"), test::SimNet::Door::kHangs);
  Watch();
  RunRound();
  EXPECT_EQ(Count("failed"), 1);
  ASSERT_THAT(events_, SizeIs(1));
  EXPECT_EQ(events_[0].text, "submit: m1/smtp: connect: no connection in time");
}

TEST_F(DeliveryProbesTest, EndlessAnswersEndTheRound) {
  net_.options.window_bytes = 1 << 20;
  server_.refuses["UID SEARCH"] = std::string(300'000, 'x');
  Watch();
  RunRound();
  EXPECT_EQ(Count("failed"), 1);
  ASSERT_THAT(events_, SizeIs(1));
  EXPECT_THAT(events_[0].text, HasSubstr("without end"));
  EXPECT_EQ(server_.num_accepted, 0);
}

TEST_F(DeliveryProbesTest, AListenerOfOurOwnGetsAProxyHeaderWhereItExpectsOne) {
  std::string first;
  struct Reader final : io::Stream::Observer {
    void OnStream(io::Stream& stream, io::Stream::Event event) override {
      if (event == io::Stream::Event::kReadable) bytes->append(stream.Input());
      if (event == io::Stream::Event::kReadable) stream.Consume(stream.Input().size());
    }
    std::string* bytes = nullptr;
  } reader;
  reader.bytes = &first;
  std::vector<std::unique_ptr<test::SimStream>> streams;
  net_.Listen(*base::SocketAddress::Parse("127.0.0.1:2525"), [&](auto stream) {
    stream->SetObserver(&reader);
    streams.push_back(std::move(stream));
  });
  conf::Listener& listener = config_->listeners.emplace_back();
  listener.name = "mx";
  listener.protocol = conf::Protocol::kSmtp;
  listener.accept_proxy_from = {*base::Network::Parse("0.0.0.0/0"), *base::Network::Parse("::/0")};
  config_->probes[0].send_backend.clear();
  config_->probes[0].send_listener = "mx";
  DeliveryDoor door;
  door.listener = *base::SocketAddress::Parse("0.0.0.0:2525");
  doors_ = {door};
  Watch();
  RunRound();
  EXPECT_EQ(Count("failed"), 1) << "it does not greet";
  EXPECT_TRUE(first.starts_with("\r\n\r\n")) << "the signature of version 2";
}

TEST_F(DeliveryProbesTest, AReloadLeavesARoundAloneAndARemovedProbeGoes) {
  server_.delivers_after = seconds(5);
  Watch();
  ASSERT_TRUE(loop_.RunUntil([&] { return server_.num_accepted == 1; }));
  Watch();
  RunRound();
  EXPECT_EQ(Count("ok"), 1);
  EXPECT_EQ(server_.num_accepted, 1);
  config_->probes.clear();
  Watch();
  loop_.RunFor(minutes(5));
  EXPECT_EQ(server_.num_accepted, 1);
}

TEST_F(DeliveryProbesTest, StopsInTheMiddle) {
  Watch();
  ASSERT_TRUE(loop_.RunUntil([&] { return server_.num_accepted == 1; }));
  probes_->Stop();
  loop_.RunFor(minutes(5));
  EXPECT_EQ(Count("ok") + Count("failed"), 0);
  EXPECT_EQ(server_.num_accepted, 1);
}

TEST_F(DeliveryProbesTest, WhatIsNoAddressIsNotSent) {
  config_->probes[0].to = "b@example.com>\r\nRCPT TO:<c@example.com";
  Watch();
  RunRound();
  EXPECT_EQ(Count("failed"), 1);
  EXPECT_EQ(NumSaid("RCPT"), 0);
}

TEST_F(DeliveryProbesTest, LogsInWhereItIsToldTo) {
  config_->probes[0].login = conf::Credentials{"u", base::Secret("p")};
  Watch();
  RunRound();
  EXPECT_EQ(Count("ok"), 1);
  EXPECT_EQ(NumSaid("AUTH PLAIN"), 1);
}

}  // namespace
}  // namespace postern::health
