// mail_fault_test: backends that fail before a login of IMAP is answered: who is tried next, who is
// blamed, what the client hears and when.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "test/session/imap_case.h"

namespace postern::test {
namespace {

using base::FaultKind;
using base::Phase;
using conf::Protocol;
using conf::TlsMode;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using Fault = ScriptedBackend::Fault;

// --- faults of a backend, before the login is answered -----------------------------------------

struct FaultRow {
  const char* name;
  Fault fault;
  int at;  // answer: 0 greeting, 1 to STARTTLS where there is TLS, ...
  TlsMode tls;
  Phase phase;
  FaultKind kind;
  bool is_passive;  // acts on the endpoint at once
  base::Duration at_most;
};

// With STARTTLS the answers are greeting, STARTTLS, CAPABILITY, login; without: greeting, login.
const std::vector<FaultRow> kFaults = {
    {"GreetingHangs", Fault::kHang, 0, TlsMode::kNone, Phase::kGreeting, FaultKind::kTimeout, true,
     seconds(10)},
    {"GreetingReset", Fault::kReset, 0, TlsMode::kNone, Phase::kGreeting, FaultKind::kLost, true,
     seconds(1)},
    {"GreetingClose", Fault::kClose, 0, TlsMode::kNone, Phase::kGreeting, FaultKind::kLost, true,
     seconds(1)},
    {"GreetingHalf", Fault::kHalfLine, 0, TlsMode::kNone, Phase::kGreeting, FaultKind::kLost, true,
     seconds(1)},
    {"GreetingGarbage", Fault::kGarbage, 0, TlsMode::kNone, Phase::kGreeting, FaultKind::kProtocol,
     true, seconds(1)},
    {"GreetingEndless", Fault::kEndless, 0, TlsMode::kNone, Phase::kGreeting, FaultKind::kProtocol,
     true, seconds(1)},
    {"GreetingBye", Fault::kBusy, 0, TlsMode::kNone, Phase::kGreeting, FaultKind::kTempfail, true,
     seconds(1)},
    {"LoginHangs", Fault::kHang, 1, TlsMode::kNone, Phase::kLogin, FaultKind::kTimeout, false,
     seconds(20)},
    {"LoginReset", Fault::kReset, 1, TlsMode::kNone, Phase::kLogin, FaultKind::kLost, false,
     seconds(1)},
    {"LoginClose", Fault::kClose, 1, TlsMode::kNone, Phase::kLogin, FaultKind::kLost, false,
     seconds(1)},
    {"LoginHalf", Fault::kHalfLine, 1, TlsMode::kNone, Phase::kLogin, FaultKind::kLost, false,
     seconds(1)},
    {"LoginGarbage", Fault::kGarbage, 1, TlsMode::kNone, Phase::kLogin, FaultKind::kProtocol, false,
     seconds(1)},
    {"LoginEndless", Fault::kEndless, 1, TlsMode::kNone, Phase::kLogin, FaultKind::kProtocol, false,
     seconds(1)},
    {"LoginBye", Fault::kBusy, 1, TlsMode::kNone, Phase::kLogin, FaultKind::kTempfail, false,
     seconds(1)},
    {"LoginTempFail", Fault::kTempFail, 1, TlsMode::kNone, Phase::kLogin, FaultKind::kTempfail,
     false, seconds(1)},
    {"StartTlsHangs", Fault::kHang, 1, TlsMode::kStartTls, Phase::kHello, FaultKind::kTimeout, true,
     seconds(10)},
    {"StartTlsInjects", Fault::kInjects, 1, TlsMode::kStartTls, Phase::kTls, FaultKind::kProtocol,
     true, seconds(1)},
    {"StartTlsRefused", Fault::kTempFail, 1, TlsMode::kStartTls, Phase::kHello,
     FaultKind::kTempfail, true, seconds(1)},
    {"StartTlsClose", Fault::kClose, 1, TlsMode::kStartTls, Phase::kHello, FaultKind::kLost, true,
     seconds(1)},
    {"HelloInTlsHangs", Fault::kHang, 2, TlsMode::kStartTls, Phase::kHello, FaultKind::kTimeout,
     true, seconds(10)},
    {"HelloInTlsGarbage", Fault::kGarbage, 2, TlsMode::kStartTls, Phase::kHello,
     FaultKind::kProtocol, true, seconds(1)},
    {"LoginInTlsHangs", Fault::kHang, 3, TlsMode::kStartTls, Phase::kLogin, FaultKind::kTimeout,
     false, seconds(20)},
    {"ImplicitGreetingHangs", Fault::kHang, 0, TlsMode::kImplicit, Phase::kGreeting,
     FaultKind::kTimeout, true, seconds(10)},
    {"ImplicitGreetingBye", Fault::kBusy, 0, TlsMode::kImplicit, Phase::kGreeting,
     FaultKind::kTempfail, true, seconds(1)},
};

class ImapFaultTest : public ImapSessionTest, public testing::WithParamInterface<FaultRow> {
 protected:
  void Arrange() {
    const FaultRow& row = GetParam();
    for (int i = 0; i < 2; ++i) {
      ScriptedBackend& backend = i == 0 ? *world_.b1 : *world_.b2;
      world_.endpoint(i).tls = row.tls;
      backend.has_starttls = row.tls == TlsMode::kStartTls;
      backend.is_implicit = row.tls == TlsMode::kImplicit;
    }
    world_.b1->fault = row.fault;
    world_.b1->fault_at = row.at;
  }
};

TEST_P(ImapFaultTest, LeadsToTheNextBackendInTime) {
  const FaultRow& row = GetParam();
  Arrange();
  Begin();
  world_.Line("a LOGIN alice secret");
  const base::MonoTime asked = world_.loop.Now();
  ASSERT_TRUE(world_.loop.RunUntil([this] { return !world_.b2->logins.empty(); }));
  EXPECT_LE(world_.loop.Now() - asked, row.at_most + milliseconds(100));
  EXPECT_EQ(world_.Read(), "a OK [CAPABILITY IMAP4rev1 IDLE X-BACK] Logged in at b2\r\n");
  EXPECT_EQ(Failures("b1", row.phase, row.kind), 1);
  EXPECT_EQ(world_.Metric("postern_retries_total{protocol=\"imap\",reason=\"" +
                          std::string(Name(row.kind)) + "\"}"),
            1);
  EXPECT_EQ(world_.state(0).cooldown_until_ns.load() != 0, row.is_passive);
  EXPECT_THAT(world_.auth_failed, IsEmpty());
}

TEST_P(ImapFaultTest, IsUnavailableWhereNobodyMayStandIn) {
  const FaultRow& row = GetParam();
  Arrange();
  world_.config.routes[0].rules.back().action = conf::Rule::ToBackend{"b1"};
  Begin();
  world_.Line("a LOGIN alice secret");
  world_.Wait(row.at_most + milliseconds(200));
  EXPECT_EQ(world_.Read(), std::string("a ") + kUnavailable);
  EXPECT_EQ(world_.b2->num_connections(), 0);
  // A plain session works at once.
  world_.b1->fault = Fault::kNone;
  EXPECT_THAT(world_.LogIn(), HasSubstr("Logged in at b1"));
}

TEST_P(ImapFaultTest, AClientThatLeavesMeanwhileLeavesNothingBehind) {
  Arrange();
  Begin();
  world_.Line("a LOGIN alice secret");
  world_.Settle();
  world_.ResetClient();
  world_.Settle();
  EXPECT_EQ(world_.session, nullptr);
  EXPECT_EQ(world_.b1->num_open() + world_.b2->num_open(), 0);
}

INSTANTIATE_TEST_SUITE_P(Table, ImapFaultTest, testing::ValuesIn(kFaults),
                         [](const auto& row) { return std::string(row.param.name); });

TEST_F(ImapSessionTest, ARefusedConnectLeadsToTheNextAndCoolsDown) {
  world_.net.SetDoor(*base::SocketAddress::Parse("10.0.0.1:143"), SimNet::Door::kRefuses);
  BeginLoggedIn();
  EXPECT_THAT(world_.b2->logins, ElementsAre("alice"));
  EXPECT_EQ(Failures("b1", Phase::kConnect, FaultKind::kRefused), 1);
  EXPECT_TRUE(world_.state(0).InCooldown(world_.loop.Now()));
}

// Where a client's login as this user goes, in a pool that hashes.
int HashedTo(Protocol protocol, conf::HashOn hash_on, const std::string& client_address,
             const std::string& user) {
  MailWorld world(protocol);
  world.checks_metrics = false;
  world.config.pools[0].balance = conf::Balance::kHash;
  world.config.pools[0].hash_on = hash_on;
  world.client_address = client_address;
  for (ScriptedBackend* backend : {world.b1.get(), world.b2.get()})
    backend->passwords[user] = "secret";
  world.Begin();
  (void)world.Read();
  (void)world.LogIn(user, "secret");
  EXPECT_EQ(world.b1->logins.size() + world.b2->logins.size(), 1U);
  return world.b1->logins.empty() ? 2 : 1;
}

TEST(MailHashTest, TakesTheClientsAddressWhereThePoolSaysSo) {
  for (const Protocol protocol : {Protocol::kImap, Protocol::kPop3}) {
    std::set<int> by_client, by_user;
    for (int i = 1; i <= 12; ++i) {
      const std::string number = std::to_string(i);
      const std::string client = "192.0.2." + number;
      const int place = HashedTo(protocol, conf::HashOn::kClient, client + ":1000", "alice");
      EXPECT_EQ(HashedTo(protocol, conf::HashOn::kClient, client + ":2000", "u" + number), place)
          << client;
      by_client.insert(place);
      by_user.insert(HashedTo(protocol, conf::HashOn::kUser, "192.0.2.1:1000", "u" + number));
    }
    EXPECT_EQ(by_client.size(), 2U) << "clients are shared";
    EXPECT_EQ(by_user.size(), 2U) << "users of one client too, where they are hashed";
  }
}

TEST_F(ImapSessionTest, WhereMailboxesDifferNobodyStandsIn) {
  world_.config.pools[0].storage = conf::Storage::kSeparate;
  world_.b1->fault = Fault::kClose;
  Begin();
  EXPECT_EQ(world_.LogIn(), std::string("a1 ") + kUnavailable);
  EXPECT_EQ(world_.b2->num_connections(), 0);
}

TEST_F(ImapSessionTest, AConnectThatHangsLeadsToTheNext) {
  world_.net.SetDoor(*base::SocketAddress::Parse("10.0.0.1:143"), SimNet::Door::kHangs);
  Begin();
  world_.Line("a LOGIN alice secret");
  world_.Wait(milliseconds(2900));
  EXPECT_EQ(world_.Read(), "");
  world_.Wait(milliseconds(200));
  EXPECT_THAT(world_.Read(), HasSubstr("Logged in at b2"));
  EXPECT_EQ(Failures("b1", Phase::kConnect, FaultKind::kTimeout), 1);
}

TEST_F(ImapSessionTest, ASlowGreetingIsWaitedFor) {
  world_.b1->greeting_delay = seconds(9);
  Begin();
  world_.Line("a LOGIN alice secret");
  world_.Wait(seconds(9));
  EXPECT_THAT(world_.Read(), HasSubstr("Logged in at b1"));
}

TEST_F(ImapSessionTest, AShortageOfOurOwnBlamesNobody) {
  world_.net.SetDoor(*base::SocketAddress::Parse("10.0.0.1:143"), SimNet::Door::kShort);
  Begin();
  EXPECT_EQ(world_.LogIn(), std::string("a1 ") + kUnavailable);
  EXPECT_FALSE(world_.state(0).InCooldown(world_.loop.Now()));
  EXPECT_EQ(Failures("b1", Phase::kConnect, FaultKind::kRefused), 0);
}

TEST_F(ImapSessionTest, BothDownIsUnavailableAndTheSessionStays) {
  for (const char* address : {"10.0.0.1:143", "10.0.0.2:143"})
    world_.net.SetDoor(*base::SocketAddress::Parse(address), SimNet::Door::kRefuses);
  Begin();
  EXPECT_EQ(world_.LogIn(), std::string("a1 ") + kUnavailable);
  for (const char* address : {"10.0.0.1:143", "10.0.0.2:143"})
    world_.net.SetDoor(*base::SocketAddress::Parse(address), SimNet::Door::kOpen);
  EXPECT_THAT(world_.LogIn(), HasSubstr("Logged in at"));
}

TEST_F(ImapSessionTest, ABadCertificateGetsNoPassword) {
  world_.endpoint(0).tls = TlsMode::kImplicit;
  world_.b1->is_implicit = true;
  world_.net.SetBadCertificate(*base::SocketAddress::Parse("10.0.0.1:143"), true);
  BeginLoggedIn();
  EXPECT_THAT(world_.b2->logins, ElementsAre("alice"));
  EXPECT_THAT(world_.b1->lines, IsEmpty());
  EXPECT_EQ(Failures("b1", Phase::kTls, FaultKind::kTlsVerify), 1);
}

TEST_F(ImapSessionTest, AStrippedStartTlsGetsNoPassword) {
  for (int i = 0; i < 2; ++i) world_.endpoint(i).tls = TlsMode::kStartTls;
  world_.b1->has_starttls = world_.b2->has_starttls = true;
  world_.b1->strips_starttls = true;
  BeginLoggedIn();
  EXPECT_THAT(world_.b2->logins, ElementsAre("alice"));
  for (const std::string& line : world_.b1->lines) EXPECT_THAT(line, EndsWith("CAPABILITY"));
}

TEST_F(ImapSessionTest, StartTlsAtABackend) {
  world_.endpoint(0).tls = TlsMode::kStartTls;
  world_.b1->has_starttls = true;
  BeginLoggedIn();
  EXPECT_TRUE(world_.b1->stream()->in_tls());
  EXPECT_EQ(world_.b1->lines.size(), 3U);  // STARTTLS, CAPABILITY again, login
  world_.CloseClient();
  world_.Wait(seconds(5));
  EXPECT_GE(account().phases_ms[static_cast<size_t>(Phase::kTls)], 0);
}

}  // namespace
}  // namespace postern::test
