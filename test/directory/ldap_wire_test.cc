// ldap_wire_test: what is written is read, in any pieces; what is not so written is not.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/ldap_wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace postern::directory {
namespace {

using testing::ElementsAre;
using namespace std::string_literals;  // NOLINT: literals only

LdapSettings Settings() {
  LdapSettings settings;
  settings.urls = {"ldap://a", "ldaps://b:6636"};
  settings.starttls = true;
  settings.ca = "/etc/ca.pem";
  settings.bind_dn = "cn=postern";
  settings.bind_password = base::Secret("pass\0word"s);
  settings.base = "dc=example";
  settings.attribute = "mailHost";
  settings.timeout = std::chrono::milliseconds(60'000);
  return settings;
}

std::string ContentOf(const std::string& frame) {
  return frame.substr(4);
}

TEST(LdapWireTest, SettingsComeAsTheyWere) {
  const auto read = ParseLdapSettings(ContentOf(ToFrame(Settings())));
  ASSERT_TRUE(read);
  EXPECT_THAT(read->urls, ElementsAre("ldap://a", "ldaps://b:6636"));
  EXPECT_TRUE(read->starttls);
  EXPECT_EQ(read->ca, "/etc/ca.pem");
  EXPECT_EQ(read->bind_dn, "cn=postern");
  EXPECT_EQ(read->bind_password.Reveal(), "pass\0word"s);
  EXPECT_EQ(read->base, "dc=example");
  EXPECT_EQ(read->attribute, "mailHost");
  EXPECT_EQ(read->timeout, std::chrono::minutes(1));
}

TEST(LdapWireTest, QuestionsComeAsTheyWere) {
  const auto read = ParseLdapQuestion(ContentOf(ToFrame(LdapQuestion{1ULL << 40, "(mail=a)\0"s})));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->id, 1ULL << 40);
  EXPECT_EQ(read->filter, "(mail=a)\0"s);
}

TEST(LdapWireTest, RepliesComeAsTheyWere) {
  using Kind = LdapReply::Kind;
  for (const Kind kind : {Kind::kFound, Kind::kUnknown, Kind::kFailed, Kind::kNoServer}) {
    const auto read = ParseLdapReply(ContentOf(ToFrame(LdapReply{7, kind, "\xff\n"})));
    ASSERT_TRUE(read);
    EXPECT_EQ(read->id, 7U);
    EXPECT_EQ(read->kind, kind);
    EXPECT_EQ(read->text, "\xff\n");
  }
}

TEST(LdapWireTest, WhatIsCutOrLongerIsNothing) {
  const std::string settings = ContentOf(ToFrame(Settings()));
  const std::string question = ContentOf(ToFrame(LdapQuestion{7, "(mail=a)"}));
  const std::string reply = ContentOf(ToFrame(LdapReply{7, LdapReply::Kind::kFound, "x"}));
  for (size_t i = 0; i < settings.size(); ++i)
    EXPECT_FALSE(ParseLdapSettings(settings.substr(0, i))) << i;
  for (size_t i = 0; i < question.size(); ++i)
    EXPECT_FALSE(ParseLdapQuestion(question.substr(0, i))) << i;
  for (size_t i = 0; i < reply.size(); ++i) EXPECT_FALSE(ParseLdapReply(reply.substr(0, i))) << i;
  EXPECT_FALSE(ParseLdapSettings(settings + "x"));
  EXPECT_FALSE(ParseLdapQuestion(question + "x"));
  EXPECT_FALSE(ParseLdapReply(reply + "x"));
}

TEST(LdapWireTest, OneKindIsNotAnother) {
  const std::string question = ContentOf(ToFrame(LdapQuestion{7, "(mail=a)"}));
  EXPECT_FALSE(ParseLdapSettings(question));
  EXPECT_FALSE(ParseLdapReply(question));
  std::string reply = ContentOf(ToFrame(LdapReply{7, LdapReply::Kind::kFailed, "x"}));
  EXPECT_FALSE(ParseLdapQuestion(reply));
  reply[9] = 4;  // no kind of reply
  EXPECT_FALSE(ParseLdapReply(reply));
}

TEST(LdapWireTest, SettingsOfAnotherVersionAreRefused) {
  std::string settings = ContentOf(ToFrame(Settings()));
  settings[1] = 2;
  EXPECT_FALSE(ParseLdapSettings(settings));
}

TEST(LdapWireTest, SettingsWithoutServersAreRefused) {
  LdapSettings settings = Settings();
  settings.urls.clear();
  EXPECT_FALSE(ParseLdapSettings(ContentOf(ToFrame(settings))));
}

TEST(LdapWireTest, FramesAreCutAsTheyWereWritten) {
  const std::string stream = ToFrame(LdapQuestion{1, "a"}) + ToFrame(LdapQuestion{2, ""}) +
                             ToFrame(LdapQuestion{3, std::string(300, 'c')});
  for (size_t piece = 1; piece <= stream.size(); ++piece) {
    LdapFrames frames;
    std::vector<uint64_t> ids;
    for (size_t at = 0; at < stream.size(); at += piece) {
      frames.Feed(std::string_view(stream).substr(at, piece));
      while (const auto content = frames.Next()) ids.push_back(ParseLdapQuestion(*content)->id);
    }
    EXPECT_THAT(ids, ElementsAre(1, 2, 3)) << piece;
    EXPECT_FALSE(frames.is_broken());
  }
}

TEST(LdapWireTest, FramesHaveABound) {
  LdapFrames frames;
  std::string largest("\0\1\0\0", 4);  // 64 KiB
  largest += std::string(kMaxFrameBytes, 'x');
  frames.Feed(largest);
  ASSERT_TRUE(frames.Next());
  frames.Feed(std::string("\0\1\0\1", 4));
  EXPECT_FALSE(frames.Next());
  EXPECT_TRUE(frames.is_broken());
  frames.Feed(ToFrame(LdapQuestion{1, "a"}));
  EXPECT_FALSE(frames.Next());
}

TEST(LdapWireTest, AnEmptyFrameIsBroken) {
  LdapFrames frames;
  frames.Feed(std::string(4, '\0'));
  EXPECT_FALSE(frames.Next());
  EXPECT_TRUE(frames.is_broken());
}

}  // namespace
}  // namespace postern::directory
