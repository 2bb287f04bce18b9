// ldap_client_test: a scripted helper: replies in any order, deaths, silence and nonsense.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/ldap_client.h"

#include "lb/directory/ldap_wire.h"
#include "test/directory/directory_world.h"

namespace postern::directory {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class LdapClientTest : public DirectoryTest, private io::Stream::Observer {
 protected:
  LdapClientTest() {
    conf_.name = "ad";
    conf_.type = conf::Directory::Type::kLdap;
    conf_.urls = {"ldap://a", "ldap://b"};
    conf_.timeout = 2s;
    conf_.bind_dn = "cn=postern";
    conf_.bind_password = base::Secret("hush");
    conf_.base = "dc=example";
    conf_.filter = "(mail=%u)";
    conf_.attribute = "home";
    net_.Listen(LdapClient::kHelper, [this](std::unique_ptr<test::SimStream> stream) {
      stream->SetObserver(this);
      frames_[stream.get()] = std::make_unique<LdapFrames>();
      streams_.push_back(std::move(stream));
    });
    directory_ = std::make_unique<LdapClient>(loop_, net_, conf_);
  }
  void OnStream(io::Stream& stream, io::Stream::Event event) override {
    if (event != io::Stream::Event::kReadable) return;
    LdapFrames& frames = *frames_[&stream];
    frames.Feed(stream.Input());
    stream.Consume(stream.Input().size());
    while (const auto content = frames.Next()) {
      if (content->front() == 'S') {
        settings_.push_back(*ParseLdapSettings(*content));
        continue;
      }
      questions_.push_back(*ParseLdapQuestion(*content));
      if (on_question) on_question(static_cast<test::SimStream&>(stream), questions_.back());
    }
  }
  // Of every question from now on.
  void Reply(LdapReply::Kind kind, const std::string& text) {
    on_question = [kind, text](test::SimStream& stream, const LdapQuestion& question) {
      stream.Write(ToFrame(LdapReply{question.id, kind, text}));
    };
  }
  bool AwaitQuestions(size_t num_questions) {
    return loop_.RunUntil([&] { return questions_.size() >= num_questions; });
  }

  std::function<void(test::SimStream& stream, const LdapQuestion& question)> on_question;
  std::vector<LdapSettings> settings_;
  std::vector<LdapQuestion> questions_;
  std::map<io::Stream*, std::unique_ptr<LdapFrames>> frames_;
  std::vector<std::unique_ptr<test::SimStream>> streams_;
};

TEST_F(LdapClientTest, TheHelperIsToldTheSettingsAndAFilter) {
  Reply(LdapReply::Kind::kFound, "store-2");
  EXPECT_EQ(Answer("b*b@example.com"), "store-2");
  ASSERT_EQ(settings_.size(), 1U);
  EXPECT_THAT(settings_[0].urls, ElementsAre("ldap://a", "ldap://b"));
  EXPECT_EQ(settings_[0].bind_dn, "cn=postern");
  EXPECT_EQ(settings_[0].bind_password.Reveal(), "hush");
  EXPECT_EQ(settings_[0].base, "dc=example");
  EXPECT_EQ(settings_[0].attribute, "home");
  EXPECT_EQ(settings_[0].ca, LdapClient::kSystemCa);
  EXPECT_EQ(settings_[0].timeout, 2s);
  ASSERT_EQ(questions_.size(), 1U);
  EXPECT_EQ(questions_[0].filter, "(mail=b\\2ab@example.com)");
}

TEST_F(LdapClientTest, OneConnectionServesAll) {
  Reply(LdapReply::Kind::kFound, "mail1");
  EXPECT_EQ(Answer(), "mail1");
  EXPECT_EQ(Answer("bob@example.com"), "mail1");
  EXPECT_EQ(streams_.size(), 1U);
  EXPECT_EQ(settings_.size(), 1U);
}

TEST_F(LdapClientTest, WhateverTheCuts) {
  net_.options.cut = test::SimCut::kByByte;
  Reply(LdapReply::Kind::kFound, "mail1");
  EXPECT_EQ(Answer(), "mail1");
}

TEST_F(LdapClientTest, NobodyIsUnknown) {
  Reply(LdapReply::Kind::kUnknown, "");
  EXPECT_EQ(Answer(), "unknown");
}

TEST_F(LdapClientTest, AFailureIsToldInPrintableWords) {
  Reply(LdapReply::Kind::kFailed, "ldap://a: bind: \x1b[31m");
  EXPECT_EQ(Answer(), "failed: ldap://a: bind: \\x1b[31m");
  Reply(LdapReply::Kind::kNoServer, "ldap://a: connect: \n");
  EXPECT_EQ(Answer(), "failed: ldap://a: connect: \\x0a");
  Reply(LdapReply::Kind::kFailed, "");
  EXPECT_EQ(Answer(), "failed: no answer, and no reason");
}

TEST_F(LdapClientTest, AValueIsALineOfText) {
  for (const char* value : {"", "a\nb", "\xff"}) {
    Reply(LdapReply::Kind::kFound, value);
    EXPECT_THAT(Answer(), testing::StartsWith("failed: the value is ")) << value;
  }
  Reply(LdapReply::Kind::kFound, std::string(1025, 'x'));
  EXPECT_EQ(Answer(), "failed: the value is too long");
}

TEST_F(LdapClientTest, KeysHaveABound) {
  EXPECT_EQ(Answer(std::string(20'000, '*')), "failed: the key is too long");
  EXPECT_EQ(Answer(""), "failed: there is nobody to ask for");
  EXPECT_EQ(net_.num_dials(), 0U);
}

TEST_F(LdapClientTest, RepliesComeInAnyOrder) {
  const auto first = Ask("a@x");
  const auto second = Ask("b@x");
  ASSERT_TRUE(AwaitQuestions(2));
  for (const int i : {1, 0})
    streams_[0]->Write(
        ToFrame(LdapReply{questions_[i].id, LdapReply::Kind::kFound, i == 0 ? "of-a" : "of-b"}));
  loop_.RunFor(100ms);
  EXPECT_EQ(first->Text(), "of-a");
  EXPECT_EQ(second->Text(), "of-b");
}

TEST_F(LdapClientTest, TheDeathOfTheHelperFailsAllAtOnceAndTheNextConnectsAnew) {
  const auto first = Ask("a@x");
  const auto second = Ask("b@x");
  ASSERT_TRUE(AwaitQuestions(2));
  const base::MonoTime before = loop_.Now();
  streams_[0]->Reset();
  loop_.RunUntil([&] { return second->answer.has_value(); });
  EXPECT_THAT(first->Text(), HasSubstr("failed: postern-ldap: "));
  EXPECT_THAT(second->Text(), HasSubstr("failed: postern-ldap: "));
  EXPECT_LT(loop_.Now() - before, 100ms);
  EXPECT_EQ(first->num_answers, 1);
  Reply(LdapReply::Kind::kFound, "mail1");
  EXPECT_EQ(Answer(), "mail1");
  EXPECT_EQ(settings_.size(), 2U);
}

TEST_F(LdapClientTest, WhoAsksAgainWhenItDiesIsServedByTheNext) {
  const auto first = Ask("a@x");
  ASSERT_TRUE(AwaitQuestions(1));
  Reply(LdapReply::Kind::kFound, "mail1");
  std::unique_ptr<Asked> again;
  first->then = [&] { again = Ask("a@x"); };
  streams_[0]->Close();
  loop_.RunUntil([&] { return again != nullptr && again->answer.has_value(); });
  EXPECT_EQ(again->Text(), "mail1");
}

TEST_F(LdapClientTest, WithoutAHelperAQuestionFailsAtOnce) {
  net_.SetDoor(LdapClient::kHelper, test::SimNet::Door::kRefuses);
  EXPECT_EQ(Answer(), "failed: postern-ldap: it is not running");
  EXPECT_LT(took_, 100ms);
  net_.SetDoor(LdapClient::kHelper, test::SimNet::Door::kOpen);
  Reply(LdapReply::Kind::kFound, "mail1");
  EXPECT_EQ(Answer(), "mail1");
}

TEST_F(LdapClientTest, AHelperThatHangsFailsEachInTime) {
  const auto first = Ask("a@x");
  loop_.RunFor(1s);
  const base::MonoTime started = loop_.Now();
  const auto second = Ask("b@x");
  loop_.RunUntil([&] { return second->answer.has_value(); });
  EXPECT_EQ(first->Text(), "failed: postern-ldap: no answer in time");
  EXPECT_EQ(second->Text(), "failed: postern-ldap: no answer in time");
  EXPECT_EQ(second->at - started, 4s + LdapClient::kGrace);
  EXPECT_EQ(second->at - first->at, 1s);
}

TEST_F(LdapClientTest, ALateReplyIsNobodys) {
  const auto late = Ask("a@x");
  loop_.RunUntil([&] { return late->answer.has_value(); });
  const auto next = Ask("b@x");
  ASSERT_TRUE(AwaitQuestions(2));
  for (const LdapQuestion& question : questions_)
    streams_[0]->Write(ToFrame(LdapReply{question.id, LdapReply::Kind::kFound,
                                         question.filter == "(mail=b@x)" ? "of-b" : "of-a"}));
  loop_.RunFor(100ms);
  EXPECT_EQ(late->num_answers, 1);
  EXPECT_EQ(next->Text(), "of-b");
}

TEST_F(LdapClientTest, WhoLosesInterestIsNotTold) {
  auto asked = Ask("a@x");
  const auto other = Ask("b@x");
  ASSERT_TRUE(AwaitQuestions(2));
  asked->pending.reset();
  for (const LdapQuestion& question : questions_)
    streams_[0]->Write(ToFrame(LdapReply{question.id, LdapReply::Kind::kFound, "mail1"}));
  loop_.RunFor(10s);
  EXPECT_EQ(asked->num_answers, 0);
  EXPECT_EQ(other->Text(), "mail1");
}

TEST_F(LdapClientTest, NonsenseEndsTheConnection) {
  const std::string whole = ToFrame(LdapReply{1, LdapReply::Kind::kFound, "mail1"});
  for (const std::string& nonsense :
       {std::string("HTTP/1.1 200 OK\r\n\r\n"), std::string(4, '\0'),
        ToFrame(LdapQuestion{1, "(a=b)"}), ToFrame(LdapReply{0, LdapReply::Kind::kFound, "x"}),
        ToFrame(LdapReply{1'000'000, LdapReply::Kind::kFound, "x"})}) {
    on_question = [&](test::SimStream& stream, const LdapQuestion&) { stream.Write(nonsense); };
    EXPECT_EQ(Answer(), "failed: postern-ldap: what it says is not understood");
    EXPECT_LT(took_, 100ms);
  }
  Reply(LdapReply::Kind::kFound, "mail1");
  EXPECT_EQ(Answer(), "mail1");
}

TEST_F(LdapClientTest, QuestionsThatWaitHaveABound) {
  std::vector<std::unique_ptr<Asked>> asked;
  for (size_t i = 0; i < LdapClient::kMaxQuestions; ++i) asked.push_back(Ask("a@x"));
  EXPECT_EQ(Ask("b@x")->Text(), "failed: too many questions are waiting");
  asked.front()->pending.reset();
  EXPECT_EQ(Ask("b@x")->Text(), "pending");
}

TEST_F(LdapClientTest, QuestionsOutliveTheDirectory) {
  const auto asked = Ask("a@x");
  Reply(LdapReply::Kind::kFound, "mail1");
  directory_.reset();
  loop_.RunUntil([&] { return asked->answer.has_value(); });
  EXPECT_EQ(asked->Text(), "mail1");
  asked->pending.reset();
  loop_.RunFor(100ms);
  EXPECT_EQ(streams_[0]->end(), io::StreamEnd::kEof);
}

}  // namespace
}  // namespace postern::directory
