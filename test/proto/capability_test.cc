// capability_test: what may be announced for a set of endpoints.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/capability.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace postern::proto {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::Not;

Capabilities Announce(CapabilityKind kind, const std::vector<const Capabilities*>& endpoints,
                      uint64_t max = 0) {
  return AnnounceFor(kind, endpoints, max);
}

TEST(AnnounceForTest, SmtpIsWhatAllHave) {
  const Capabilities a = {"PIPELINING", "SIZE 1000", "8BITMIME", "DSN", "CHUNKING", "SMTPUTF8"};
  const Capabilities b = {"pipelining", "SIZE 500", "8BITMIME", "SMTPUTF8", "XCLIENT NAME"};
  EXPECT_THAT(Announce(CapabilityKind::kSmtp, {&a, &b}),
              ElementsAre("PIPELINING", "SIZE 500", "8BITMIME", "SMTPUTF8", "CHUNKING"));
}

TEST(AnnounceForTest, WhatIsNotParsedIsNeverAnnounced) {
  const Capabilities all = {"LIMITS", "STARTTLS", "AUTH PLAIN", "VRFY", "ETRN"};
  EXPECT_THAT(Announce(CapabilityKind::kSmtp, {&all}), ElementsAre("CHUNKING"));
}

// Text in chunks can go to any server, binary text to those alone that have BINARYMIME.
TEST(AnnounceForTest, ChunksAreOfferedEverywhereAndBinaryTextWhereAllTakeIt) {
  const Capabilities binary = {"CHUNKING", "BINARYMIME"}, plain = {"DSN"};
  EXPECT_THAT(Announce(CapabilityKind::kSmtp, {&binary, &binary}),
              ElementsAre("CHUNKING", "BINARYMIME"));
  EXPECT_THAT(Announce(CapabilityKind::kSmtp, {&binary, &plain}), ElementsAre("CHUNKING"));
  EXPECT_THAT(Announce(CapabilityKind::kSmtp, {&binary, nullptr}), Not(Contains("BINARYMIME")));
}

TEST(AnnounceForTest, AnUnknownEndpointHasTheUsualSet) {
  const Capabilities known = {"PIPELINING", "SIZE", "8BITMIME", "ENHANCEDSTATUSCODES", "SMTPUTF8"};
  EXPECT_THAT(Announce(CapabilityKind::kSmtp, {&known, nullptr}),
              ElementsAre("PIPELINING", "SIZE", "8BITMIME", "ENHANCEDSTATUSCODES", "CHUNKING"));
  EXPECT_THAT(Announce(CapabilityKind::kSmtp, {}),
              ElementsAre("PIPELINING", "SIZE", "8BITMIME", "ENHANCEDSTATUSCODES", "CHUNKING"));
}

TEST(AnnounceForTest, SizeIsTheSmallestLimit) {
  const Capabilities none = {"SIZE"}, zero = {"SIZE 0"}, big = {"SIZE 9000"}, silent = {"DSN"};
  EXPECT_THAT(Announce(CapabilityKind::kSmtp, {&none, &zero}, 700),
              ElementsAre("SIZE 700", "CHUNKING"));
  EXPECT_THAT(Announce(CapabilityKind::kSmtp, {&big, &none}, 10000),
              ElementsAre("SIZE 9000", "CHUNKING"));
  EXPECT_THAT(Announce(CapabilityKind::kSmtp, {&big, &silent}, 700), ElementsAre("CHUNKING"));
  EXPECT_THAT(Announce(CapabilityKind::kSmtp, {nullptr}, 700), Contains("SIZE 700"));
}

TEST(AnnounceForTest, ImapHasItsOwnAndWhatAllHave) {
  const Capabilities a = {"IMAP4rev1", "IDLE", "LITERAL+", "AUTH=PLAIN", "STARTTLS", "MOVE"};
  const Capabilities b = {"IMAP4rev1", "IDLE", "LITERAL+", "LOGINDISABLED"};
  EXPECT_THAT(Announce(CapabilityKind::kImap, {&a, &b}),
              ElementsAre("IMAP4rev1", "SASL-IR", "ID", "LITERAL+", "IDLE"));
  EXPECT_THAT(Announce(CapabilityKind::kImap, {&a, nullptr}),
              ElementsAre("IMAP4rev1", "SASL-IR", "ID"));
  EXPECT_THAT(Announce(CapabilityKind::kImap, {}), ElementsAre("IMAP4rev1", "SASL-IR", "ID"));
}

TEST(AnnounceForTest, Pop3) {
  const Capabilities a = {"TOP", "UIDL", "RESP-CODES", "PIPELINING", "SASL PLAIN", "USER", "UTF8"};
  EXPECT_THAT(Announce(CapabilityKind::kPop3, {&a}),
              ElementsAre("TOP", "UIDL", "RESP-CODES", "PIPELINING"));
  EXPECT_THAT(Announce(CapabilityKind::kPop3, {&a, nullptr}), Not(Contains("PIPELINING")));
}

TEST(AnnounceOverrideTest, KeepsOutWhatDependsOnTheState) {
  const Capabilities smtp = {"8BITMIME", "SIZE 5",  "CHUNKING",  "AUTH PLAIN",
                             "STARTTLS", "XCLIENT", "auth=LOGIN"};
  EXPECT_THAT(AnnounceOverride(CapabilityKind::kSmtp, smtp),
              ElementsAre("8BITMIME", "SIZE 5", "CHUNKING"));
  const Capabilities imap = {"IMAP4rev1", "AUTH=PLAIN", "LOGINDISABLED", "X-OWN"};
  EXPECT_THAT(AnnounceOverride(CapabilityKind::kImap, imap), ElementsAre("IMAP4rev1", "X-OWN"));
  const Capabilities pop3 = {"USER", "SASL PLAIN", "STLS", "EXPIRE 5"};
  EXPECT_THAT(AnnounceOverride(CapabilityKind::kPop3, pop3), ElementsAre("EXPIRE 5"));
}

TEST(OfferedMechanismsTest, InTheFormOfEachProtocol) {
  const Capabilities smtp = {"AUTH PLAIN xoauth2", "AUTH=LOGIN"};
  const MechanismSet of_smtp = OfferedMechanisms(CapabilityKind::kSmtp, smtp);
  EXPECT_TRUE(of_smtp.Has(Mechanism::kPlain) && of_smtp.Has(Mechanism::kLogin) &&
              of_smtp.Has(Mechanism::kXoauth2));
  EXPECT_FALSE(of_smtp.Has(Mechanism::kOauthBearer));
  const Capabilities imap = {"AUTH=OAUTHBEARER", "SASL PLAIN"};
  const MechanismSet of_imap = OfferedMechanisms(CapabilityKind::kImap, imap);
  EXPECT_TRUE(of_imap.Has(Mechanism::kOauthBearer));
  EXPECT_FALSE(of_imap.Has(Mechanism::kPlain));
  const Capabilities pop3 = {"SASL LOGIN", "AUTH=PLAIN"};
  const MechanismSet of_pop3 = OfferedMechanisms(CapabilityKind::kPop3, pop3);
  EXPECT_TRUE(of_pop3.Has(Mechanism::kLogin));
  EXPECT_FALSE(of_pop3.Has(Mechanism::kPlain));
}

TEST(AnnouncedSizeTest, NumbersAndTheirLack) {
  const auto size = [](const char* line) { return AnnouncedSize(Capabilities{line}); };
  EXPECT_EQ(size("DSN"), std::nullopt);
  EXPECT_EQ(size("SIZE"), 0U);
  EXPECT_EQ(size("SIZE 52428800"), 52428800U);
  EXPECT_EQ(size("SIZE 99999999999999999999"), 0U);
  EXPECT_EQ(size("SIZE ten"), 0U);
}

TEST(SplitAtomsTest, LeavesOutWhatNobodyMaySay) {
  EXPECT_THAT(SplitAtoms(" A  B \x01X " + std::string(256, 'y') + " C"),
              ElementsAre("A", "B", "C"));
  EXPECT_THAT(SplitAtoms("A B C", 2), ElementsAre("A", "B"));
}

}  // namespace
}  // namespace postern::proto
