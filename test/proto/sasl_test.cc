// sasl_test: exchanges in both roles, and what never gets through.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/sasl.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "lb/base/base64.h"

namespace postern::proto {
namespace {

using base::Base64Encode;
using std::string_literals::operator""s;
using Server = SaslServer::Outcome;
using Client = SaslClient::Outcome;

struct Message {
  const char* name;
  Mechanism mechanism;
  std::string message;  // decoded
  Server outcome;
  std::string user, secret;
};

const std::vector<Message> kMessages = {
    {"Plain", Mechanism::kPlain, "\0alice\0secret"s, Server::kDone, "alice", "secret"},
    {"PlainOwnAuthzid", Mechanism::kPlain, "alice\0alice\0s"s, Server::kDone, "alice", "s"},
    {"PlainOtherAuthzid", Mechanism::kPlain, "bob\0alice\0s"s, Server::kRefused, "", ""},
    {"PlainEmptyPassword", Mechanism::kPlain, "\0alice\0"s, Server::kDone, "alice", ""},
    {"PlainEmptyUser", Mechanism::kPlain, "\0\0secret"s, Server::kRefused, "", ""},
    {"PlainOneNul", Mechanism::kPlain, "alice\0secret"s, Server::kMalformed, "", ""},
    {"PlainNoNul", Mechanism::kPlain, "alice", Server::kMalformed, "", ""},
    {"PlainNulInPassword", Mechanism::kPlain, "\0a\0b\0c"s, Server::kRefused, "", ""},
    {"PlainCrInUser", Mechanism::kPlain, "\0al\rice\0s"s, Server::kRefused, "", ""},
    {"PlainLfInUser", Mechanism::kPlain, "\0al\nice\0s"s, Server::kRefused, "", ""},
    {"PlainCrInPassword", Mechanism::kPlain, "\0alice\0s\rx"s, Server::kRefused, "", ""},
    {"PlainLfInPassword", Mechanism::kPlain, "\0alice\0s\nx"s, Server::kRefused, "", ""},
    {"PlainTabInPassword", Mechanism::kPlain, "\0alice\0s\tx"s, Server::kDone, "alice", "s\tx"},
    {"PlainControlInUser", Mechanism::kPlain, "\0al\x1b[2Jice\0s"s, Server::kRefused, "", ""},
    {"PlainDeleteInUser", Mechanism::kPlain, "\0al\x7f\0s"s, Server::kRefused, "", ""},
    {"PlainUtf8", Mechanism::kPlain, "\0\xc3\xa4\0\xc3\xb6"s, Server::kDone, "\xc3\xa4",
     "\xc3\xb6"},
    {"PlainUserAtTheLimit", Mechanism::kPlain, "\0"s + std::string(1024, 'u') + "\0s"s,
     Server::kDone, std::string(1024, 'u'), "s"},
    {"PlainUserAboveTheLimit", Mechanism::kPlain, "\0"s + std::string(1025, 'u') + "\0s"s,
     Server::kRefused, "", ""},
    {"Xoauth2", Mechanism::kXoauth2,
     "user=alice\x01"
     "auth=Bearer t\x01\x01",
     Server::kDone, "alice",
     "user=alice\x01"
     "auth=Bearer t\x01\x01"},
    {"Xoauth2NoUser", Mechanism::kXoauth2, "auth=Bearer t\x01\x01", Server::kMalformed, "", ""},
    {"Xoauth2NoEnd", Mechanism::kXoauth2, "user=alice", Server::kMalformed, "", ""},
    {"Xoauth2EmptyUser", Mechanism::kXoauth2,
     "user=\x01"
     "auth=x\x01\x01",
     Server::kRefused, "", ""},
    {"Xoauth2LfInUser", Mechanism::kXoauth2,
     "user=al\nice\x01"
     "auth=x\x01\x01",
     Server::kRefused, "", ""},
    {"Bearer", Mechanism::kOauthBearer,
     "n,a=alice,\x01"
     "auth=Bearer t\x01\x01",
     Server::kDone, "alice",
     "n,a=alice,\x01"
     "auth=Bearer t\x01\x01"},
    {"BearerEscapes", Mechanism::kOauthBearer, "y,a=a=2Cb=3Dc,\x01\x01", Server::kDone, "a,b=c",
     "y,a=a=2Cb=3Dc,\x01\x01"},
    {"BearerBadEscape", Mechanism::kOauthBearer, "n,a=a=2cb,\x01\x01", Server::kMalformed, "", ""},
    {"BearerCutEscape", Mechanism::kOauthBearer, "n,a=a=2,\x01\x01", Server::kMalformed, "", ""},
    {"BearerNoUser", Mechanism::kOauthBearer,
     "n,,\x01"
     "auth=Bearer t\x01\x01",
     Server::kMalformed, "", ""},
    {"BearerBinding", Mechanism::kOauthBearer, "p=tls-unique,a=alice,\x01\x01", Server::kMalformed,
     "", ""},
    {"BearerNoSeparator", Mechanism::kOauthBearer, "n,a=alice,auth", Server::kMalformed, "", ""},
    {"BearerCrInUser", Mechanism::kOauthBearer, "n,a=al\rice,\x01\x01", Server::kRefused, "", ""},
};

class SaslMessageTest : public testing::TestWithParam<Message> {};

void ExpectTaken(SaslServer& server, Server outcome, const Message& row) {
  ASSERT_EQ(outcome, row.outcome);
  if (outcome != Server::kDone) return;
  const LoginRequest request = server.TakeRequest();
  EXPECT_EQ(request.mechanism, row.mechanism);
  EXPECT_EQ(request.user, row.user);
  const base::Secret& secret = IsToken(row.mechanism) ? request.message : request.password;
  EXPECT_EQ(secret.Reveal(), row.secret);
}

TEST_P(SaslMessageTest, AsInitialResponse) {
  SaslServer server;
  const Server outcome = server.Start(GetParam().mechanism, Base64Encode(GetParam().message));
  ExpectTaken(server, outcome, GetParam());
}

TEST_P(SaslMessageTest, AsAnswer) {
  SaslServer server;
  ASSERT_EQ(server.Start(GetParam().mechanism, std::nullopt), Server::kChallenge);
  EXPECT_EQ(server.challenge(), "");
  const Server outcome = server.Next(Base64Encode(GetParam().message));
  ExpectTaken(server, outcome, GetParam());
}

INSTANTIATE_TEST_SUITE_P(Table, SaslMessageTest, testing::ValuesIn(kMessages),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(SaslServerTest, AsksForNameAndPassword) {
  SaslServer server;
  ASSERT_EQ(server.Start(Mechanism::kLogin, std::nullopt), Server::kChallenge);
  EXPECT_EQ(*base::Base64Decode(server.challenge()), "Username:");
  ASSERT_EQ(server.Next(Base64Encode("alice")), Server::kChallenge);
  EXPECT_EQ(*base::Base64Decode(server.challenge()), "Password:");
  ASSERT_EQ(server.Next(Base64Encode("secret")), Server::kDone);
  const LoginRequest request = server.TakeRequest();
  EXPECT_EQ(request.user, "alice");
  EXPECT_EQ(request.password.Reveal(), "secret");
}

TEST(SaslServerTest, RefusesABadNameOnlyAfterThePassword) {
  SaslServer server;
  ASSERT_EQ(server.Start(Mechanism::kLogin, Base64Encode("al\r\nice")), Server::kChallenge);
  EXPECT_EQ(server.Next(Base64Encode("secret")), Server::kRefused);
}

TEST(SaslServerTest, AnotherExchangeForgetsTheFirst) {
  SaslServer server;
  ASSERT_EQ(server.Start(Mechanism::kLogin, Base64Encode("mallory")), Server::kChallenge);
  ASSERT_EQ(server.Start(Mechanism::kLogin, std::nullopt), Server::kChallenge);
  ASSERT_EQ(server.Next(Base64Encode("alice")), Server::kChallenge);
  ASSERT_EQ(server.Next(Base64Encode("secret")), Server::kDone);
  EXPECT_EQ(server.TakeRequest().user, "alice");
}

TEST(SaslServerTest, StarCancels) {
  SaslServer server;
  ASSERT_EQ(server.Start(Mechanism::kPlain, std::nullopt), Server::kChallenge);
  EXPECT_EQ(server.Next("*"), Server::kCancelled);
}

TEST(SaslServerTest, TakesStrictBase64Alone) {
  for (const char* line :
       {"AGFsaWNlAHNlY3JldA", "AGFs aWNl", "AGFsaWNlAHNlY3JldB==", "====", "!"}) {
    SaslServer server;
    ASSERT_EQ(server.Start(Mechanism::kPlain, std::nullopt), Server::kChallenge);
    EXPECT_EQ(server.Next(line), Server::kMalformed) << line;
  }
}

LoginRequest PasswordRequest() {
  LoginRequest request;
  request.user = "alice";
  request.password = base::Secret("secret");
  return request;
}

LoginRequest TokenRequest(Mechanism mechanism) {
  LoginRequest request;
  request.mechanism = mechanism;
  request.user = "alice";
  request.message = base::Secret("user=alice\x01\x01");
  return request;
}

TEST(ChooseMechanismTest, PasswordsGoByWhatIsOffered) {
  MechanismSet offered;
  EXPECT_EQ(ChooseMechanism(PasswordRequest(), offered), std::nullopt);
  offered.Add(Mechanism::kXoauth2);
  EXPECT_EQ(ChooseMechanism(PasswordRequest(), offered), std::nullopt);
  offered.Add(Mechanism::kLogin);
  EXPECT_EQ(ChooseMechanism(PasswordRequest(), offered), Mechanism::kLogin);
  offered.Add(Mechanism::kPlain);
  EXPECT_EQ(ChooseMechanism(PasswordRequest(), offered), Mechanism::kPlain);
}

TEST(ChooseMechanismTest, TokensGoByTheirOwnMechanismAlone) {
  MechanismSet offered;
  offered.Add(Mechanism::kPlain);
  offered.Add(Mechanism::kOauthBearer);
  EXPECT_EQ(ChooseMechanism(TokenRequest(Mechanism::kXoauth2), offered), std::nullopt);
  offered.Add(Mechanism::kXoauth2);
  EXPECT_EQ(ChooseMechanism(TokenRequest(Mechanism::kXoauth2), offered), Mechanism::kXoauth2);
}

TEST(SaslClientTest, PlainAtOnceOrWhenAsked) {
  const LoginRequest request = PasswordRequest();
  SaslClient at_once(Mechanism::kPlain, request, "bob");
  EXPECT_FALSE(at_once.has_sent_all());
  EXPECT_EQ(*base::Base64Decode(at_once.TakeInitial().Reveal()), "\0bob\0secret"s);
  EXPECT_TRUE(at_once.has_sent_all());
  EXPECT_EQ(at_once.Next("").outcome, Client::kUnexpected);

  SaslClient asked(Mechanism::kPlain, request, "bob");
  const SaslClient::Step step = asked.Next("whatever it says");
  ASSERT_EQ(step.outcome, Client::kRespond);
  EXPECT_EQ(*base::Base64Decode(step.response.Reveal()), "\0bob\0secret"s);
}

TEST(SaslClientTest, LoginInTwoAnswers) {
  const LoginRequest request = PasswordRequest();
  SaslClient client(Mechanism::kLogin, request, "bob");
  EXPECT_FALSE(client.has_initial());
  EXPECT_EQ(*base::Base64Decode(client.Next("VXNlcm5hbWU6").response.Reveal()), "bob");
  EXPECT_FALSE(client.has_sent_all());
  EXPECT_EQ(*base::Base64Decode(client.Next("UGFzc3dvcmQ6").response.Reveal()), "secret");
  EXPECT_TRUE(client.has_sent_all());
  EXPECT_EQ(client.Next("").outcome, Client::kUnexpected);
}

TEST(SaslClientTest, TokenPassesFailureChallengesOn) {
  const LoginRequest request = TokenRequest(Mechanism::kXoauth2);
  SaslClient client(Mechanism::kXoauth2, request, "alice");
  EXPECT_EQ(*base::Base64Decode(client.TakeInitial().Reveal()), "user=alice\x01\x01");
  EXPECT_EQ(client.Next("e30=").outcome, Client::kPassOn);
  EXPECT_EQ(client.Next("not base64").outcome, Client::kUnexpected);
}

TEST(SaslClientTest, EndlessChallengesEnd) {
  const LoginRequest request = TokenRequest(Mechanism::kXoauth2);
  SaslClient client(Mechanism::kXoauth2, request, "alice");
  (void)client.TakeInitial();
  int num_passed = 0;
  while (num_passed < 100 && client.Next("e30=").outcome == Client::kPassOn) ++num_passed;
  EXPECT_EQ(num_passed, 4);
}

TEST(IsSaslResponseTest, Base64OrStar) {
  EXPECT_TRUE(IsSaslResponse(""));
  EXPECT_TRUE(IsSaslResponse("*"));
  EXPECT_TRUE(IsSaslResponse("AQ=="));
  EXPECT_FALSE(IsSaslResponse("a LOGOUT"));
  EXPECT_FALSE(IsSaslResponse("**"));
}

TEST(MechanismTest, NamesAreFoundInAnyCase) {
  for (const Mechanism mechanism : kSaslMechanisms) {
    EXPECT_EQ(FindMechanism(Name(mechanism)), mechanism);
    EXPECT_EQ(FindMechanism(base::ToLower(Name(mechanism))), mechanism);
  }
  EXPECT_EQ(FindMechanism("USER"), std::nullopt);
  EXPECT_EQ(FindMechanism(""), std::nullopt);
}

}  // namespace
}  // namespace postern::proto
