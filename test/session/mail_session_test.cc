// mail_session_test: whole sessions of IMAP and POP3 in memory, on virtual time: logins, faults of
// backends, clients that leave, deadlines, relay, drain.
// SPDX-License-Identifier: Apache-2.0
#include "lb/session/mail_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "test/support/mail_world.h"

namespace postern::test {
namespace {

using base::FaultKind;
using base::Phase;
using base::SessionResult;
using base::Side;
using conf::Protocol;
using conf::TlsMode;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;
using Fault = ScriptedBackend::Fault;

const char kRefused[] = "NO [AUTHENTICATIONFAILED] Authentication failed\r\n";
const char kUnavailable[] = "NO [UNAVAILABLE] Temporarily unavailable, try again later\r\n";

class ImapSessionTest : public testing::Test {
 protected:
  // Begins, and reads the greeting.
  void Begin() {
    world_.Begin();
    ASSERT_THAT(world_.Read(), StartsWith("* OK "));
  }
  void BeginLoggedIn() {
    Begin();
    ASSERT_THAT(world_.LogIn(), HasSubstr(" OK "));
  }
  const metrics::SessionAccount& account() {
    EXPECT_EQ(world_.accounts.size(), 1U);
    static const metrics::SessionAccount kNone;
    return world_.accounts.empty() ? kNone : world_.accounts[0];
  }
  double Failures(const std::string& backend, Phase phase, FaultKind kind) {
    return world_.Metric("postern_backend_failures_total{backend=\"" + backend +
                         "\",protocol=\"imap\",phase=\"" + std::string(Name(phase)) + "\",kind=\"" +
                         std::string(Name(kind)) + "\"}");
  }
  double Auth(const std::string& mechanism, const std::string& result) {
    return world_.Metric("postern_auth_attempts_total{protocol=\"imap\",mechanism=\"" + mechanism +
                         "\",result=\"" + result + "\"}");
  }

  MailWorld world_{Protocol::kImap};
};

// --- logins -----------------------------------------------------------------------------------

TEST_F(ImapSessionTest, LogsInAndRelaysBothWays) {
  Begin();
  EXPECT_EQ(world_.LogIn(), "a1 OK [CAPABILITY IMAP4rev1 IDLE X-BACK] Logged in at b1\r\n");
  EXPECT_THAT(world_.b1->logins, ElementsAre("alice"));
  EXPECT_EQ(world_.b2->num_connections(), 0);
  world_.Line("b SELECT INBOX");
  world_.Settle();
  EXPECT_EQ(world_.b1->relayed, "b SELECT INBOX\r\n");
  world_.b1->Say("* 3 EXISTS\r\nb OK done\r\n");
  EXPECT_EQ(world_.Read(), "* 3 EXISTS\r\nb OK done\r\n");
  EXPECT_EQ(world_.Ask("c LOGOUT"), "* BYE bye\r\nc OK done\r\n");
  EXPECT_TRUE(world_.client_sees_end());
  EXPECT_EQ(account().cause.result, SessionResult::kClientQuit);
  EXPECT_EQ(account().user, "alice");
  EXPECT_EQ(account().backend, "b1");
  EXPECT_EQ(account().commands, 3U);
  EXPECT_EQ(account().bytes_in, 23U + 16U + 10U);
  EXPECT_GE(account().phases_ms[static_cast<size_t>(Phase::kLogin)], 0);
  EXPECT_LT(account().phases_ms[static_cast<size_t>(Phase::kTls)], 0);
  EXPECT_EQ(account().tls_version, "TLSv1.3");
  EXPECT_EQ(Auth("login", "ok") + Auth("LOGIN", "ok") + Auth("login_command", "ok"), 1);
  EXPECT_THAT(world_.auth_succeeded, ElementsAre("alice"));
}

TEST_F(ImapSessionTest, NothingBehindTheLoginIsLostOrDoubled) {
  Begin();
  world_.b1->behind_ok = "* OK news\r\n";
  world_.Send("a LOGIN alice secret\r\nb SELECT INBOX\r\nc FETCH 1 X\r\n");
  EXPECT_EQ(world_.Read(),
            "a OK [CAPABILITY IMAP4rev1 IDLE X-BACK] Logged in at b1\r\n* OK news\r\n");
  EXPECT_EQ(world_.b1->relayed, "b SELECT INBOX\r\nc FETCH 1 X\r\n");
}

TEST_F(ImapSessionTest, ByteByByteIsTheSame) {
  world_.net.options.cut = SimCut::kByByte;
  Begin();
  world_.b1->behind_ok = "* OK news\r\n";
  world_.Send("a LOGIN alice secret\r\nb SELECT INBOX\r\n");
  EXPECT_EQ(world_.Read(),
            "a OK [CAPABILITY IMAP4rev1 IDLE X-BACK] Logged in at b1\r\n* OK news\r\n");
  EXPECT_EQ(world_.b1->relayed, "b SELECT INBOX\r\n");
}

TEST_F(ImapSessionTest, StartTlsThenLogin) {
  world_.is_in_tls = false;
  world_.listener().tls = TlsMode::kStartTls;
  Begin();
  EXPECT_THAT(world_.LogIn(), HasSubstr("[PRIVACYREQUIRED]"));
  EXPECT_THAT(world_.Ask("t STARTTLS"), StartsWith("t OK "));
  world_.StartClientTls();
  EXPECT_THAT(world_.LogIn(), HasSubstr("OK [CAPABILITY"));
  EXPECT_TRUE(world_.client().in_tls());
}

TEST_F(ImapSessionTest, WhereTlsIsRequiredNobodyLogsInWithoutIt) {
  world_.is_in_tls = false;
  world_.listener().tls = TlsMode::kStartTls;
  world_.listener().auth_requires_tls = false;
  world_.listener().require_tls = true;
  Begin();
  EXPECT_THAT(world_.LogIn(), HasSubstr("[PRIVACYREQUIRED]"));
  EXPECT_EQ(world_.b1->num_connections(), 0);
}

TEST_F(ImapSessionTest, BytesBehindStartTlsEndTheSession) {
  world_.is_in_tls = false;
  world_.listener().tls = TlsMode::kStartTls;
  Begin();
  world_.Send("t STARTTLS\r\nb LOGIN alice secret\r\n");
  EXPECT_THAT(world_.Read(), StartsWith("t BAD "));
  EXPECT_TRUE(world_.client_sees_end());
  EXPECT_EQ(account().cause.result, SessionResult::kProtocolError);
  EXPECT_EQ(world_.b1->num_connections(), 0);
}

TEST_F(ImapSessionTest, AHandshakeThatHangsIsEnded) {
  world_.is_in_tls = false;
  world_.listener().tls = TlsMode::kStartTls;
  Begin();
  EXPECT_THAT(world_.Ask("t STARTTLS"), StartsWith("t OK "));
  world_.Wait(seconds(9));
  EXPECT_FALSE(world_.client_sees_end());
  world_.Wait(seconds(2));
  EXPECT_TRUE(world_.client_sees_end());
  EXPECT_EQ(account().cause.phase, Phase::kTls);
}

TEST_F(ImapSessionTest, GarbageInPlaceOfAHandshakeIsEnded) {
  world_.is_in_tls = false;
  world_.listener().tls = TlsMode::kStartTls;
  Begin();
  EXPECT_THAT(world_.Ask("t STARTTLS"), StartsWith("t OK "));
  world_.Line("b LOGIN alice secret");
  world_.Settle();
  EXPECT_EQ(account().cause.result, SessionResult::kProtocolError);
  EXPECT_EQ(world_.b1->num_connections(), 0);
}

TEST_F(ImapSessionTest, AWrongPasswordIsFinalAndComesLate) {
  Begin();
  const base::MonoTime asked = world_.loop.Now();
  world_.Line("a LOGIN alice wrong");
  EXPECT_EQ(world_.Read(), "");
  EXPECT_EQ(world_.b1->num_connections(), 1);
  EXPECT_EQ(world_.b1->num_open(), 0);  // it holds no leg while it waits
  EXPECT_THAT(world_.auth_failed, ElementsAre("alice"));
  std::string answer;
  while (answer.empty() && world_.loop.Now() < asked + seconds(10)) answer = world_.Read();
  EXPECT_EQ(answer, std::string("a ") + kRefused);
  EXPECT_GE(world_.loop.Now() - asked, seconds(2));
  EXPECT_LE(world_.loop.Now() - asked, seconds(2) + milliseconds(100));
  EXPECT_EQ(world_.b2->num_connections(), 0);
  // The session goes on.
  EXPECT_THAT(world_.LogIn(), HasSubstr(" OK "));
}

TEST_F(ImapSessionTest, ASlowRefusalIsNotDelayedFurther) {
  world_.b1->auth_delay = seconds(3);
  Begin();
  world_.Line("a LOGIN alice wrong");
  world_.Wait(milliseconds(2900));
  EXPECT_EQ(world_.Read(), "");
  world_.Wait(milliseconds(100));
  EXPECT_EQ(world_.Read(), std::string("a ") + kRefused);
}

TEST_F(ImapSessionTest, AUserWithoutAHomeReadsLikeAWrongPassword) {
  Begin();
  world_.Line("a LOGIN nobody secret");
  world_.Wait(milliseconds(1900));
  EXPECT_EQ(world_.Read(), "");
  world_.Wait(milliseconds(100));
  EXPECT_EQ(world_.Read(), std::string("a ") + kRefused);
  EXPECT_EQ(world_.b1->num_connections() + world_.b2->num_connections(), 0);
  EXPECT_THAT(world_.auth_failed, ElementsAre("nobody"));
}

TEST_F(ImapSessionTest, WhatMayNotReachABackendReadsLikeAWrongPassword) {
  Begin();
  world_.Send("a LOGIN {7+}\r\nali\r\nce {6+}\r\nsecret\r\n");
  EXPECT_EQ(world_.Read(), "");
  world_.Wait(seconds(2));
  EXPECT_EQ(world_.Read(), std::string("a ") + kRefused);
  // With a good name, too.
  world_.Send("b LOGIN alice {8+}\r\nsec\r\nret\r\n");
  world_.Wait(seconds(2));
  EXPECT_EQ(world_.Read(), std::string("b ") + kRefused);
  EXPECT_EQ(world_.b1->num_connections(), 0);
}

TEST_F(ImapSessionTest, ABlockedUserReadsLikeAWrongPassword) {
  world_.is_auth_blocked = true;
  Begin();
  EXPECT_EQ(world_.LogIn(), "");
  world_.Wait(seconds(2));
  EXPECT_EQ(world_.Read(), std::string("a1 ") + kRefused);
  EXPECT_EQ(world_.b1->num_connections(), 0);
  EXPECT_THAT(world_.auth_failed, IsEmpty());
}

TEST_F(ImapSessionTest, ATempFailRuleSaysUnavailable) {
  Begin();
  EXPECT_EQ(world_.LogIn("later"), "");  // no sooner than a wrong password's answer
  world_.Wait(seconds(2));
  EXPECT_EQ(world_.Read(), std::string("a1 ") + kUnavailable);
  EXPECT_THAT(world_.auth_failed, IsEmpty());
  EXPECT_THAT(world_.LogIn(), HasSubstr(" OK "));
}

TEST_F(ImapSessionTest, TooManyRefusalsEndTheSession) {
  world_.listener().limits.auth_failures = 2;
  Begin();
  (void)world_.LogIn("alice", "wrong");
  world_.Wait(seconds(2));
  EXPECT_THAT(world_.Read(), EndsWith(kRefused));
  (void)world_.LogIn("alice", "wrong");
  world_.Wait(seconds(2));
  EXPECT_THAT(world_.Read(), EndsWith("* BYE Too many failed logins\r\n"));
  EXPECT_EQ(account().cause.result, SessionResult::kLimit);
}

TEST_F(ImapSessionTest, ATokensFailureChallengeIsPassedOn) {
  world_.b1->capabilities = "IMAP4rev1 SASL-IR AUTH=XOAUTH2";
  world_.b1->token_challenge = "eyJzdGF0dXMiOiI0MDEifQ==";
  Begin();
  EXPECT_EQ(world_.Ask("a AUTHENTICATE XOAUTH2 dXNlcj1hbGljZQFhdXRoPUJlYXJlciB0b2sBAQ=="),
            "+ eyJzdGF0dXMiOiI0MDEifQ==\r\n");
  // It is the client's turn: no backend's deadline runs.
  world_.Wait(seconds(30));
  EXPECT_EQ(world_.Read(), "");
  EXPECT_EQ(world_.Ask("AQ=="), std::string("a ") + kRefused);
  EXPECT_THAT(
      world_.b1->lines,
      ElementsAre("P1 AUTHENTICATE XOAUTH2 dXNlcj1hbGljZQFhdXRoPUJlYXJlciB0b2sBAQ==", "AQ=="));
}

TEST_F(ImapSessionTest, ABackendThatGoesDuringAChallengeIsNoWrongPassword) {
  world_.b1->capabilities = world_.b2->capabilities = "IMAP4rev1 SASL-IR AUTH=XOAUTH2";
  world_.b1->token_challenge = "e30=";
  world_.b2->fault = Fault::kClose;
  Begin();
  EXPECT_EQ(world_.Ask("a AUTHENTICATE XOAUTH2 dXNlcj1hbGljZQFhdXRoPUJlYXJlciB0b2sBAQ=="),
            "+ e30=\r\n");
  world_.b1->stream()->Reset();
  world_.Settle();
  EXPECT_EQ(world_.Ask("AQ=="), std::string("a ") + kUnavailable);
}

TEST_F(ImapSessionTest, ReportsWhatTheBackendCanDo) {
  BeginLoggedIn();
  ASSERT_EQ(world_.learned.size(), 1U);
  EXPECT_EQ(world_.learned[0].first, "b1");
  EXPECT_THAT(world_.learned[0].second, ElementsAre("IMAP4rev1", "SASL-IR", "ID", "AUTH=PLAIN"));
}

// --- the client's address -----------------------------------------------------------------------

TEST_F(ImapSessionTest, HandsTheAddressOnById) {
  world_.endpoint(0).client_address = conf::ClientAddress::kImapId;
  Begin();
  EXPECT_THAT(world_.Ask("i ID (\"x-originating-ip\" \"6.6.6.1\")"), HasSubstr("i OK"));
  EXPECT_THAT(world_.LogIn(), HasSubstr(" OK "));
  ASSERT_EQ(world_.b1->lines.size(), 2U);
  EXPECT_EQ(world_.b1->lines[0],
            "P1 ID (\"x-originating-ip\" \"192.0.2.7\" \"x-originating-port\" \"4711\" "
            "\"x-connected-ip\" \"198.51.100.1\" \"x-connected-port\" \"993\" "
            "\"x-session-id\" \"0000000000001234\")");
}

TEST_F(ImapSessionTest, WritesAProxyHeaderBeforeAll) {
  world_.endpoint(0).client_address = conf::ClientAddress::kProxyV1;
  world_.b1->expects_proxy = true;
  BeginLoggedIn();
  EXPECT_EQ(world_.b1->before_tls, "PROXY TCP4 192.0.2.7 198.51.100.1 4711 993\r\n");
}

TEST_F(ImapSessionTest, WritesAProxyHeaderBeforeTls) {
  world_.endpoint(0).client_address = conf::ClientAddress::kProxyV2;
  world_.endpoint(0).tls = TlsMode::kImplicit;
  world_.b1->expects_proxy = true;
  world_.b1->is_implicit = true;
  BeginLoggedIn();
  EXPECT_THAT(world_.b1->before_tls, StartsWith("\r\n\r\n"));
  EXPECT_TRUE(world_.b1->stream()->in_tls());
}

TEST_F(ImapSessionTest, AfterAProxyHeaderABusyGreetingBlamesNobody) {
  world_.endpoint(0).client_address = conf::ClientAddress::kProxyV1;
  world_.b1->expects_proxy = true;
  world_.b1->fault = Fault::kBusy;
  BeginLoggedIn();
  EXPECT_THAT(world_.b2->logins, ElementsAre("alice"));
  EXPECT_FALSE(world_.state(0).InCooldown(world_.loop.Now()));
}

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

// --- clients that leave, or are slow ------------------------------------------------------------

TEST_F(ImapSessionTest, ACloseBeforeTheLoginEndsTheSession) {
  Begin();
  world_.CloseClient();
  world_.Settle();
  EXPECT_EQ(world_.session, nullptr);
  EXPECT_EQ(account().cause.result, SessionResult::kClientLost);
}

TEST_F(ImapSessionTest, ACloseWhileABackendHangsFreesAllAtOnce) {
  world_.b1->fault = Fault::kHang;
  Begin();
  world_.Line("a LOGIN alice secret");
  world_.Settle();
  world_.CloseClient();
  world_.Settle();
  EXPECT_EQ(world_.session, nullptr);
  EXPECT_EQ(world_.b1->num_open(), 0);
  EXPECT_EQ(account().cause.result, SessionResult::kClientLost);
  EXPECT_EQ(Failures("b1", Phase::kGreeting, FaultKind::kLost), 0);
}

TEST_F(ImapSessionTest, ACloseDuringTheDelayOfARefusalStillCounts) {
  Begin();
  (void)world_.LogIn("alice", "wrong");
  world_.CloseClient();
  world_.Settle();
  EXPECT_EQ(world_.session, nullptr);
  EXPECT_THAT(world_.auth_failed, ElementsAre("alice"));
}

TEST_F(ImapSessionTest, AHalfClosedClientGetsItsAnswers) {
  Begin();
  world_.Send("a LOGIN alice secret\r\nb LOGOUT\r\n");
  world_.ShutClientWrite();
  EXPECT_EQ(
      world_.Read(),
      "a OK [CAPABILITY IMAP4rev1 IDLE X-BACK] Logged in at b1\r\n* BYE bye\r\nb OK done\r\n");
  EXPECT_TRUE(world_.client_sees_end());
  EXPECT_EQ(account().cause.result, SessionResult::kClientQuit);
}

TEST_F(ImapSessionTest, AHalfCloseInTheRelayIsCarried) {
  BeginLoggedIn();
  world_.Send("b FETCH 1 X\r\n");
  world_.ShutClientWrite();
  world_.Settle();
  EXPECT_EQ(world_.b1->relayed, "b FETCH 1 X\r\n");
  EXPECT_TRUE(world_.b1->has_seen_eof);
}

TEST_F(ImapSessionTest, TheLoginDeadlineIsAbsolute) {
  Begin();
  const base::MonoTime start = world_.loop.Now();
  for (int i = 0; i < 70 && !world_.client_sees_end(); ++i) {
    world_.Send("a");
    world_.Wait(seconds(1));
  }
  EXPECT_LE(world_.loop.Now() - start, seconds(61));
  EXPECT_GE(world_.loop.Now() - start, seconds(59));
  EXPECT_EQ(world_.Read(), "* BYE Disconnected for inactivity\r\n");
  EXPECT_EQ(account().cause.result, SessionResult::kIdle);
}

TEST_F(ImapSessionTest, CommandsDoNotMoveTheLoginDeadline) {
  Begin();
  const base::MonoTime start = world_.loop.Now();
  while (!world_.client_sees_end() && world_.loop.Now() - start < seconds(90)) {
    world_.Line("a NOOP");
    world_.Wait(seconds(5));
  }
  EXPECT_LE(world_.loop.Now() - start, seconds(66));
}

TEST_F(ImapSessionTest, ALoginUnderWayIsEndedByTheDeadlineToo) {
  world_.config.listeners[0].timeouts.login = seconds(5);
  world_.b1->fault = world_.b2->fault = Fault::kHang;
  Begin();
  world_.Line("a LOGIN alice secret");
  world_.Wait(seconds(6));
  EXPECT_EQ(world_.Read(), "* BYE Disconnected for inactivity\r\n");
  EXPECT_EQ(world_.b1->num_open(), 0);
}

TEST_F(ImapSessionTest, OneCommandLineHasItsOwnDeadline) {
  world_.listener().timeouts.command = seconds(10);
  Begin();
  world_.Wait(seconds(6));
  EXPECT_THAT(world_.Ask("a NOOP"), StartsWith("a OK"));
  world_.Send("b NO");
  world_.Wait(seconds(9));
  EXPECT_FALSE(world_.client_sees_end());
  world_.Send("O");
  world_.Wait(seconds(2));
  EXPECT_TRUE(world_.client_sees_end());
}

TEST_F(ImapSessionTest, AClientThatDoesNotReadCostsBoundedMemory) {
  Begin();
  world_.client().PauseReads();
  std::string noops;
  for (int i = 0; i < 20000; ++i) noops += "a NOOP\r\n";
  for (int i = 0; i < 10; ++i) {
    world_.Send(noops);
    world_.Settle();
  }
  // Far from all of it was taken: what is not answered is not read.
  EXPECT_GT(world_.client().Unsent(), 800'000U);
  world_.client().Close();
}

TEST_F(ImapSessionTest, WhatIsSentBehindALoginIsNotReadWithoutEnd) {
  world_.b1->fault = world_.b2->fault = Fault::kHang;
  Begin();
  world_.Send("a LOGIN alice secret\r\n" + std::string(2'000'000, 'x'));
  world_.Settle();
  EXPECT_GT(world_.client().Unsent(), 1'000'000U);
}

// --- relay --------------------------------------------------------------------------------------

TEST_F(ImapSessionTest, ASlowClientPausesTheBackend) {
  BeginLoggedIn();
  world_.client().PauseReads();
  std::string literal = "* 1 FETCH (BODY[] {4000000}\r\n" + std::string(4'000'000, 'm') + ")\r\n";
  world_.b1->Say(literal);
  world_.Wait(seconds(5));
  // Bounded: the buffer, and what was under way.
  EXPECT_GT(world_.b1->stream()->Unsent(), 3'000'000U);
  world_.client().ResumeReads();
  std::string got;
  for (int i = 0; i < 100 && got.size() < literal.size(); ++i) got += world_.Read();
  EXPECT_EQ(got, literal);
}

TEST_F(ImapSessionTest, ASlowClientGetsAllItsBytesWhileAllBuffersAreTaken) {
  world_.is_short_of_buffers = true;
  world_.net.options.window_bytes = 4000;
  BeginLoggedIn();
  world_.client().PauseReads();
  // Less than limits.buffer, and yet most of it waits.
  const std::string literal =
      "* 1 FETCH (BODY[] {200000}\r\n" + std::string(200'000, 'm') + ")\r\n";
  world_.b1->Say(literal);
  world_.Wait(seconds(5));
  EXPECT_GT(world_.b1->stream()->Unsent(), 60'000U);
  world_.client().ResumeReads();
  std::string got;
  for (int i = 0; i < 100 && got.size() < literal.size(); ++i) got += world_.Read();
  EXPECT_EQ(got, literal);
}

TEST_F(ImapSessionTest, ASlowBackendPausesTheClient) {
  BeginLoggedIn();
  world_.b1->stream()->PauseReads();
  const std::string literal = "b APPEND x {4000000+}\r\n" + std::string(4'000'000, 'm') + "\r\n";
  world_.Send(literal);
  world_.Wait(seconds(5));
  EXPECT_GT(world_.client().Unsent(), 3'000'000U);
  world_.b1->stream()->ResumeReads();
  world_.Wait(seconds(5));
  EXPECT_EQ(world_.b1->relayed, literal);
}

TEST_F(ImapSessionTest, ABackendThatDiesGivesByeAtOnce) {
  BeginLoggedIn();
  world_.b1->stream()->Reset();
  EXPECT_THAT(world_.Read(), StartsWith("* BYE Mailbox server has gone away"));
  EXPECT_TRUE(world_.client_sees_end());
  EXPECT_EQ(account().cause.result, SessionResult::kBackendLost);
  EXPECT_EQ(account().cause.side, Side::kBack);
  EXPECT_EQ(world_.Metric("postern_backend_sessions_total{backend=\"b1\",protocol=\"imap\","
                          "result=\"backend_lost\"}"),
            1);
}

TEST_F(ImapSessionTest, NoByeInTheMiddleOfALiteral) {
  BeginLoggedIn();
  world_.b1->Say("* 1 FETCH (BODY[] {100}\r\nhalf of it");
  world_.Settle();
  world_.b1->stream()->Close();
  EXPECT_EQ(world_.Read(), "* 1 FETCH (BODY[] {100}\r\nhalf of it");
  EXPECT_TRUE(world_.client_sees_end());
}

TEST_F(ImapSessionTest, ABackendsOwnByeIsNotDoubled) {
  BeginLoggedIn();
  world_.b1->Say("* BYE maintenance\r\n");
  world_.b1->stream()->CloseGently();
  EXPECT_EQ(world_.Read(), "* BYE maintenance\r\n");
  EXPECT_TRUE(world_.client_sees_end());
}

TEST_F(ImapSessionTest, IdleForTooLongIsEndedAndActivityCounts) {
  BeginLoggedIn();
  world_.Wait(minutes(34));
  world_.b1->Say("* 4 EXISTS\r\n");
  EXPECT_EQ(world_.Read(), "* 4 EXISTS\r\n");
  world_.Wait(minutes(34));
  EXPECT_FALSE(world_.client_sees_end());
  world_.Wait(minutes(2));
  EXPECT_EQ(world_.Read(), "* BYE Disconnected for inactivity\r\n");
  EXPECT_EQ(account().cause.result, SessionResult::kIdle);
}

TEST_F(ImapSessionTest, UnauthenticateEndsTheSession) {
  BeginLoggedIn();
  world_.Line("b UNAUTHENTICATE");
  EXPECT_THAT(world_.Read(), StartsWith("* BYE "));
  EXPECT_EQ(world_.b1->relayed, "");
  EXPECT_EQ(account().cause.result, SessionResult::kProtocolError);
}

TEST_F(ImapSessionTest, ABrokenClientIsNoticedInTheRelay) {
  BeginLoggedIn();
  world_.ResetClient();
  world_.Settle();
  EXPECT_EQ(account().cause.result, SessionResult::kClientLost);
  world_.Wait(seconds(5));
  EXPECT_EQ(world_.b1->num_open(), 0);
}

TEST_F(ImapSessionTest, CommandsAreTimed) {
  BeginLoggedIn();
  world_.Line("b SELECT INBOX");
  world_.Wait(seconds(1));
  world_.b1->Say("b OK done\r\n");
  world_.Settle();
  EXPECT_EQ(world_.Metric("postern_command_duration_seconds_count{protocol=\"imap\","
                          "command=\"select\"}"),
            1);
}

// --- drain and kill -----------------------------------------------------------------------------

TEST_F(ImapSessionTest, DrainBeforeTheLogin) {
  Begin();
  world_.session->BeginDrain();
  EXPECT_THAT(world_.Read(), StartsWith("* BYE "));
  EXPECT_EQ(account().cause.result, SessionResult::kDrained);
}

TEST_F(ImapSessionTest, DrainDuringALoginWaitsForItsAnswer) {
  world_.b1->auth_delay = seconds(3);
  Begin();
  world_.Line("a LOGIN alice secret");
  world_.Settle();
  world_.session->BeginDrain();
  EXPECT_EQ(world_.Read(), "");
  world_.Wait(seconds(3));
  EXPECT_THAT(world_.Read(), HasSubstr("Logged in at b1\r\n* BYE "));
}

TEST_F(ImapSessionTest, DrainOfAnIdleSessionIsAtOnce) {
  BeginLoggedIn();
  world_.Line("b IDLE");
  world_.Settle();
  world_.b1->Say("+ idling\r\n");
  EXPECT_EQ(world_.Read(), "+ idling\r\n");
  world_.session->BeginDrain();
  EXPECT_THAT(world_.Read(), StartsWith("* BYE "));
  EXPECT_EQ(account().cause.result, SessionResult::kDrained);
}

TEST_F(ImapSessionTest, DrainWaitsForARunningCommand) {
  BeginLoggedIn();
  world_.Line("b FETCH 1 BODY[]");
  world_.Settle();
  world_.b1->Say("* 1 FETCH (BODY[] {10}\r\nabc");
  world_.Settle();
  world_.session->BeginDrain();
  world_.Wait(seconds(5));
  EXPECT_EQ(world_.Read(), "* 1 FETCH (BODY[] {10}\r\nabc");
  world_.b1->Say("defghij)\r\n");
  EXPECT_EQ(world_.Read(), "defghij)\r\n");
  world_.b1->Say("b OK done\r\n");
  EXPECT_THAT(world_.Read(), StartsWith("b OK done\r\n* BYE "));
}

TEST_F(ImapSessionTest, KillEndsWithAWordWhereOneCanBeSaid) {
  BeginLoggedIn();
  world_.Line("b SELECT INBOX");
  world_.Settle();
  world_.session->Kill(SessionResult::kShutdown);
  EXPECT_EQ(world_.Read(), "* BYE Server is shutting down\r\n");
  EXPECT_EQ(account().cause.result, SessionResult::kShutdown);
}

TEST_F(ImapSessionTest, KillInTheMiddleOfALoginLeavesNothingBehind) {
  world_.b1->fault = Fault::kHang;
  Begin();
  world_.Line("a LOGIN alice secret");
  world_.Settle();
  world_.session->Kill(SessionResult::kKicked);
  EXPECT_EQ(world_.Read(), "* BYE Session ended by the administrator\r\n");
  EXPECT_EQ(world_.b1->num_open(), 0);
}

TEST_F(ImapSessionTest, KillDuringAHandshake) {
  world_.is_in_tls = false;
  world_.listener().tls = TlsMode::kStartTls;
  Begin();
  EXPECT_THAT(world_.Ask("t STARTTLS"), StartsWith("t OK "));
  world_.session->Kill(SessionResult::kShutdown);
  world_.Settle();
  EXPECT_EQ(account().cause.result, SessionResult::kShutdown);
}

// --- POP3 ---------------------------------------------------------------------------------------

class Pop3SessionTest : public testing::Test {
 protected:
  void Begin() {
    world_.Begin();
    ASSERT_EQ(world_.Read(), "+OK mail.example ready\r\n");
  }
  void BeginLoggedIn() {
    Begin();
    ASSERT_EQ(world_.LogIn(), "+OK Logged in at b1\r\n");
  }
  MailWorld world_{Protocol::kPop3};
};

TEST_F(Pop3SessionTest, LogsInAndRelays) {
  BeginLoggedIn();
  world_.Line("STAT");
  world_.Settle();
  EXPECT_EQ(world_.b1->relayed, "STAT\r\n");
  world_.b1->Say("+OK 0 0\r\n");
  EXPECT_EQ(world_.Read(), "+OK 0 0\r\n");
  EXPECT_EQ(world_.Ask("QUIT"), "+OK bye\r\n");
  EXPECT_EQ(world_.accounts.at(0).cause.result, SessionResult::kClientQuit);
}

TEST_F(Pop3SessionTest, PipelinedUserAndPass) {
  Begin();
  world_.Send("USER alice\r\nPASS secret\r\nSTAT\r\n");
  EXPECT_EQ(world_.Read(), "+OK Send the password\r\n+OK Logged in at b1\r\n");
  EXPECT_EQ(world_.b1->relayed, "STAT\r\n");
}

TEST_F(Pop3SessionTest, XclientWhereItIsOffered) {
  world_.endpoint(0).client_address = conf::ClientAddress::kXclient;
  BeginLoggedIn();
  EXPECT_THAT(world_.b1->lines,
              ElementsAre("CAPA", "XCLIENT ADDR=192.0.2.7 PORT=4711", "USER alice", "PASS secret"));
}

TEST_F(Pop3SessionTest, AWrongPasswordIsFinalAndComesLate) {
  Begin();
  EXPECT_EQ(world_.LogIn("alice", "wrong"), "");
  world_.Wait(seconds(2));
  EXPECT_EQ(world_.Read(), "-ERR [AUTH] Authentication failed\r\n");
  EXPECT_EQ(world_.b2->num_connections(), 0);
}

TEST_F(Pop3SessionTest, ALockedMailboxKeepsItsCodeAndIsNoGuess) {
  world_.b1->refusal = "-ERR [IN-USE] locked";
  Begin();
  (void)world_.LogIn("alice", "wrong");
  world_.Wait(seconds(2));
  EXPECT_EQ(world_.Read(), "-ERR [IN-USE] Cannot log in now\r\n");
  EXPECT_THAT(world_.auth_failed, IsEmpty());
}

TEST_F(Pop3SessionTest, BusyAndTempFailLeadToTheNext) {
  for (const auto& [fault, at] : {std::pair{Fault::kBusy, 0}, std::pair{Fault::kTempFail, 3}}) {
    MailWorld world(Protocol::kPop3);
    world.b1->fault = fault;
    world.b1->fault_at = at;
    world.Begin();
    (void)world.Read();
    EXPECT_EQ(world.LogIn(), "+OK Logged in at b2\r\n");
  }
}

TEST_F(Pop3SessionTest, NobodyThereIsATemporaryError) {
  world_.b1->fault = world_.b2->fault = Fault::kClose;
  Begin();
  EXPECT_EQ(world_.LogIn(), "-ERR [SYS/TEMP] Temporarily unavailable, try again later\r\n");
}

TEST_F(Pop3SessionTest, ABackendThatDiesEndsTheSessionWithoutAWord) {
  BeginLoggedIn();
  world_.b1->stream()->Reset();
  EXPECT_EQ(world_.Read(), "");
  EXPECT_TRUE(world_.client_sees_end());
}

TEST_F(Pop3SessionTest, DrainBeforeADeletionIsAtOnce) {
  BeginLoggedIn();
  world_.session->BeginDrain();
  world_.Settle();
  EXPECT_TRUE(world_.client_sees_end());
  EXPECT_EQ(world_.accounts.at(0).cause.result, SessionResult::kDrained);
}

TEST_F(Pop3SessionTest, DrainNeverComesBetweenDeleAndQuit) {
  BeginLoggedIn();
  world_.Line("DELE 1");
  world_.Settle();
  world_.b1->Say("+OK\r\n");
  EXPECT_EQ(world_.Read(), "+OK\r\n");
  world_.session->BeginDrain();
  world_.Wait(seconds(30));
  EXPECT_FALSE(world_.client_sees_end());
  EXPECT_EQ(world_.Ask("QUIT"), "+OK bye\r\n");
  EXPECT_TRUE(world_.client_sees_end());
  EXPECT_EQ(world_.b1->relayed, "DELE 1\r\nQUIT\r\n");
}

TEST_F(Pop3SessionTest, QuitWithoutWaiting) {
  Begin();
  world_.Send("USER alice\r\nPASS secret\r\nDELE 1\r\nQUIT\r\n");
  world_.ShutClientWrite();
  EXPECT_THAT(world_.Read(), EndsWith("+OK Logged in at b1\r\n+OK bye\r\n"));
  EXPECT_EQ(world_.b1->relayed, "DELE 1\r\nQUIT\r\n");
}

}  // namespace
}  // namespace postern::test
