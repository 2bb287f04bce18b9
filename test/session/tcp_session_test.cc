// tcp_session_test: whole sessions of tcp listeners in memory, on virtual time: relay, TLS passed
// on by name, endpoints that fail, ends of every kind, deadlines, back-pressure, drain.
// SPDX-License-Identifier: Apache-2.0
#include "lb/session/tcp_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <utility>

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
using std::string_literals::operator""s;
using testing::HasSubstr;
using testing::StartsWith;

std::string Vector(int size_bytes, const std::string& body) {
  std::string bytes;
  for (int shift = 8 * (size_bytes - 1); shift >= 0; shift -= 8)
    bytes += static_cast<char>(body.size() >> shift & 0xff);
  return bytes + body;
}

// The first record of a TLS client; empty: it names nobody.
std::string Hello(const std::string& name) {
  std::string extensions;
  if (!name.empty()) extensions = "\0\0"s + Vector(2, Vector(2, "\0"s + Vector(2, name)));
  const std::string body = "\3\3" + std::string(32, 'r') + Vector(1, "") + Vector(2, "\x13\x01") +
                           Vector(1, "\0"s) + Vector(2, extensions);
  return "\x16\x03\x01" + Vector(2, "\1" + Vector(3, body));
}

class TcpSessionTest : public testing::Test {
 protected:
  TcpSessionTest() { world_.is_in_tls = false; }
  const metrics::SessionAccount& account() {
    EXPECT_EQ(world_.accounts.size(), 1U);
    static const metrics::SessionAccount kNone;
    return world_.accounts.empty() ? kNone : world_.accounts[0];
  }
  void ExpectEnd(SessionResult result, Side side, Phase phase) {
    EXPECT_TRUE(world_.client_sees_end());
    EXPECT_EQ(account().cause.result, result) << account().cause.why;
    EXPECT_EQ(account().cause.side, side) << account().cause.why;
    EXPECT_EQ(account().cause.phase, phase) << account().cause.why;
  }
  double Failures(const std::string& backend, Phase phase, FaultKind kind) {
    return world_.Metric("postern_backend_failures_total{backend=\"" + backend +
                         "\",protocol=\"tcp\",phase=\"" + std::string(Name(phase)) + "\",kind=\"" +
                         std::string(Name(kind)) + "\"}");
  }
  void Door(int backend, SimNet::Door door) {
    world_.net.SetDoor(*base::SocketAddress::Parse("10.0.0." + std::to_string(backend) + ":143"),
                       door);
  }

  MailWorld world_{Protocol::kTcp};
};

// --- relay ------------------------------------------------------------------------------------

TEST_F(TcpSessionTest, RelaysBothWays) {
  world_.Begin();
  EXPECT_EQ(world_.b1->num_connections(), 1);  // a server may be the one who speaks first
  world_.b1->Say("hello from b1");
  EXPECT_EQ(world_.Read(), "hello from b1");
  world_.Send("hello, b1");
  world_.Settle();
  EXPECT_EQ(world_.b1->relayed, "hello, b1");
  EXPECT_EQ(world_.b2->num_connections(), 0);
  world_.CloseClient();
  world_.Settle();
  EXPECT_EQ(world_.session, nullptr);
  EXPECT_EQ(account().cause.result, SessionResult::kClientQuit);
  EXPECT_EQ(account().backend, "b1");
  EXPECT_EQ(account().bytes_in, 9U);
  EXPECT_EQ(account().bytes_out, 13U);
  EXPECT_GE(account().phases_ms[static_cast<size_t>(Phase::kConnect)], 0);
  EXPECT_EQ(world_.Metric("postern_route_decisions_total{route=\"r\",rule=\"all\",pool=\"p\"}"), 1);
  EXPECT_EQ(world_.Metric("postern_plaintext_sessions_total{side=\"front\",protocol=\"tcp\"}"), 1);
}

TEST_F(TcpSessionTest, ByteByByteIsTheSame) {
  world_.net.options.cut = SimCut::kByByte;
  world_.early = "hello, b1";
  world_.Begin();
  world_.b1->Say("hello from b1");
  EXPECT_EQ(world_.Read(), "hello from b1");
  EXPECT_EQ(world_.b1->relayed, "hello, b1");
}

TEST_F(TcpSessionTest, OpensTlsAndCanRouteByItsName) {
  world_.is_in_tls = true;
  world_.listener().tls = TlsMode::kImplicit;
  conf::Rule named;
  named.name = "named";
  named.snis = {"imap.example"};
  named.action = conf::Rule::ToBackend{"b2"};
  auto& rules = world_.config.routes[0].rules;
  rules.insert(rules.begin(), named);
  world_.Begin();
  world_.Send("hello");
  world_.Settle();
  EXPECT_EQ(world_.b2->relayed, "hello");
  EXPECT_FALSE(world_.b2->stream()->in_tls());
}

TEST_F(TcpSessionTest, SpeaksTlsWithTheBackend) {
  world_.endpoint(0).tls = TlsMode::kImplicit;
  world_.b1->is_implicit = true;
  world_.Begin();
  world_.Send("hello");
  world_.Settle();
  EXPECT_EQ(world_.b1->relayed, "hello");
  EXPECT_TRUE(world_.b1->stream()->in_tls());
  world_.CloseClient();
  world_.Settle();
  EXPECT_GE(account().phases_ms[static_cast<size_t>(Phase::kTls)], 0);
}

TEST_F(TcpSessionTest, AHeaderTellsOfTheClientBeforeAll) {
  world_.endpoint(0).client_address = conf::ClientAddress::kProxyV1;
  world_.b1->expects_proxy = true;
  world_.early = "hello";
  world_.Begin();
  EXPECT_EQ(world_.b1->before_tls, "PROXY TCP4 192.0.2.7 198.51.100.1 4711 993\r\n");
  EXPECT_EQ(world_.b1->relayed, "hello");
}

TEST_F(TcpSessionTest, AHeaderStandsBeforeTls) {
  world_.endpoint(0).client_address = conf::ClientAddress::kProxyV2;
  world_.endpoint(0).tls = TlsMode::kImplicit;
  world_.b1->expects_proxy = world_.b1->is_implicit = true;
  world_.early = "hello";
  world_.Begin();
  EXPECT_THAT(world_.b1->before_tls, StartsWith("\r\n\r\n"));
  EXPECT_EQ(world_.b1->relayed, "hello");
  EXPECT_TRUE(world_.b1->stream()->in_tls());
}

// The same client has the same member, whatever the order of the configuration.
TEST_F(TcpSessionTest, AHashIsOfTheClientsAddress) {
  std::set<std::string> chosen;
  for (int client = 1; client <= 16; ++client) {
    std::string first;
    for (const int port : {4711, 4712}) {
      MailWorld world(Protocol::kTcp);
      world.is_in_tls = false;
      world.config.pools[0].balance = conf::Balance::kHash;
      world.client_address = "192.0.2." + std::to_string(client) + ":" + std::to_string(port);
      world.Begin();
      const std::string its = world.b1->num_connections() == 1 ? "b1" : "b2";
      if (first.empty()) first = its;
      EXPECT_EQ(its, first) << world.client_address;
      chosen.insert(its);
    }
  }
  EXPECT_EQ(chosen.size(), 2U);
}

// --- TLS passed on unopened ---------------------------------------------------------------------

class PassthroughTest : public TcpSessionTest {
 protected:
  PassthroughTest() {
    world_.listener().tls = TlsMode::kPassthrough;
    auto& rules = world_.config.routes[0].rules;
    rules.clear();
    for (const std::string backend : {"b1", "b2"}) {
      conf::Rule& rule = rules.emplace_back();
      rule.name = backend;
      rule.snis = {backend + ".example.com"};
      rule.action = conf::Rule::ToBackend{backend};
    }
  }
  void AddLast(decltype(conf::Rule::action) action) {
    conf::Rule& rule = world_.config.routes[0].rules.emplace_back();
    rule.name = "last";
    rule.action = std::move(action);
  }
};

TEST_F(PassthroughTest, TheNameChoosesTheBackend) {
  world_.Begin();
  EXPECT_EQ(world_.b1->num_connections() + world_.b2->num_connections(), 0);
  world_.Send(Hello("B2.example.com") + "and more");
  world_.Settle();
  EXPECT_EQ(world_.b2->relayed, Hello("B2.example.com") + "and more");
  EXPECT_EQ(world_.b1->num_connections(), 0);
  world_.b2->Say("server hello");
  EXPECT_EQ(world_.Read(), "server hello");
  world_.CloseClient();
  world_.Settle();
  EXPECT_EQ(world_.Metric("postern_plaintext_sessions_total{side=\"front\",protocol=\"tcp\"}"), 0);
  EXPECT_EQ(world_.Metric("postern_plaintext_sessions_total{side=\"back\",protocol=\"tcp\"}"), 0);
}

TEST_F(PassthroughTest, ByteByByteIsTheSame) {
  world_.net.options.cut = SimCut::kByByte;
  world_.Begin();
  world_.Send(Hello("b1.example.com") + "and more");
  world_.Settle();
  EXPECT_EQ(world_.b1->relayed, Hello("b1.example.com") + "and more");
}

// As behind a PROXY header.
TEST_F(PassthroughTest, TheHelloMayBeThereFromTheStart) {
  world_.early = Hello("b1.example.com");
  world_.Begin();
  EXPECT_EQ(world_.b1->relayed, Hello("b1.example.com"));
}

TEST_F(PassthroughTest, WithoutANameTheRuleWithoutOneHolds) {
  AddLast(conf::Rule::ToBackend{"b2"});
  world_.Begin();
  world_.Send(Hello(""));
  world_.Settle();
  EXPECT_EQ(world_.b2->relayed, Hello(""));
}

TEST_F(PassthroughTest, ARuleMayReject) {
  AddLast(conf::Rule::Reject{""});
  world_.Begin();
  world_.Send(Hello("other.example.com"));
  world_.Settle();
  ExpectEnd(SessionResult::kProtocolError, Side::kNone, Phase::kRoute);
  EXPECT_EQ(world_.b1->num_connections() + world_.b2->num_connections(), 0);
  EXPECT_EQ(world_.Metric("postern_route_decisions_total{route=\"r\",rule=\"last\",pool=\"\"}"), 1);
}

TEST_F(PassthroughTest, WhereNoRuleHoldsTheConnectionIsClosed) {
  world_.Begin();
  world_.Send(Hello("other.example.com"));
  world_.Settle();
  ExpectEnd(SessionResult::kProtocolError, Side::kNone, Phase::kRoute);
}

TEST_F(PassthroughTest, WhatIsNotTlsIsClosed) {
  AddLast(conf::Rule::ToBackend{"b2"});
  world_.Begin();
  world_.Send("GET / HTTP/1.1\r\n\r\n");
  world_.Settle();
  ExpectEnd(SessionResult::kProtocolError, Side::kFront, Phase::kTls);
  EXPECT_EQ(account().cause.why, "not TLS");
  EXPECT_EQ(world_.b1->num_connections() + world_.b2->num_connections(), 0);
}

TEST_F(PassthroughTest, AHelloThatDoesNotComeIsWaitedForInVain) {
  world_.Begin();
  world_.Send(Hello("b1.example.com").substr(0, 20));
  world_.Wait(seconds(9));
  EXPECT_FALSE(world_.client_sees_end());
  world_.Wait(seconds(2));
  ExpectEnd(SessionResult::kIdle, Side::kFront, Phase::kTls);
}

TEST_F(PassthroughTest, AClientThatLeavesBeforeItsHello) {
  world_.Begin();
  world_.Send(Hello("b1.example.com").substr(0, 20));
  world_.CloseClient();
  world_.Settle();
  EXPECT_EQ(world_.session, nullptr);
  EXPECT_EQ(account().cause.result, SessionResult::kClientLost);
  EXPECT_EQ(world_.b1->num_connections(), 0);
}

// --- endpoints that fail ------------------------------------------------------------------------

TEST_F(TcpSessionTest, WhoRefusesIsLeftForTheNext) {
  Door(1, SimNet::Door::kRefuses);
  world_.early = "hello";
  world_.Begin();
  EXPECT_EQ(world_.b2->relayed, "hello");
  EXPECT_EQ(Failures("b1", Phase::kConnect, FaultKind::kRefused), 1);
  EXPECT_EQ(world_.Metric("postern_retries_total{protocol=\"tcp\",reason=\"refused\"}"), 1);
  EXPECT_TRUE(world_.state(0).InCooldown(world_.loop.Now()));
}

TEST_F(TcpSessionTest, WhoDoesNotAnswerIsLeftForTheNext) {
  Door(1, SimNet::Door::kHangs);
  world_.early = "hello";
  world_.Begin();
  world_.Wait(milliseconds(2800));
  EXPECT_EQ(world_.b2->num_connections(), 0);
  world_.Wait(milliseconds(300));
  EXPECT_EQ(world_.b2->relayed, "hello");
  EXPECT_EQ(Failures("b1", Phase::kConnect, FaultKind::kTimeout), 1);
}

TEST_F(TcpSessionTest, ABadCertificateIsLeftForTheNextUntold) {
  world_.endpoint(0).tls = TlsMode::kImplicit;
  world_.b1->is_implicit = true;
  world_.net.SetBadCertificate(*base::SocketAddress::Parse("10.0.0.1:143"), true);
  world_.early = "secret";
  world_.Begin();
  EXPECT_EQ(world_.b1->relayed, "");
  EXPECT_EQ(world_.b2->relayed, "secret");
  EXPECT_EQ(Failures("b1", Phase::kTls, FaultKind::kTlsVerify), 1);
  EXPECT_TRUE(world_.state(0).InCooldown(world_.loop.Now()));
}

TEST_F(TcpSessionTest, AHandshakeThatHangsIsLeftForTheNext) {
  world_.endpoint(0).tls = TlsMode::kImplicit;  // and b1 says nothing
  world_.early = "hello";
  world_.Begin();
  world_.Wait(seconds(11));
  EXPECT_EQ(world_.b2->relayed, "hello");
  EXPECT_EQ(Failures("b1", Phase::kTls, FaultKind::kTimeout), 1);
}

TEST_F(TcpSessionTest, AfterAHeaderNobodyIsBlamedAtOnce) {
  world_.endpoint(0).tls = TlsMode::kImplicit;
  world_.endpoint(0).client_address = conf::ClientAddress::kProxyV2;
  world_.b1->expects_proxy = world_.b1->is_implicit = true;
  world_.net.SetBadCertificate(*base::SocketAddress::Parse("10.0.0.1:143"), true);
  world_.early = "hello";
  world_.Begin();
  EXPECT_EQ(world_.b2->relayed, "hello");
  EXPECT_FALSE(world_.state(0).InCooldown(world_.loop.Now()));
}

TEST_F(TcpSessionTest, AnEndpointThatGoesDownIsLeftAtOnce) {
  Door(1, SimNet::Door::kHangs);
  world_.early = "hello";
  world_.Begin();
  world_.session->LeaveEndpoint(world_.state(1));  // it is not there
  world_.Settle();
  EXPECT_EQ(world_.b2->num_connections(), 0);
  world_.session->LeaveEndpoint(world_.state(0));
  world_.Settle();
  EXPECT_EQ(world_.b2->relayed, "hello");
}

TEST_F(TcpSessionTest, WithNobodyLeftTheConnectionIsClosed) {
  Door(1, SimNet::Door::kRefuses);
  Door(2, SimNet::Door::kRefuses);
  world_.Begin();
  ExpectEnd(SessionResult::kBackendLost, Side::kBack, Phase::kConnect);
  EXPECT_THAT(account().cause.why, HasSubstr("b2 connect refused"));
}

TEST_F(TcpSessionTest, AShortageOfOurOwnBlamesNobody) {
  Door(1, SimNet::Door::kShort);
  world_.Begin();
  ExpectEnd(SessionResult::kLimit, Side::kBack, Phase::kConnect);
  EXPECT_FALSE(world_.state(0).InCooldown(world_.loop.Now()));
  EXPECT_EQ(world_.b2->num_connections(), 0);
}

TEST_F(TcpSessionTest, TheSearchHasAnEnd) {
  world_.listener().timeouts.login = seconds(5);
  Door(1, SimNet::Door::kHangs);
  Door(2, SimNet::Door::kHangs);
  world_.Begin();
  world_.Wait(milliseconds(5100));
  ExpectEnd(SessionResult::kIdle, Side::kBack, Phase::kConnect);
}

TEST_F(TcpSessionTest, AClientThatLeavesMeanwhileLeavesNothingBehind) {
  Door(1, SimNet::Door::kHangs);
  world_.Begin();
  world_.ResetClient();
  world_.Settle();
  EXPECT_EQ(world_.session, nullptr);
  EXPECT_EQ(account().cause.result, SessionResult::kClientLost);
  EXPECT_EQ(world_.b2->num_connections(), 0);
}

// --- ends -------------------------------------------------------------------------------------

TEST_F(TcpSessionTest, TheClientsHalfCloseIsPassedOn) {
  world_.b1->stays_open = true;
  world_.Begin();
  world_.Send("question");
  world_.ShutClientWrite();
  world_.Settle();
  EXPECT_TRUE(world_.b1->has_seen_eof);
  EXPECT_FALSE(world_.client_sees_end());
  world_.b1->Say("answer");
  EXPECT_EQ(world_.Read(), "answer");
  world_.b1->stream()->CloseGently();
  world_.Settle();
  ExpectEnd(SessionResult::kClientQuit, Side::kBack, Phase::kRelay);
}

TEST_F(TcpSessionTest, TheBackendsHalfCloseIsPassedOn) {
  world_.Begin();
  world_.b1->Say("goodbye");
  world_.b1->stream()->ShutdownWrite();
  EXPECT_EQ(world_.Read(), "goodbye");
  EXPECT_EQ(world_.client_end(), io::StreamEnd::kEof);
  EXPECT_NE(world_.session, nullptr);
  world_.Send("still here");
  world_.Settle();
  EXPECT_EQ(world_.b1->relayed, "still here");
  world_.CloseClient();
  world_.Settle();
  EXPECT_EQ(world_.session, nullptr);
  EXPECT_EQ(account().cause.result, SessionResult::kClientQuit);
}

TEST_F(TcpSessionTest, AHalfCloseBeforeTheBackendIsUpIsPassedOn) {
  Door(1, SimNet::Door::kHangs);
  world_.Begin();
  world_.Send("question");
  world_.ShutClientWrite();
  world_.Wait(seconds(4));
  EXPECT_EQ(world_.b2->relayed, "question");
  EXPECT_TRUE(world_.b2->has_seen_eof);
}

TEST_F(TcpSessionTest, AHalfClosedSessionIsNotKeptForLong) {
  world_.b1->stays_open = true;
  world_.Begin();
  world_.ShutClientWrite();
  world_.Wait(seconds(59));
  EXPECT_NE(world_.session, nullptr);
  world_.Wait(seconds(2));
  ExpectEnd(SessionResult::kIdle, Side::kFront, Phase::kRelay);
  world_.b1->stream()->Close();
}

TEST_F(TcpSessionTest, ABrokenClientEndsTheBackend) {
  world_.Begin();
  world_.ResetClient();
  world_.Settle();
  EXPECT_EQ(world_.session, nullptr);
  EXPECT_EQ(account().cause.result, SessionResult::kClientLost);
  EXPECT_EQ(world_.b1->num_open(), 0);
}

TEST_F(TcpSessionTest, ABrokenBackendEndsTheClient) {
  world_.Begin();
  world_.b1->Say("last words");
  world_.Settle();
  world_.b1->stream()->Reset();
  EXPECT_EQ(world_.Read(), "last words");
  ExpectEnd(SessionResult::kBackendLost, Side::kBack, Phase::kRelay);
  EXPECT_EQ(world_.Metric("postern_backend_sessions_total{backend=\"b1\",protocol=\"tcp\","
                          "result=\"backend_lost\"}"),
            1);
}

// As TLS clients do whose server closes first: their own goodbye reaches nobody.
TEST_F(TcpSessionTest, AGoodbyeToWhoHasGoneIsNoFault) {
  world_.Begin();
  world_.b1->Say("goodbye");
  world_.b1->stream()->Close();
  EXPECT_EQ(world_.Read(), "goodbye");
  world_.Send("good");
  world_.Settle();
  world_.Send("bye");  // the first was answered by a reset
  world_.Settle();
  EXPECT_EQ(world_.session, nullptr);
  EXPECT_EQ(account().cause.result, SessionResult::kClientQuit);
}

TEST_F(TcpSessionTest, IdleForTooLongIsEndedAndActivityCounts) {
  world_.Begin();
  world_.Wait(minutes(34));
  world_.b1->Say("x");
  EXPECT_EQ(world_.Read(), "x");
  world_.Wait(minutes(34));
  EXPECT_FALSE(world_.client_sees_end());
  world_.Wait(minutes(2));
  ExpectEnd(SessionResult::kIdle, Side::kFront, Phase::kRelay);
}

TEST_F(TcpSessionTest, ADrainLetsItRunAndTheDeadlineCutsIt) {
  world_.Begin();
  world_.session->BeginDrain();
  world_.Wait(minutes(5));
  world_.b1->Say("still here");
  EXPECT_EQ(world_.Read(), "still here");
  world_.session->Kill(SessionResult::kShutdown);
  world_.Settle();
  ExpectEnd(SessionResult::kShutdown, Side::kNone, Phase::kRelay);
}

TEST_F(TcpSessionTest, KillBeforeABackendIsUpLeavesNothingBehind) {
  Door(1, SimNet::Door::kHangs);
  world_.Begin();
  world_.session->Kill(SessionResult::kShutdown);
  world_.Settle();
  ExpectEnd(SessionResult::kShutdown, Side::kNone, Phase::kConnect);
  EXPECT_EQ(world_.b2->num_connections(), 0);
}

// --- slow peers ---------------------------------------------------------------------------------

TEST_F(TcpSessionTest, ASlowClientPausesTheBackend) {
  world_.Begin();
  world_.client().PauseReads();
  const std::string much(4'000'000, 'm');
  world_.b1->Say(much);
  world_.Wait(seconds(5));
  // Bounded: the buffer, and what was under way.
  EXPECT_GT(world_.b1->stream()->Unsent(), 3'000'000U);
  world_.client().ResumeReads();
  std::string got;
  for (int i = 0; i < 100 && got.size() < much.size(); ++i) got += world_.Read();
  EXPECT_EQ(got, much);
}

TEST_F(TcpSessionTest, ASlowBackendPausesTheClient) {
  world_.Begin();
  world_.b1->stream()->PauseReads();
  const std::string much(4'000'000, 'm');
  world_.Send(much);
  world_.Wait(seconds(5));
  EXPECT_GT(world_.client().Unsent(), 3'000'000U);
  world_.b1->stream()->ResumeReads();
  world_.Wait(seconds(5));
  EXPECT_EQ(world_.b1->relayed, much);
}

TEST_F(TcpSessionTest, AllArrivesWhileAllBuffersAreTaken) {
  world_.is_short_of_buffers = true;
  world_.net.options.window_bytes = 4000;
  world_.Begin();
  world_.client().PauseReads();
  const std::string much(200'000, 'm');
  world_.b1->Say(much);
  world_.Wait(seconds(5));
  EXPECT_GT(world_.b1->stream()->Unsent(), 60'000U);
  world_.client().ResumeReads();
  std::string got;
  for (int i = 0; i < 100 && got.size() < much.size(); ++i) got += world_.Read();
  EXPECT_EQ(got, much);
}

TEST_F(TcpSessionTest, WhatComesBeforeABackendIsUpIsNotReadWithoutEnd) {
  Door(1, SimNet::Door::kHangs);
  const std::string much(2'000'000, 'm');
  world_.Begin();
  world_.Send(much);
  world_.Wait(seconds(2));
  EXPECT_GT(world_.client().Unsent(), 1'700'000U);
  world_.Wait(seconds(5));
  EXPECT_EQ(world_.b2->relayed, much);
}

}  // namespace
}  // namespace postern::test
