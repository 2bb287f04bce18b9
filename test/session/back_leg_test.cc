// back_leg_test: one try of an endpoint, on virtual time: addresses share the time for connecting,
// what comes up and how, what fails and who is blamed.
// SPDX-License-Identifier: Apache-2.0
#include "lb/session/back_leg.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "test/support/mail_world.h"

namespace postern::test {
namespace {

using base::FaultKind;
using base::Phase;
using base::SessionResult;
using conf::TlsMode;
using session::BackLeg;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Came = BackLeg::Came;

class BackLegTest : public testing::Test, public io::Stream::Observer {
 protected:
  BackLegTest() {
    client_.client = *base::SocketAddress::Parse("192.0.2.7:4711");
    client_.local = *base::SocketAddress::Parse("198.51.100.1:993");
  }
  // As sessions do: events and time go to the leg.
  void Start(const std::vector<std::string>& addresses = {"10.0.0.1"}) {
    world_.Build();
    parts_ = world_.env().parts;
    const balance::Endpoint& endpoint = parts_->endpoints->endpoints()[0];
    auto facts = std::make_shared<balance::EndpointFacts>();
    for (const std::string& each : addresses)
      facts->addresses.push_back(*base::IpAddress::Parse(each));
    endpoint.state->set_facts(std::move(facts));
    accounting_.emplace(world_.env(), world_.settings());
    leg_ = std::make_unique<BackLeg>(
        BackLeg::Around{world_.env(), world_.settings(), client_, *parts_, *accounting_, *this},
        endpoint);
    Take(leg_->Start());
    world_.Settle();
  }
  void OnStream(io::Stream& /*stream*/, io::Stream::Event event) override {
    Take(leg_->OnStream(event));
  }
  void Take(Came came) {
    if (came != Came::kNothing) came_.push_back(came);
  }
  // Lets time pass, deadline by deadline.
  void Wait(base::Duration duration) {
    const base::MonoTime until = world_.loop.Now() + duration;
    while (came_.empty() && leg_->NextDeadline() <= until) {
      world_.Wait(leg_->NextDeadline() - world_.loop.Now());
      if (came_.empty()) Take(leg_->OnTimer(leg_->blame()));
      world_.Settle();
    }
  }
  void Door(const char* address, SimNet::Door door) {
    world_.net.SetDoor(*base::SocketAddress::Parse(address), door);
  }
  double Failures(const char* phase, const char* kind) {
    return world_.Metric("postern_backend_failures_total{backend=\"b1\",protocol=\"tcp\",phase=\"" +
                         std::string(phase) + "\",kind=\"" + kind + "\"}");
  }

  MailWorld world_{conf::Protocol::kTcp};
  session::ClientFacts client_;
  std::shared_ptr<const session::Parts> parts_;
  std::optional<session::Accounting> accounting_;
  std::unique_ptr<BackLeg> leg_;
  std::vector<Came> came_;
};

TEST_F(BackLegTest, InClearItIsUpOnceConnected) {
  Start();
  EXPECT_EQ(came_, std::vector{Came::kUp});
  EXPECT_EQ(leg_->blame(), BackLeg::Blame::kPassive);
  world_.b1->Say("hello");
  world_.Settle();
  EXPECT_EQ(came_.back(), Came::kBytes);
  leg_->Succeeded();
  EXPECT_EQ(leg_->NextDeadline(), BackLeg::kNever);
  leg_->Drop(SessionResult::kClientQuit);
}

TEST_F(BackLegTest, BehindAHeaderAndInTlsItIsUpOnceThatIs) {
  world_.endpoint(0).tls = TlsMode::kImplicit;
  world_.endpoint(0).client_address = conf::ClientAddress::kProxyV1;
  world_.b1->is_implicit = world_.b1->expects_proxy = true;
  Start();
  EXPECT_EQ(came_, std::vector{Came::kUp});
  EXPECT_TRUE(leg_->stream().in_tls());
  EXPECT_EQ(world_.b1->before_tls, "PROXY TCP4 192.0.2.7 198.51.100.1 4711 993\r\n");
  EXPECT_EQ(leg_->blame(), BackLeg::Blame::kNone);
  leg_->Drop(SessionResult::kClientQuit);
}

TEST_F(BackLegTest, AnAddressThatRefusesIsLeftForTheNextAtOnce) {
  Start({"10.0.0.99", "10.0.0.1"});
  EXPECT_EQ(came_, std::vector{Came::kUp});
  EXPECT_EQ(leg_->stream().peer_address().ToString(), "10.0.0.1:143");
  leg_->Drop(SessionResult::kClientQuit);
}

// 3 s for all: 1 s for the first of three, the same for the second.
TEST_F(BackLegTest, AddressesShareTheTimeForConnecting) {
  for (const char* each : {"10.0.0.91:143", "10.0.0.92:143", "10.0.0.93:143"})
    Door(each, SimNet::Door::kHangs);
  Start({"10.0.0.91", "10.0.0.92", "10.0.0.93"});
  const base::MonoTime begun = world_.loop.Now();
  EXPECT_LE(leg_->NextDeadline() - begun, seconds(1));
  Wait(seconds(10));
  EXPECT_EQ(came_, std::vector{Came::kFailed});
  EXPECT_EQ(world_.net.num_dials(), 3U);
  EXPECT_EQ(leg_->fault().kind, FaultKind::kTimeout);
  EXPECT_LT(world_.loop.Now() - begun, seconds(4));
  EXPECT_EQ(leg_->Fail(leg_->fault(), leg_->blame()), "b1 connect timeout: timeout");
  EXPECT_EQ(Failures("connect", "timeout"), 1);
  EXPECT_TRUE(world_.state(0).InCooldown(world_.loop.Now()));
}

TEST_F(BackLegTest, WithoutAnAddressItFailsAtOnce) {
  world_.config.backends[0].host = "mail1.internal";
  Start({});
  EXPECT_EQ(came_, std::vector{Came::kFailed});
  EXPECT_EQ(leg_->fault().kind, FaultKind::kRefused);
  EXPECT_EQ(world_.net.num_dials(), 0U);
  leg_->Drop(SessionResult::kBackendLost);
}

TEST_F(BackLegTest, WhoIsNotToBeBlamedDoesNotCoolDown) {
  Start({"10.0.0.99"});
  EXPECT_EQ(came_, std::vector{Came::kFailed});
  EXPECT_NE(leg_->Fail(leg_->fault(), BackLeg::Blame::kNone), "");
  EXPECT_FALSE(world_.state(0).InCooldown(world_.loop.Now()));
  EXPECT_EQ(Failures("connect", "refused"), 1);
}

TEST_F(BackLegTest, AShortageOfOurOwnIsNoFault) {
  Door("10.0.0.1:143", SimNet::Door::kShort);
  Start();
  EXPECT_EQ(came_, std::vector{Came::kShort});
  leg_->Drop(SessionResult::kLimit);
  EXPECT_FALSE(world_.state(0).InCooldown(world_.loop.Now()));
}

TEST_F(BackLegTest, TlsHasTheTimeOfTheGreeting) {
  world_.endpoint(0).tls = TlsMode::kImplicit;  // and b1 says nothing
  Start();
  const base::MonoTime begun = world_.loop.Now();
  EXPECT_EQ(leg_->phase(), Phase::kTls);
  Wait(seconds(20));
  EXPECT_EQ(came_, std::vector{Came::kFailed});
  EXPECT_GT(world_.loop.Now() - begun, milliseconds(9900));
  EXPECT_LT(world_.loop.Now() - begun, milliseconds(10100));
  EXPECT_EQ(leg_->Fail(leg_->fault(), leg_->blame()), "b1 tls timeout: timeout");
}

TEST_F(BackLegTest, ALoginHasATimeOfItsOwn) {
  Start();
  leg_->SetPhase(Phase::kLogin);
  EXPECT_EQ(leg_->deadline(), world_.loop.Now() + seconds(20));
  leg_->Drop(SessionResult::kClientQuit);
}

// What connects in microseconds and now hangs for a second is told of before its time is over.
TEST_F(BackLegTest, WhoHangsForLongerThanItsLikeIsSuspectedOnce) {
  Door("10.0.0.1:143", SimNet::Door::kHangs);
  Start();
  balance::EndpointState& state = *parts_->endpoints->endpoints()[0].state;
  for (size_t i = 0; i < balance::kTimedPhases.size(); ++i) state.Average(i, milliseconds(1));
  const base::MonoTime begun = world_.loop.Now();
  EXPECT_LE(leg_->NextDeadline() - begun, seconds(1));
  world_.Wait(leg_->NextDeadline() - begun);
  Take(leg_->OnTimer(BackLeg::Blame::kPassive));
  EXPECT_TRUE(came_.empty());
  EXPECT_TRUE(state.InCooldown(world_.loop.Now()));
  EXPECT_GT(leg_->NextDeadline() - begun, seconds(2));
  leg_->Drop(SessionResult::kClientQuit);
}

}  // namespace
}  // namespace postern::test
