// auth_http_test: questions to servers that answer, refuse, lie, are slow, or are not there.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/auth_http.h"

#include "lb/directory/servers.h"
#include "test/directory/directory_world.h"

namespace postern::directory {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using namespace std::string_literals;  // NOLINT: literals only

constexpr std::string_view kFound =
    "HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: 198.51.100.1\r\nAuth-Port: 143\r\n\r\n";

class AuthHttpTest : public DirectoryTest {
 protected:
  AuthHttpTest() {
    conf_.name = "zimbra";
    conf_.type = conf::Directory::Type::kAuthHttp;
    conf_.timeout = 2s;
    conf_.urls = {"http://10.0.0.1:7072/lookup", "http://10.0.0.2:7072/lookup"};
    Says(first_, std::string(kFound));
    Says(second_, std::string(kFound));
    Build();
  }
  void Build() {
    directory_ = std::make_unique<AuthHttp>(loop_, net_, resolver_, conf_, tls_);
    loop_.RunReady();
  }
  static void Says(ScriptedServer& server, std::string answer) {
    server.script = [answer](test::SimStream& stream, std::string& received) {
      if (!received.ends_with("\r\n\r\n")) return;
      stream.Write(answer);
      stream.ShutdownWrite();
    };
  }

  ScriptedServer first_{net_, "10.0.0.1:7072"};
  ScriptedServer second_{net_, "10.0.0.2:7072"};
  std::vector<std::shared_ptr<const io::TlsSettings>> tls_;
};

TEST_F(AuthHttpTest, ARecipientIsAskedFor) {
  EXPECT_EQ(Answer("bob@example.com"), "198.51.100.1:143");
  EXPECT_LT(took_, 100ms);
  EXPECT_EQ(first_.all_received,
            "GET /lookup HTTP/1.0\r\nHost: 10.0.0.1:7072\r\nAuth-Method: none\r\nAuth-User: \r\n"
            "Auth-Pass: \r\nAuth-Protocol: smtp\r\nAuth-Login-Attempt: 1\r\n"
            "Auth-SMTP-To: RCPT TO: <bob@example.com>\r\n\r\n");
  loop_.RunFor(1s);
  EXPECT_EQ(first_.num_ends, 1);
  EXPECT_EQ(second_.num_connections, 0);
}

TEST_F(AuthHttpTest, ALoginIsJudged) {
  Says(first_, "HTTP/1.0 200 OK\r\nAuth-Status: Invalid login\r\nAuth-Wait: 3\r\n\r\n");
  const base::Secret password("secret");
  io::LoginFacts login;
  login.protocol = "imap";
  login.mechanism = "plain";
  login.user = "alice";
  login.password = &password;
  const auto asked = Ask({"alice@example.com", &login});
  loop_.RunFor(1s);
  EXPECT_EQ(asked->Text(), "refused: Invalid login");
  EXPECT_EQ(asked->answer->refusal_delay, 3s);
  EXPECT_EQ(asked->answer->why, "10.0.0.1:7072: Invalid login");
  EXPECT_THAT(first_.all_received, HasSubstr("Auth-User: alice\r\nAuth-Pass: secret\r\n"));
  EXPECT_EQ(asked->num_answers, 1);
  EXPECT_EQ(second_.num_connections, 0);
}

TEST_F(AuthHttpTest, WhateverTheCuts) {
  net_.options.cut = test::SimCut::kByByte;
  EXPECT_EQ(Answer(), "198.51.100.1:143");
}

TEST_F(AuthHttpTest, WhatCannotBeSentIsRefusedAtOnce) {
  const auto asked = Ask("bob\r\nX: y@example.com");
  EXPECT_EQ(asked->Text(), "failed: a control character in Auth-SMTP-To");
  loop_.RunFor(1s);
  EXPECT_EQ(first_.num_connections, 0);
}

TEST_F(AuthHttpTest, TheNextServerAnswersForOneThatIsDown) {
  first_.SetDoor(test::SimNet::Door::kRefuses);
  EXPECT_EQ(Answer(), "198.51.100.1:143");
  EXPECT_LT(took_, 100ms);
  EXPECT_EQ(second_.num_connections, 1);
}

TEST_F(AuthHttpTest, WantOfADescriptorIsNoServersFault) {
  first_.SetDoor(test::SimNet::Door::kShort);
  second_.SetDoor(test::SimNet::Door::kShort);
  const auto asked = Ask("bob@example.com");
  loop_.RunFor(1s);
  EXPECT_THAT(asked->Text(), StartsWith("failed: 10.0.0.1:7072: no descriptor"));
  EXPECT_TRUE(asked->answer->was_not_asked);
  first_.SetDoor(test::SimNet::Door::kOpen);
  second_.SetDoor(test::SimNet::Door::kOpen);
  EXPECT_EQ(Answer(), "198.51.100.1:143");
  EXPECT_EQ(first_.num_connections, 1);  // it is not passed by
}

TEST_F(AuthHttpTest, AServerThatFailedIsPassedByAndThenTriedByOne) {
  first_.SetDoor(test::SimNet::Door::kHangs);
  EXPECT_EQ(Answer(), "198.51.100.1:143");
  EXPECT_GE(took_, 2s);
  EXPECT_EQ(Answer(), "198.51.100.1:143");
  EXPECT_LT(took_, 100ms);
  loop_.RunFor(ServerOrder::kSkipFor);
  const auto trial = Ask("a@example.com");
  EXPECT_EQ(Answer(), "198.51.100.1:143");
  EXPECT_LT(took_, 100ms);
  EXPECT_EQ(trial->Text(), "pending");
  loop_.RunFor(3s);
  EXPECT_EQ(trial->Text(), "198.51.100.1:143");
}

TEST_F(AuthHttpTest, AServerThatIsBackIsTheFirstAgain) {
  first_.SetDoor(test::SimNet::Door::kRefuses);
  EXPECT_EQ(Answer(), "198.51.100.1:143");
  first_.SetDoor(test::SimNet::Door::kOpen);
  loop_.RunFor(ServerOrder::kSkipFor);
  EXPECT_EQ(Answer(), "198.51.100.1:143");
  EXPECT_EQ(Answer(), "198.51.100.1:143");
  EXPECT_EQ(first_.num_connections, 2);
  EXPECT_EQ(second_.num_connections, 1);
}

TEST_F(AuthHttpTest, WithNoneLeftTheDeadAreTriedAgain) {
  first_.SetDoor(test::SimNet::Door::kRefuses);
  second_.SetDoor(test::SimNet::Door::kRefuses);
  EXPECT_EQ(Answer(),
            "failed: 10.0.0.1:7072: connection refused; 10.0.0.2:7072: connection refused");
  first_.SetDoor(test::SimNet::Door::kOpen);
  EXPECT_EQ(Answer(), "198.51.100.1:143");
}

TEST_F(AuthHttpTest, EachServerHasItsTimeout) {
  first_.SetDoor(test::SimNet::Door::kHangs);
  second_.script = nullptr;
  EXPECT_EQ(Answer(),
            "failed: 10.0.0.1:7072: no connection in time; 10.0.0.2:7072: no whole answer in time");
  EXPECT_EQ(took_, 4s);
  loop_.RunFor(1s);
  EXPECT_EQ(second_.num_ends, 1);
}

TEST_F(AuthHttpTest, SlowDropsDoNotProlongIt) {
  conf_.urls = {"http://10.0.0.1:7072/lookup"};
  Build();
  std::function<void(test::SimStream&)> drop = [&](test::SimStream& stream) {
    if (stream.is_closed()) return;
    stream.Write("X");
    loop_.Schedule(100ms, [&] { drop(stream); });
  };
  first_.script = [&](test::SimStream& stream, std::string&) {
    if (first_.all_received.ends_with("\r\n\r\n")) drop(stream);
  };
  EXPECT_EQ(Answer(), "failed: 10.0.0.1:7072: no whole answer in time");
  EXPECT_EQ(took_, 2s);
}

TEST_F(AuthHttpTest, AnswersThatAreNoneGoOnToTheNextServer) {
  for (const char* answer :
       {"", "220 ESMTP\r\n", "HTTP/1.0 500 No\r\n\r\n", "HTTP/1.0 200 OK\r\nAuth-Sta",
        "HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.0 200 OK\r\nAuth-Status: WAIT\r\n\r\n",
        "HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: ?\r\nAuth-Port: 1\r\n\r\n"}) {
    Build();
    Says(first_, answer);
    EXPECT_EQ(Answer(), "198.51.100.1:143") << answer;
    EXPECT_LT(took_, 100ms) << answer;
  }
  EXPECT_EQ(second_.num_connections, 7);
}

TEST_F(AuthHttpTest, AnEndlessAnswerIsCut) {
  first_.script = [](test::SimStream& stream, std::string&) {
    stream.Write("HTTP/1.0 200 OK\r\nX: " + std::string(100'000, 'x'));
  };
  EXPECT_EQ(Answer(), "198.51.100.1:143");
  EXPECT_LT(took_, 1s);
}

TEST_F(AuthHttpTest, AResetIsNoVerdict) {
  first_.script = [](test::SimStream& stream, std::string&) { stream.Reset(); };
  second_.SetDoor(test::SimNet::Door::kRefuses);
  EXPECT_THAT(Answer(), StartsWith("failed: 10.0.0.1:7072: "));
}

TEST_F(AuthHttpTest, AnAnswerThatIsUnfitDoesNotMakeTheServerSuspect) {
  Says(first_, "HTTP/1.0 200 OK\r\n\r\n");
  EXPECT_EQ(Answer(), "198.51.100.1:143");
  EXPECT_EQ(Answer(), "198.51.100.1:143");
  EXPECT_EQ(first_.num_connections, 2);
}

// --- TLS ------------------------------------------------------------------------------------

TEST_F(AuthHttpTest, HttpsIsAskedInsideTls) {
  conf_.urls = {"https://10.0.0.1:7072/lookup"};
  tls_ = {std::make_shared<test::AnyTls>()};
  first_.has_tls = true;
  Build();
  EXPECT_EQ(Answer(), "198.51.100.1:143");
}

TEST_F(AuthHttpTest, ACertificateThatIsNotAcceptableHearsNothing) {
  conf_.urls = {"https://10.0.0.1:7072/lookup"};
  tls_ = {std::make_shared<test::AnyTls>()};
  first_.has_tls = true;
  first_.SetBadCertificate();
  Build();
  EXPECT_THAT(Answer(), StartsWith("failed: 10.0.0.1:7072: TLS: "));
  EXPECT_EQ(first_.all_received, "");
}

TEST_F(AuthHttpTest, HttpsIsNeverAskedInClear) {
  conf_.urls = {"https://10.0.0.1:7072/lookup"};
  tls_.clear();
  Build();
  EXPECT_EQ(Answer(), "failed: 10.0.0.1:7072: there are no TLS settings for it");
  EXPECT_EQ(first_.num_connections, 0);
  // A server that speaks before the handshake cannot answer either.
  tls_ = {std::make_shared<test::AnyTls>()};
  first_.on_accept = [](test::SimStream& stream) { stream.Write(kFound); };
  Build();
  EXPECT_THAT(Answer(), StartsWith("failed: "));
  EXPECT_THAT(first_.all_received, testing::Not(HasSubstr("Auth-Method")));
}

// --- names ----------------------------------------------------------------------------------

TEST_F(AuthHttpTest, NamesAreResolved) {
  conf_.urls = {"http://lookup.example:7072/"};
  resolver_.answer.addresses = {*base::IpAddress::Parse("10.0.0.1")};
  Build();
  EXPECT_EQ(Answer(), "198.51.100.1:143");
  EXPECT_THAT(first_.all_received, HasSubstr("Host: lookup.example:7072\r\n"));
}

TEST_F(AuthHttpTest, AQuestionWaitsForTheFirstAddresses) {
  conf_.urls = {"http://lookup.example:7072/"};
  resolver_.is_silent = true;
  Build();
  const auto asked = Ask("a@example.com");
  loop_.RunFor(1s);
  EXPECT_EQ(asked->Text(), "pending");
  io::ResolvedName name;
  name.addresses = {*base::IpAddress::Parse("10.0.0.1")};
  resolver_.held.at(0)(name);
  loop_.RunFor(100ms);
  EXPECT_EQ(asked->Text(), "198.51.100.1:143");
}

TEST_F(AuthHttpTest, ANameWithoutAddressIsAFailureInTime) {
  conf_.urls = {"http://lookup.example:7072/"};
  resolver_.is_silent = true;
  Build();
  EXPECT_EQ(Answer(), "failed: lookup.example:7072: its name could not be resolved in time");
  EXPECT_EQ(took_, 2s);
}

TEST_F(AuthHttpTest, EveryAddressOfANameIsTried) {
  conf_.urls = {"http://lookup.example:7072/"};
  resolver_.answer.addresses = {*base::IpAddress::Parse("10.0.0.9"),
                                *base::IpAddress::Parse("10.0.0.1")};
  resolver_.answer.ttl = 1h;
  Build();
  EXPECT_EQ(Answer(), "198.51.100.1:143");
  EXPECT_LT(took_, 100ms);
  const uint64_t num_dials = net_.num_dials();
  EXPECT_EQ(Answer(), "198.51.100.1:143");
  EXPECT_EQ(net_.num_dials(), num_dials + 1);
}

// --- lifetimes ------------------------------------------------------------------------------

TEST_F(AuthHttpTest, AnAnswerThatIsNotWantedIsNotGiven) {
  for (const auto after : {0us, 150us, 500us, 700us}) {
    const auto asked = Ask("a@example.com");
    loop_.RunFor(after);
    ASSERT_EQ(asked->Text(), "pending");
    asked->pending.reset();
    loop_.RunFor(5s);
    EXPECT_EQ(asked->num_answers, 0);
  }
  EXPECT_EQ(Answer(), "198.51.100.1:143");
}

TEST_F(AuthHttpTest, TheAskerMayDropTheQuestionWhenItIsAnswered) {
  const auto asked = Ask("a@example.com");
  asked->then = [&] { asked->pending.reset(); };
  loop_.RunFor(1s);
  EXPECT_EQ(asked->Text(), "198.51.100.1:143");
  EXPECT_EQ(asked->num_answers, 1);
}

TEST_F(AuthHttpTest, QuestionsOutliveTheirDirectory) {
  first_.SetDoor(test::SimNet::Door::kRefuses);
  const auto asked = Ask("a@example.com");
  asked->then = [&] { asked->pending.reset(); };
  directory_.reset();
  loop_.RunFor(1s);
  EXPECT_EQ(asked->Text(), "198.51.100.1:143");
  EXPECT_EQ(asked->num_answers, 1);
}

}  // namespace
}  // namespace postern::directory
