// smtp_failover_test: what makes a transaction move to another backend, how often, and what is said
// when it cannot.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "test/support/smtp_fixture.h"

namespace postern::proto {
namespace {

class SmtpFailoverTest : public test::SmtpFixture {
 protected:
  // Everything that B1 does is done by the time this returns the codes of one delivery.
  std::string DeliverInTime() {
    Envelope();
    bench_.After(std::chrono::seconds(95));
    if (bench_.relay->wants_front()) Text();
    bench_.After(std::chrono::seconds(95));
    return bench_.Codes();
  }
};
POSTERN_IN_ALL_CUTS(SmtpFailoverTest);

struct Fault {
  const char* when;
  const char* what;
};

// The client sees nothing of any of these.
TEST_P(SmtpFailoverTest, MovesOnConnectionLevelFaults) {
  for (const Fault& fault : std::initializer_list<Fault>{
           {"GREETING", "hang"},
           {"GREETING", "die"},
           {"GREETING", "421 4.3.2 not now"},
           {"GREETING", "450 4.3.2 not now"},
           {"GREETING", "450 4.7.1 I do not know you"},  // it knows Postern's address alone
           {"GREETING", "554 5.7.1 no"},
           {"GREETING", "nonsense"},
           {"GREETING", "220-unfinished"},
           {"EHLO", "hang"},
           {"EHLO", "die"},
           {"EHLO", "421 4.3.2 busy"},
           {"EHLO", "451 4.3.0 busy"},
           {"EHLO", "502 5.5.1 what"},
           {"EHLO", "250-a\n251 b"},
           {"MAIL", "hang"},
           {"MAIL", "die"},
           {"MAIL", "421 4.3.2 busy"},
           {"MAIL", "421 4.7.0 too many from you"},  // said of Postern
           {"MAIL", "452 4.3.1 disk full"},
           {"MAIL", "399 what"},
           {"MAIL", "xx"},
           {"RCPT", "hang"},
           {"RCPT", "die"},
           {"RCPT", "421 4.3.2 busy"},
           {"RCPT", "354 what"},
           {"DATA", "hang"},
           {"DATA", "die"},
           {"DATA", "421 4.3.2 busy"},
           {"DATA", "250 what"},
           {"TEXT", "die"},
           {"TEXT", "421 4.3.2 busy"}}) {
    test::SmtpBench bench;
    bench.cut = GetParam();
    bench.backend("B1").answers[fault.when] = {fault.what};
    bench.Start();
    bench.Line("EHLO client.example");
    bench.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n");
    bench.After(std::chrono::seconds(95));
    bench.Send("hello\r\n");
    bench.Send(".\r\n");
    EXPECT_EQ(bench.Codes(), "220 250 250 250 354 250") << fault.when << ' ' << fault.what;
    EXPECT_EQ(bench.backend("B1").messages.size(), 0U) << fault.when << ' ' << fault.what;
    ASSERT_EQ(bench.backend("B2").messages.size(), 1U) << fault.when << ' ' << fault.what;
    EXPECT_EQ(bench.backend("B2").messages[0].text, "hello\r\n");
    EXPECT_EQ(bench.faults.size(), 1U) << fault.when << ' ' << fault.what;
    EXPECT_EQ(bench.budget_taken, 0U);
  }
}

TEST_P(SmtpFailoverTest, MovesOnWhenAConnectFails) {
  for (const auto door : {test::FakeBackend::Door::kRefuses, test::FakeBackend::Door::kHangs}) {
    test::SmtpBench bench;
    bench.cut = GetParam();
    bench.backend("B1").door = door;
    bench.Start();
    bench.Line("EHLO client.example");
    bench.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n");
    bench.After(std::chrono::seconds(3));
    EXPECT_EQ(bench.Codes(), "220 250 250 250");
    EXPECT_EQ(bench.leg_backend(), "B2");
  }
}

TEST_P(SmtpFailoverTest, BlamesTheEndpointOnlyForWhatNoClientChose) {
  for (const auto& [when, what, is_passive] :
       std::initializer_list<std::tuple<const char*, const char*, bool>>{
           {"GREETING", "421 4.3.2 busy", true},
           {"GREETING", "421 4.7.0 too many", false},
           {"GREETING", "hang", true},
           {"GREETING", "xx", true},
           {"EHLO", "421 4.3.2 busy", false},
           {"EHLO", "die", false},
           {"MAIL", "421 4.3.2 busy", false},
           {"TEXT", "die", false}}) {
    test::SmtpBench bench;
    bench.cut = GetParam();
    bench.backend("B1").answers[when] = {what};
    bench.Start();
    bench.Line("EHLO client.example");
    bench.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n");
    bench.After(std::chrono::seconds(10));
    bench.Send("x\r\n.\r\n");
    ASSERT_EQ(bench.faults.size(), 1U) << when << ' ' << what;
    EXPECT_EQ(bench.faults[0].is_passive, is_passive) << when << ' ' << what;
  }
}

TEST_P(SmtpFailoverTest, MovesNoMoreThanItsRetries) {
  bench_.homes[""] = "B1 B2 B3 B4 B5";
  bench_.settings.retries = 2;
  for (const char* name : {"B1", "B2", "B3", "B4", "B5"})
    bench_.backend(name).answers["TEXT"] = {"die"};
  Begin();
  EXPECT_EQ(Deliver(), "250 250 354 451");
  EXPECT_EQ(bench_.backend("B3").num_connections, 1);
  EXPECT_EQ(bench_.backend("B4").num_connections, 0);
  EXPECT_EQ(CountEvents("replay"), 2);
}

TEST_P(SmtpFailoverTest, TriesEveryEndpointThatTakesNothing) {
  bench_.homes[""] = "B1 B2 B3 B4 B5";
  bench_.settings.retries = 0;
  for (const char* name : {"B1", "B2", "B3", "B4"})
    bench_.backend(name).door = test::FakeBackend::Door::kRefuses;
  Begin();
  EXPECT_EQ(Deliver(), "250 250 354 250");
  EXPECT_EQ(bench_.backend("B5").messages.size(), 1U);
  EXPECT_EQ(CountEvents("retry"), 4);
}

TEST_P(SmtpFailoverTest, StopsLookingWhenItHasTakenTooLong) {
  std::string names;
  for (int i = 0; i < 100; ++i) {
    const std::string name = "H" + std::to_string(i);
    names += name + " ";
    bench_.backend(name).answers["GREETING"] = {"hang"};
  }
  bench_.homes[""] = names;
  Begin();
  Ask("MAIL FROM:<a@x.example>");
  bench_.Line("RCPT TO:<b@y.example>");
  bench_.After(std::chrono::seconds(101));
  EXPECT_EQ(bench_.Codes(), "451");
}

TEST_P(SmtpFailoverTest, SpeaksToNoBackendBeforeItsGreeting) {
  b1().answers["GREETING"] = {"hang"};
  Begin();
  bench_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n");
  bench_.LoseClient();
  EXPECT_TRUE(b1().lines.empty());
}

TEST_P(SmtpFailoverTest, LooksAnewAfterALongEnvelope) {
  Begin();
  Ask("MAIL FROM:<a@x.example>");
  Ask("RCPT TO:<b@y.example>");
  bench_.After(std::chrono::seconds(200));
  bench_.LoseBack("B1");
  EXPECT_EQ(bench_.leg_backend(), "B2");
  EXPECT_EQ(Ask("DATA"), "354");
}

TEST_P(SmtpFailoverTest, TakesAGoodbyeWhileTheClientThinks) {
  Begin();
  Ask("MAIL FROM:<a@x.example>");
  Ask("RCPT TO:<b@y.example>");
  bench_.BackSays("B1", "421 4.4.2 you are slow\r\n");
  ASSERT_EQ(bench_.faults.size(), 1U);
  EXPECT_EQ(bench_.faults[0].kind, base::FaultKind::kTempfail);
  EXPECT_EQ(Ask("DATA"), "354");
}

TEST_P(SmtpFailoverTest, CannotMoveWhatItDoesNotRemember) {
  bench_.settings.replay_memory = 1000;
  Begin();
  Envelope();
  bench_.Send(std::string(1001, 'x') + "\r\n");
  bench_.LoseBack("B1");
  EXPECT_FALSE(bench_.is_over());
  Text("rest\r\n");
  EXPECT_EQ(bench_.Codes(), "250 250 354 451");
  EXPECT_EQ(b2().num_connections, 0);
  EXPECT_EQ(bench_.outcomes[0].reply.substr(0, 9), "451 4.4.2");
  EXPECT_EQ(Deliver(), "250 250 354 250");
}

TEST_P(SmtpFailoverTest, DeliversWhatItDoesNotRemember) {
  bench_.settings.replay_memory = 1000;
  Begin();
  Envelope();
  const std::string text = std::string(100000, 'x') + "\r\n";
  Text(text);
  EXPECT_EQ(bench_.Codes(), "250 250 354 250");
  EXPECT_EQ(b1().messages[0].text, text);
}

TEST_P(SmtpFailoverTest, CannotMoveWhereTheProcessHasNoMemoryLeft) {
  bench_.budget_bytes = 0;
  Begin();
  Envelope();
  bench_.Send("one\r\n");
  bench_.LoseBack("B1");
  Text("two\r\n");
  EXPECT_EQ(bench_.Codes(), "250 250 354 451");
}

TEST_P(SmtpFailoverTest, ReplaysALongTextWhole) {
  std::string text;
  for (int i = 0; i < 3000; ++i) text += "line " + std::to_string(i) + "\r\n";
  Begin();
  Envelope();
  bench_.Send(text);
  bench_.LoseBack("B1");
  Text(text);
  EXPECT_EQ(bench_.Codes(), "250 250 354 250");
  EXPECT_EQ(b2().messages[0].text, text + text);
  EXPECT_EQ(bench_.budget_taken, 0U);
}

// A client may go on sending while the message moves.
TEST_P(SmtpFailoverTest, TakesNoTextWhileItMoves) {
  b2().answers["GREETING"] = {"hang"};
  Begin();
  Envelope();
  bench_.Send("one\r\n");
  bench_.LoseBack("B1");
  Text("two\r\n");
  EXPECT_FALSE(bench_.relay->wants_front());
  bench_.BackSays("B2", "220 B2\r\n");
  EXPECT_EQ(bench_.Codes(), "250 250 354 250");
  EXPECT_EQ(b2().messages[0].text, "one\r\ntwo\r\n");
}

TEST_P(SmtpFailoverTest, SaysSoWhenARecipientIsLostOnTheWay) {
  b2().answers["RCPT c@y.example"] = {"550 5.1.1 not here"};
  Begin();
  bench_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<c@y.example>\r\n");
  EXPECT_EQ(bench_.Codes(), "250 250 250");
  bench_.LoseBack("B1");
  EXPECT_EQ(Say("DATA").substr(0, 9), "451 4.4.2");
  EXPECT_EQ(b2().messages.size(), 0U);
}

TEST_P(SmtpFailoverTest, SaysSoAtTheEndWhenARecipientIsLostWithinTheText) {
  b2().answers["RCPT c@y.example"] = {"550 5.1.1 not here"};
  Begin();
  bench_.Send(
      "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<c@y.example>\r\nDATA\r\n");
  bench_.Send("one\r\n");
  bench_.LoseBack("B1");
  Text("two\r\n");
  EXPECT_EQ(bench_.Codes(), "250 250 250 354 451");
  EXPECT_EQ(b2().messages.size(), 0U);
  EXPECT_EQ(CountLines(b2(), "DATA"), 0);
}

TEST_P(SmtpFailoverTest, SaysNoServerToWhoWasWaiting) {
  b1().answers["RCPT"] = {"die"};
  b2().door = test::FakeBackend::Door::kRefuses;
  Begin();
  bench_.Send(
      "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<c@y.example>\r\nDATA\r\n");
  EXPECT_EQ(bench_.Codes(), "250 451 451 554");
  EXPECT_FALSE(bench_.is_over());
}

TEST_P(SmtpFailoverTest, RelaysTheVerdictOfTheNextBackendOnItsData) {
  b1().answers["TEXT"] = {"die"};
  b2().answers["DATA"] = {"554 5.7.1 no more from you"};
  Begin();
  EXPECT_EQ(Deliver(), "250 250 354 554");
}

TEST_P(SmtpFailoverTest, FindsAHungSocketByItsBacklog) {
  Begin();
  Envelope();
  b1().takes_bytes = false;
  bench_.Send("hello\r\n");
  bench_.After(std::chrono::seconds(181));
  EXPECT_EQ(bench_.leg_backend(), "B2");
  Text("more\r\n");
  EXPECT_EQ(bench_.Codes(), "250 250 354 250");
  EXPECT_EQ(b2().messages[0].text, "hello\r\nmore\r\n");
}

TEST_P(SmtpFailoverTest, FailsOverNoVerdict) {
  for (const Fault& fault : std::initializer_list<Fault>{{"MAIL", "450 4.1.8 no such domain"},
                                                         {"MAIL", "550 5.7.1 no"},
                                                         {"RCPT", "450 4.2.0 greylisted"},
                                                         {"RCPT", "452 4.3.1 full"},
                                                         {"RCPT", "550 5.1.1 nobody"},
                                                         {"DATA", "451 4.3.0 no"},
                                                         {".", "451 4.3.0 no"},
                                                         {".", "421 4.3.0 no"},
                                                         {".", "554 5.6.0 no"}}) {
    test::SmtpBench bench;
    bench.cut = GetParam();
    bench.backend("B1").answers[fault.when] = {fault.what};
    bench.Start();
    bench.Line("EHLO client.example");
    bench.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n");
    if (bench.relay->wants_front()) bench.Send("x\r\n.\r\n");
    EXPECT_EQ(bench.backend("B2").num_connections, 0) << fault.when << ' ' << fault.what;
    EXPECT_TRUE(bench.faults.empty()) << fault.when << ' ' << fault.what;
  }
}

// --- who is told about the client ---------------------------------------------------------------

class SmtpVerdictTest : public test::SmtpFixture {
 protected:
  void SetUp() override {
    b1().client_address = conf::ClientAddress::kXclient;
    b1().keywords.push_back("XCLIENT NAME ADDR PROTO HELO");
  }
};
POSTERN_IN_ALL_CUTS(SmtpVerdictTest);

TEST_P(SmtpVerdictTest, TellsTheClientToWhoTakesXclient) {
  Begin();
  EXPECT_EQ(Deliver(), "250 250 354 250");
  const std::vector<std::string> lines = {
      "EHLO mx.example",
      "XCLIENT NAME=[UNAVAILABLE] PROTO=ESMTP HELO=client.example ADDR=192.0.2.7",
      "EHLO client.example",
      "MAIL FROM:<a@x.example>",
      "RCPT TO:<b@y.example>",
      "DATA"};
  EXPECT_EQ(b1().lines, lines);
}

TEST_P(SmtpVerdictTest, RelaysAVerdictOnTheClient) {
  for (const char* when : {"XCLIENT", "EHLO client", "MAIL"}) {
    for (const char* what : {"554 5.7.1 blocked", "450 4.7.1 blocked", "421 4.7.0 blocked"}) {
      test::SmtpBench bench;
      bench.cut = GetParam();
      bench.backend("B1").client_address = conf::ClientAddress::kXclient;
      bench.backend("B1").keywords.push_back("XCLIENT ADDR");
      bench.backend("B1").answers[when] = {what};
      bench.backend("B1").answers["RCPT"] = {"503 5.5.1 no MAIL"};
      bench.Start();
      bench.Line("EHLO client.example");
      bench.Send("MAIL FROM:<a@x.example>\r\n");
      bench.Codes();
      bench.Send("RCPT TO:<b@y.example>\r\n");
      std::string reply = std::string(what) + "\r\n";
      if (reply.substr(0, 3) == "421") reply.replace(0, 3, "451");
      EXPECT_EQ(bench.Replies(), reply) << when << ' ' << what;
      EXPECT_EQ(bench.backend("B2").num_connections, 0) << when << ' ' << what;
      EXPECT_FALSE(bench.is_over());
    }
  }
}

TEST_P(SmtpVerdictTest, MovesOnFaultsBehindXclient) {
  for (const Fault& fault : std::initializer_list<Fault>{{"XCLIENT", "421 4.3.2 busy"},
                                                         {"XCLIENT", "451 4.3.0 busy"},
                                                         {"XCLIENT", "hang"},
                                                         {"EHLO mx", "450 4.7.1 policy"},
                                                         {"EHLO client", "421 4.3.2 busy"}}) {
    test::SmtpBench bench;
    bench.cut = GetParam();
    bench.backend("B1").client_address = conf::ClientAddress::kXclient;
    bench.backend("B1").keywords.push_back("XCLIENT ADDR");
    bench.backend("B1").answers[fault.when] = {fault.what};
    bench.Start();
    bench.Line("EHLO client.example");
    bench.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n");
    bench.After(std::chrono::seconds(10));
    EXPECT_EQ(bench.Codes(), "220 250 250 250") << fault.when << ' ' << fault.what;
    EXPECT_EQ(bench.leg_backend(), "B2") << fault.when << ' ' << fault.what;
  }
}

TEST_P(SmtpVerdictTest, SendsNothingToWhoDoesNotAnnounceXclient) {
  b1().keywords = {"PIPELINING"};
  Begin();
  EXPECT_EQ(Deliver(), "250 250 354 250");
  EXPECT_EQ(b1().messages.size(), 0U);
  EXPECT_EQ(CountLines(b1(), "MAIL"), 0);
}

TEST_P(SmtpVerdictTest, WaitsForTheClientsNameASecondAtMost) {
  bench_.peer_name.reset();
  Begin();
  bench_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n");
  bench_.After(std::chrono::milliseconds(999));
  EXPECT_EQ(CountLines(b1(), "XCLIENT"), 0);
  bench_.After(std::chrono::milliseconds(1));
  EXPECT_EQ(CountLines(b1(), "XCLIENT NAME=[TEMPUNAVAIL]"), 1);
  EXPECT_EQ(bench_.Codes(), "250 250");
}

TEST_P(SmtpVerdictTest, TellsTheNameThatComesInTime) {
  bench_.peer_name.reset();
  Begin();
  bench_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n");
  bench_.After(std::chrono::milliseconds(500));
  bench_.GivePeerName({base::PeerName::Kind::kName, "host.client.example"});
  EXPECT_EQ(CountLines(b1(), "XCLIENT NAME=host.client.example"), 1);
  EXPECT_EQ(bench_.Codes(), "250 250");
}

TEST_P(SmtpVerdictTest, PutsTheProxyHeaderFirst) {
  b1().client_address = conf::ClientAddress::kProxyV1;
  b1().answers["PROXY"] = {"220 B1"};
  b1().answers["GREETING"] = {"hang"};
  Begin();
  EXPECT_EQ(Deliver(), "250 250 354 250");
  EXPECT_EQ(b1().lines[0], "PROXY TCP4 192.0.2.7 192.0.2.1 40000 25");
  EXPECT_EQ(b1().lines[1], "EHLO client.example");
}

TEST_P(SmtpVerdictTest, RelaysTheVerdictOnAProxyHeader) {
  b1().client_address = conf::ClientAddress::kProxyV1;
  b1().answers["GREETING"] = {"hang"};
  b1().answers["PROXY"] = {"554 5.7.1 on our list"};
  Begin();
  Ask("MAIL FROM:<a@x.example>");
  EXPECT_EQ(Say("RCPT TO:<b@y.example>"), "554 5.7.1 on our list\r\n");
  EXPECT_EQ(Say("RCPT TO:<c@y.example>"), "554 5.7.1 on our list\r\n");
  EXPECT_EQ(b1().num_connections, 1);
}

// --- STARTTLS towards a backend -----------------------------------------------------------------

TEST_P(SmtpFailoverTest, NeverGoesOnInClearWhereTlsIsWanted) {
  b1().tls = conf::TlsMode::kStartTls;  // it does not announce it
  Begin();
  EXPECT_EQ(Deliver(), "250 250 354 250");
  EXPECT_EQ(CountLines(b1(), "MAIL"), 0);
  EXPECT_EQ(CountLines(b1(), "STARTTLS"), 0);
}

TEST(SmtpBackTlsTest, RefusesBytesBehindTheGoAhead) {
  test::SmtpBench bench;
  bench.backend("B1").tls = conf::TlsMode::kStartTls;
  bench.backend("B1").keywords.push_back("STARTTLS");
  bench.backend("B1").answers["STARTTLS"] = {"220 go\n250 injected"};
  bench.Start();
  bench.Line("EHLO c.example");
  bench.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n");
  EXPECT_EQ(bench.leg_backend(), "B2");
  ASSERT_EQ(bench.faults.size(), 1U);
  EXPECT_EQ(bench.faults[0].kind, base::FaultKind::kProtocol);
}

TEST_P(SmtpFailoverTest, ForgetsWhatABackendSaidInClear) {
  b1().tls = conf::TlsMode::kStartTls;
  b1().keywords = {"STARTTLS", "PIPELINING", "8BITMIME"};
  b1().answers["EHLO client"] = {"250-B1\n250 SIZE"};
  b1().answers["MAIL"] = {"hang"};
  Begin();
  bench_.Send("MAIL FROM:<a@x.example> BODY=7BIT\r\nRCPT TO:<b@y.example>\r\n");
  EXPECT_EQ(b1().lines.back(), "MAIL FROM:<a@x.example>");
}

}  // namespace
}  // namespace postern::proto
