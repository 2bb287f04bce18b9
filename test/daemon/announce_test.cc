// announce_test: what a listener says in the name of its endpoints.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/announce.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace postern::daemon {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsSupersetOf;
using testing::Not;

// Two endpoints of a protocol, of which nothing is known at first.
class AnnounceTest : public testing::Test {
 protected:
  void Use(conf::Protocol protocol) {
    listener_.protocol = protocol;
    for (const char* name : {"b1", "b2"}) {
      balance::Endpoint& endpoint = endpoints_.emplace_back();
      endpoint.state = book_.Get(name, protocol);
    }
  }
  void Learn(size_t index, std::vector<std::string> capabilities) {
    endpoints_[index].state->UpdateFacts([&](balance::EndpointFacts& facts) {
      facts.has_capabilities = true;
      facts.capabilities = std::move(capabilities);
    });
  }
  [[nodiscard]] Announcement Announce() const {
    std::vector<const balance::Endpoint*> eligible;
    for (const balance::Endpoint& endpoint : endpoints_) eligible.push_back(&endpoint);
    return AnnouncementOf(listener_, eligible);
  }

  conf::Listener listener_;
  balance::EndpointBook book_{1};
  std::vector<balance::Endpoint> endpoints_;
};

TEST_F(AnnounceTest, SmtpIsWhatAllHaveAndTheSmallestSize) {
  Use(conf::Protocol::kSmtp);
  listener_.limits.message = 5000;
  Learn(0, {"PIPELINING", "SIZE 1000", "8BITMIME", "DSN", "CHUNKING"});
  Learn(1, {"PIPELINING", "SIZE 3000", "8BITMIME"});
  EXPECT_THAT(Announce().capabilities,
              ElementsAre("PIPELINING", "SIZE 1000", "8BITMIME", "CHUNKING"));
  listener_.limits.message = 500;
  EXPECT_THAT(Announce().capabilities, Contains("SIZE 500"));
}

TEST_F(AnnounceTest, SmtpLeavesOutWhatOneOfTwoLacks) {
  Use(conf::Protocol::kSmtp);
  const std::vector<std::string> all = {"PIPELINING", "8BITMIME", "SMTPUTF8", "DSN"};
  Learn(0, all);
  Learn(1, all);
  EXPECT_THAT(Announce().capabilities, IsSupersetOf(all));
  for (size_t lacking = 0; lacking < all.size(); ++lacking) {
    std::vector<std::string> others = all;
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(lacking));
    Learn(1, others);
    EXPECT_THAT(Announce().capabilities, Not(Contains(all[lacking])));
    EXPECT_THAT(Announce().capabilities, IsSupersetOf(others));
  }
  // A server that was upgraded.
  Learn(1, all);
  EXPECT_THAT(Announce().capabilities, IsSupersetOf(all));
}

// What it said last holds, or the announcement would change with each fall and rise.
TEST_F(AnnounceTest, AnEndpointThatIsDownCountsWithWhatItSaidLast) {
  Use(conf::Protocol::kSmtp);
  Learn(0, {"PIPELINING", "SIZE 3000", "8BITMIME", "DSN"});
  Learn(1, {"PIPELINING", "SIZE 1000", "8BITMIME"});
  const std::vector<std::string> before = Announce().capabilities;
  endpoints_[1].state->health = balance::Health::kDown;
  endpoints_[1].state->admin = balance::AdminState::kMaintenance;
  EXPECT_EQ(Announce().capabilities, before);
  EXPECT_THAT(before, Not(Contains("DSN")));
  EXPECT_THAT(before, Contains("SIZE 1000"));
}

TEST_F(AnnounceTest, WhoIsNotEligibleAnyMoreTakesNothingAway) {
  Use(conf::Protocol::kSmtp);
  Learn(0, {"PIPELINING", "8BITMIME", "DSN"});
  Learn(1, {"PIPELINING", "8BITMIME"});
  EXPECT_THAT(Announce().capabilities, Not(Contains("DSN")));
  endpoints_.pop_back();  // as a reload does
  EXPECT_THAT(Announce().capabilities, Contains("DSN"));
}

TEST_F(AnnounceTest, WhatIsNotKnownYetPromisesTheUsualOnly) {
  Use(conf::Protocol::kImap);
  Learn(0, {"IMAP4rev1", "IDLE", "LITERAL+"});
  EXPECT_THAT(Announce().capabilities, Not(Contains("IDLE")));
  Learn(1, {"IMAP4rev1", "IDLE"});
  EXPECT_THAT(Announce().capabilities, Contains("IDLE"));
  EXPECT_THAT(Announce().capabilities, Not(Contains("LITERAL+")));
}

TEST_F(AnnounceTest, OperatorsListHoldsButForWhatCannotBeRelayed) {
  Use(conf::Protocol::kSmtp);
  Learn(0, {"PIPELINING"});
  Learn(1, {"PIPELINING"});
  listener_.has_capabilities = true;
  listener_.capabilities = {"SIZE 77", "DSN", "CHUNKING", "STARTTLS"};
  EXPECT_THAT(Announce().capabilities, ElementsAre("SIZE 77", "DSN", "CHUNKING"));
}

TEST_F(AnnounceTest, TokensAreOfferedWhereOneEndpointTakesThem) {
  Use(conf::Protocol::kImap);
  Learn(0, {"IMAP4rev1", "AUTH=PLAIN"});
  EXPECT_FALSE(Announce().offers_xoauth2);
  EXPECT_FALSE(Announce().offers_oauthbearer);
  Learn(1, {"IMAP4rev1", "AUTH=XOAUTH2", "AUTH=OAUTHBEARER"});
  EXPECT_TRUE(Announce().offers_xoauth2);
  EXPECT_TRUE(Announce().offers_oauthbearer);
}

TEST_F(AnnounceTest, MechanismsOfSubmissionAreInItsAuthLine) {
  Use(conf::Protocol::kSubmission);
  Learn(0, {"PIPELINING", "AUTH PLAIN XOAUTH2"});
  Learn(1, {"PIPELINING", "AUTH PLAIN"});
  EXPECT_TRUE(Announce().offers_xoauth2);
  EXPECT_FALSE(Announce().offers_oauthbearer);
  EXPECT_THAT(Announce().capabilities, ElementsAre("PIPELINING", "CHUNKING"));
}

}  // namespace
}  // namespace postern::daemon
