// smtp_homes_session_test: recipients of one transaction and their homes, by the rules of a
// configuration: mixed homes, unknown recipients, and what MAIL may ask of homes not known yet.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "lb/proto/capability.h"
#include "test/support/smtp_world.h"

namespace postern::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

// Pool p (b1, b2) for everybody, q (b3) for away.example.
class SmtpHomesTest : public testing::Test {
 protected:
  void RelayTo(std::vector<std::string> backends) {
    conf::Pool& pool = world_.config.pools.emplace_back();
    pool.name = "relay";
    pool.backends = std::move(backends);
    pool.balance = conf::Balance::kFirst;
    for (conf::Rule& rule : rules()) rule.mixed_relay_pool = "relay";
  }
  std::vector<conf::Rule>& rules() { return world_.config.routes[0].rules; }
  std::string DeliverMixed() {
    world_.Send(
        "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<c@away.example>\r\nDATA\r\n");
    std::string codes = world_.Codes();
    if (!codes.ends_with("354")) return codes;
    world_.Send("hello\r\n.\r\n");
    return codes + " " + world_.Codes();
  }
  double Recipients(const std::string& result) {
    return world_.Metric("postern_smtp_recipients_total{listener=\"l\",result=\"" + result + "\"}");
  }

  SmtpWorld world_;
};

TEST_F(SmtpHomesTest, DefersWhoLivesElsewhere) {
  world_.Hello();
  EXPECT_EQ(DeliverMixed(), "250 250 452 354 250");
  EXPECT_THAT(world_.server(1).messages[0].to, ElementsAre("b@y.example"));
  EXPECT_EQ(Recipients("deferred_other_home"), 1);
}

TEST_F(SmtpHomesTest, RelaysAllToThePoolOfTheRule) {
  world_.config.pools[0].backends = {"b1"};
  RelayTo({"b2"});
  world_.Hello();
  EXPECT_EQ(DeliverMixed(), "250 250 250 354 250");
  ASSERT_EQ(world_.server(2).messages.size(), 1U);
  EXPECT_THAT(world_.server(2).messages[0].to, ElementsAre("b@y.example", "c@away.example"));
  EXPECT_EQ(world_.server(1).messages.size() + world_.server(3).messages.size(), 0U);
  EXPECT_EQ(Recipients("accepted"), 2);
  EXPECT_EQ(Recipients("deferred_other_home"), 0);
  ASSERT_EQ(world_.transactions.size(), 1U);
  EXPECT_EQ(world_.transactions[0].backend, "b2");
  EXPECT_EQ(world_.Metric("postern_backend_sessions_total{backend=\"b1\",protocol=\"smtp\",result="
                          "\"client_quit\"}"),
            1);
  // Each recipient's decision is that of its rule.
  EXPECT_EQ(world_.Metric("postern_route_decisions_total{route=\"r\",rule=\"away\",pool=\"q\"}"),
            1);
}

TEST_F(SmtpHomesTest, TheNextTransactionGoesHomeAgain) {
  world_.config.pools[0].backends = {"b1"};
  RelayTo({"b2"});
  world_.Hello();
  EXPECT_EQ(DeliverMixed(), "250 250 250 354 250");
  EXPECT_EQ(world_.Deliver("c@away.example"), "250 250 354 250");
  EXPECT_EQ(world_.server(3).messages.size(), 1U);
}

TEST_F(SmtpHomesTest, PrefersAMemberOfBothPools) {
  world_.config.pools[1].backends = {"b3", "b2"};
  RelayTo({"b3"});
  world_.Hello();
  EXPECT_EQ(DeliverMixed(), "250 250 250 354 250");
  ASSERT_EQ(world_.server(2).messages.size(), 1U);
  EXPECT_EQ(world_.server(2).messages[0].to.size(), 2U);
  EXPECT_EQ(world_.server(3).num_connections, 0);
}

TEST_F(SmtpHomesTest, ButNotOneThatTakesNoWork) {
  world_.config.pools[1].backends = {"b3", "b2"};
  world_.Hello();
  world_.state("b2").admin.store(balance::AdminState::kDrain);
  EXPECT_EQ(DeliverMixed(), "250 250 452 354 250");
  EXPECT_EQ(world_.server(2).num_connections, 0);
}

TEST_F(SmtpHomesTest, ARelayThatIsDownMakesDataFailForNow) {
  world_.config.pools[0].backends = {"b1"};
  RelayTo({"b2"});
  world_.server(2).answers["GREETING"] = "reset";
  world_.Hello();
  EXPECT_EQ(DeliverMixed(), "250 451 451 554");  // nobody was told of an acceptance
  (void)world_.Ask("MAIL FROM:<a@x.example>");
  EXPECT_THAT(world_.Ask("RCPT TO:<b@y.example>"), StartsWith("250 "));
  EXPECT_THAT(world_.Ask("RCPT TO:<c@away.example>"), StartsWith("451 4.4.1"));
  EXPECT_THAT(world_.Ask("DATA"), StartsWith("451 4.4.2"));
  EXPECT_EQ(world_.server(1).messages.size() + world_.server(3).messages.size(), 0U);
}

// --- nobody's recipients ------------------------------------------------------------------------

TEST_F(SmtpHomesTest, WithoutARuleLeftARecipientIsUnknown) {
  rules().pop_back();
  world_.Hello();
  (void)world_.Ask("MAIL FROM:<a@x.example>");
  EXPECT_THAT(world_.Ask("RCPT TO:<b@y.example>"), StartsWith("550 5.1.1 "));
  EXPECT_THAT(world_.Ask("RCPT TO:<c@away.example>"), StartsWith("250 "));
}

TEST_F(SmtpHomesTest, ALastRuleTakesWhomADirectoryDoesNotKnow) {
  conf::Rule mapped;
  mapped.name = "mapped";
  mapped.recipients = {"*@away.example"};
  mapped.action = conf::Rule::Reject{"550 5.1.1 Moved away"};
  rules().front() = mapped;
  world_.Hello();
  (void)world_.Ask("MAIL FROM:<a@x.example>");
  EXPECT_THAT(world_.Ask("RCPT TO:<c@away.example>"), StartsWith("550 5.1.1 Moved away"));
  EXPECT_THAT(world_.Ask("RCPT TO:<b@y.example>"), StartsWith("250 "));  // by "all"
}

// --- MAIL, before the home is known --------------------------------------------------------------

struct Lacking {
  std::string keyword, parameter;
};

class MailParameterTest : public testing::TestWithParam<Lacking> {};

// One of three endpoints lacks the keyword: who uses its parameter is refused before anything is
// asked of any of them, wherever the recipients live.
TEST_P(MailParameterTest, IsRefusedWhereOneEligibleEndpointLacksIt) {
  SmtpWorld world;
  const std::vector<std::string> all = {"PIPELINING", "SIZE 1000", "8BITMIME", "SMTPUTF8", "DSN"};
  std::vector<std::string> fewer = all;
  std::erase_if(fewer,
                [](const std::string& each) { return each.starts_with(GetParam().keyword); });
  ASSERT_EQ(fewer.size() + 1, all.size());
  const auto announced = [&](const std::vector<std::string>& third) {
    const std::vector<const proto::Capabilities*> known = {&all, &all, &third};
    return proto::AnnounceFor(proto::CapabilityKind::kSmtp, known, 50U << 20);
  };
  for (int backend = 1; backend <= 3; ++backend)
    world.server(backend).keywords = backend == 3 ? fewer : all;
  world.capabilities = announced(fewer);
  world.Begin();
  EXPECT_THAT(world.Ask("EHLO client.example"),
              testing::Not(HasSubstr(GetParam().keyword + "\r\n")));
  EXPECT_THAT(world.Ask("MAIL FROM:<a@x.example> " + GetParam().parameter), StartsWith("555 "));
  EXPECT_THAT(world.Ask("MAIL FROM:<a@x.example>"), StartsWith("250 "));
  EXPECT_EQ(world.server(1).num_connections, 0);

  SmtpWorld same;
  for (int backend = 1; backend <= 3; ++backend) same.server(backend).keywords = all;
  same.capabilities = announced(all);
  same.Hello();
  EXPECT_THAT(same.Ask("MAIL FROM:<a@x.example> " + GetParam().parameter), StartsWith("250 "));
  EXPECT_THAT(same.Ask("RCPT TO:<b@y.example>"), StartsWith("250 "));
  EXPECT_THAT(same.server(1).lines, testing::Contains(HasSubstr(GetParam().parameter)));
}

INSTANTIATE_TEST_SUITE_P(Keywords, MailParameterTest,
                         testing::Values(Lacking{"SIZE", "SIZE=100"},
                                         Lacking{"8BITMIME", "BODY=8BITMIME"},
                                         Lacking{"SMTPUTF8", "SMTPUTF8"},
                                         Lacking{"DSN", "RET=HDRS"},
                                         Lacking{"DSN", "ENVID=QQ314159"}),
                         [](const auto& each) {
                           std::string name;
                           for (const char c : each.param.parameter)
                             if (c != '=') name += c;
                           return name;
                         });

TEST(MailSizeTest, TheSmallestLimitOfAnyEndpointHolds) {
  SmtpWorld world;
  const std::vector<std::string> big = {"SIZE 9000"}, small = {"SIZE 1000"}, silent = {"SIZE"};
  const std::vector<const proto::Capabilities*> known = {&big, &small, &silent};
  world.capabilities = proto::AnnounceFor(proto::CapabilityKind::kSmtp, known, 50U << 20);
  world.server(1).keywords = big;
  world.Hello();
  EXPECT_THAT(world.Ask("MAIL FROM:<a@x.example> SIZE=1001"), StartsWith("552 5.3.4"));
  EXPECT_THAT(world.Ask("MAIL FROM:<a@x.example> SIZE=1000"), StartsWith("250 "));
  EXPECT_THAT(world.Ask("RCPT TO:<b@y.example>"), StartsWith("250 "));
  EXPECT_THAT(world.server(1).lines, testing::Contains("MAIL FROM:<a@x.example> SIZE=1000"));
}

}  // namespace
}  // namespace postern::test
