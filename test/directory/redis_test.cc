// redis_test: a scripted Redis: values, errors, logins, pipelines, and every way to fail.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/redis.h"

#include "lb/directory/redis_link.h"
#include "lb/directory/servers.h"
#include "test/directory/directory_world.h"

namespace postern::directory {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;
using namespace std::string_literals;  // NOLINT: literals only

std::string Bulk(const std::string& text) {
  return "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n";
}

// The words of the first whole command of `received`, taken off it; empty: there is none yet.
std::vector<std::string> TakeCommand(std::string& received) {
  std::vector<std::string> words;
  size_t at = 0;
  const auto number = [&](char mark) -> long {
    const size_t end = received.find("\r\n", at);
    if (end == std::string::npos) return -1;
    EXPECT_EQ(received[at], mark);
    const long value = std::stol(received.substr(at + 1, end - at - 1));
    at = end + 2;
    return value;
  };
  const long num_words = number('*');
  for (long i = 0; i < num_words; ++i) {
    const long size = number('$');
    if (size < 0 || received.size() < at + static_cast<size_t>(size) + 2) return {};
    words.push_back(received.substr(at, static_cast<size_t>(size)));
    at += static_cast<size_t>(size) + 2;
  }
  if (num_words > 0) received.erase(0, at);
  return words;
}

class RedisTest : public DirectoryTest {
 protected:
  RedisTest() {
    conf_.name = "users";
    conf_.type = conf::Directory::Type::kRedis;
    conf_.timeout = 2s;
    conf_.key = "postern:%u";
    conf_.addresses = {"10.0.0.1:6379", "10.0.0.2:6379"};
    Serve(first_);
    Serve(second_);
    Build();
  }
  void Build() {
    directory_ = std::make_unique<Redis>(loop_, net_, resolver_, conf_);
    loop_.RunReady();
  }
  // Replies as `replies_` says, else "mail1".
  void Serve(ScriptedServer& server) {
    server.script = [this](test::SimStream& stream, std::string& received) {
      for (;;) {
        const std::vector<std::string> words = TakeCommand(received);
        if (words.empty()) return;
        std::string line;
        for (const std::string& word : words) line += (line.empty() ? "" : " ") + word;
        commands_.push_back(line);
        const auto it = replies_.find(line);
        stream.Write(it == replies_.end() ? Bulk("mail1") : it->second);
      }
    };
  }
  void AlwaysSays(ScriptedServer& server, std::string reply) {
    server.script = [reply](test::SimStream& stream, std::string& received) {
      while (!TakeCommand(received).empty()) stream.Write(reply);
    };
  }
  // Of a fresh directory whose first server says this.
  std::string AnswerTo(const std::string& reply) {
    Build();
    AlwaysSays(first_, reply);
    return Answer();
  }
  void FirstAlone() {
    conf_.addresses = {"10.0.0.1:6379"};
    Build();
  }

  ScriptedServer first_{net_, "10.0.0.1:6379"};
  ScriptedServer second_{net_, "10.0.0.2:6379"};
  std::map<std::string, std::string> replies_;
  std::vector<std::string> commands_;
};

TEST_F(RedisTest, AKeyIsLookedUp) {
  replies_["GET postern:bob@example.com"] = Bulk("store-2");
  EXPECT_EQ(Answer("bob@example.com"), "store-2");
  EXPECT_LT(took_, 100ms);
  EXPECT_EQ(second_.num_connections, 0);
}

TEST_F(RedisTest, AFieldIsLookedUp) {
  conf_.key = "d:%d:%n:100%%";
  conf_.field = "home";
  Build();
  replies_["HGET d:example.com:bob:100% home"] = Bulk("store-3");
  EXPECT_EQ(Answer("bob@example.com"), "store-3");
}

TEST_F(RedisTest, AKeyIsSentAsItIs) {
  EXPECT_EQ(Answer("a\r\nDEL x\0y@\xff"s), "mail1");
  EXPECT_THAT(commands_, ElementsAre("GET postern:a\r\nDEL x\0y@\xff"s));
}

TEST_F(RedisTest, KeysHaveABound) {
  EXPECT_EQ(Answer(std::string(5000, 'x')), "failed: the key is too long");
  EXPECT_EQ(Answer(""), "failed: there is nobody to ask for");
  EXPECT_EQ(first_.num_connections, 0);
}

TEST_F(RedisTest, WhateverTheCuts) {
  net_.options.cut = test::SimCut::kByByte;
  EXPECT_EQ(Answer(), "mail1");
}

TEST_F(RedisTest, NoValueIsUnknown) {
  EXPECT_EQ(AnswerTo("$-1\r\n"), "unknown");
  EXPECT_EQ(second_.num_connections, 0);
}

TEST_F(RedisTest, ErrorsOfTheKeyAreFailures) {
  EXPECT_EQ(AnswerTo("-WRONGTYPE Operation against a key\r\n"),
            "failed: 10.0.0.1:6379: WRONGTYPE Operation against a key");
  EXPECT_EQ(AnswerTo("-MOVED 3999 127.0.0.1:6381\r\n"),
            "failed: 10.0.0.1:6379: MOVED 3999 127.0.0.1:6381");
  EXPECT_EQ(AnswerTo("-ERR \x1b[31m\"no\"\r\n"),
            "failed: 10.0.0.1:6379: ERR \\x1b[31m\\x22no\\x22");
  EXPECT_EQ(second_.num_connections, 0);
}

TEST_F(RedisTest, AServerThatCannotNowIsLeftForTheNext) {
  for (const char* error : {"LOADING Redis is loading", "MASTERDOWN Link with MASTER is down",
                            "READONLY You can't write", "NOAUTH Authentication required."}) {
    EXPECT_EQ(AnswerTo("-"s + error + "\r\n"), "mail1") << error;
    EXPECT_EQ(Answer(), "mail1") << error;
  }
  FirstAlone();
  EXPECT_EQ(Answer(), "failed: 10.0.0.1:6379: NOAUTH Authentication required.");
}

TEST_F(RedisTest, AValueIsALineOfText) {
  EXPECT_EQ(AnswerTo(Bulk("")), "failed: 10.0.0.1:6379: the value is empty");
  EXPECT_THAT(AnswerTo(Bulk("a\nb")), HasSubstr("the value is no line of text: a\\x0ab"));
  EXPECT_THAT(AnswerTo(Bulk("\xff")), HasSubstr("the value is no line of text"));
  EXPECT_THAT(AnswerTo(Bulk(std::string(1025, 'x'))), HasSubstr("the value is too long"));
  EXPECT_EQ(AnswerTo(Bulk(std::string(1024, 'x'))), std::string(1024, 'x'));
  EXPECT_EQ(AnswerTo(Bulk("caf\xc3\xa9")), "caf\xc3\xa9");
}

// --- logins ---------------------------------------------------------------------------------

TEST_F(RedisTest, ALoginComesBeforeTheQuestions) {
  conf_.password = base::Secret("s3cret");
  Build();
  replies_["AUTH s3cret"] = "+OK\r\n";
  EXPECT_EQ(Answer("bob"), "mail1");
  EXPECT_EQ(Answer("bob"), "mail1");
  EXPECT_THAT(commands_, ElementsAre("AUTH s3cret", "GET postern:bob", "GET postern:bob"));
}

TEST_F(RedisTest, ALoginWithAName) {
  conf_.username = "reader";
  conf_.password = base::Secret("s3cret");
  Build();
  replies_["AUTH reader s3cret"] = "+OK\r\n";
  EXPECT_EQ(Answer(), "mail1");
}

TEST_F(RedisTest, ALoginThatIsRefusedIsAFailure) {
  conf_.password = base::Secret("wrong");
  FirstAlone();
  replies_["AUTH wrong"] = "-WRONGPASS invalid username-password pair\r\n";
  EXPECT_EQ(Answer(), "failed: 10.0.0.1:6379: WRONGPASS invalid username-password pair");
  EXPECT_THAT(commands_, ElementsAre("AUTH wrong"));
  replies_["AUTH wrong"] = "$2\r\nOK\r\n";
  EXPECT_EQ(Answer(), "failed: 10.0.0.1:6379: its reply to AUTH is not understood");
}

// --- one connection for many ----------------------------------------------------------------

TEST_F(RedisTest, QuestionsOfManyGoDownOneConnection) {
  std::vector<std::unique_ptr<Asked>> asked;
  for (int i = 0; i < 100; ++i) {
    const std::string user = "user" + std::to_string(i);
    replies_["GET postern:" + user] = Bulk("home-of-" + user);
    asked.push_back(Ask(user));
  }
  loop_.RunFor(100ms);
  for (int i = 0; i < 100; ++i)
    EXPECT_EQ(asked[static_cast<size_t>(i)]->Text(), "home-of-user" + std::to_string(i));
  EXPECT_EQ(first_.num_connections, 1);
}

TEST_F(RedisTest, AnAnswerThatIsNotWantedIsNobodysElse) {
  replies_["GET postern:a"] = Bulk("home-of-a");
  replies_["GET postern:b"] = Bulk("home-of-b");
  EXPECT_EQ(Answer("a"), "home-of-a");
  const auto a = Ask("a");
  const auto b = Ask("b");
  loop_.RunReady();
  a->pending.reset();
  loop_.RunFor(1s);
  EXPECT_EQ(a->Text(), "pending");
  EXPECT_EQ(b->Text(), "home-of-b");
}

TEST_F(RedisTest, TheAskerMayAskAgainAtOnce) {
  const auto a = Ask("a");
  std::unique_ptr<Asked> b;
  a->then = [&] {
    a->pending.reset();
    b = Ask("b");
  };
  loop_.RunFor(1s);
  EXPECT_EQ(a->Text(), "mail1");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->Text(), "mail1");
}

TEST_F(RedisTest, NotMoreThanSoManyWait) {
  FirstAlone();
  first_.SetDoor(test::SimNet::Door::kHangs);
  std::vector<std::unique_ptr<Asked>> asked;
  for (size_t i = 0; i < RedisLink::kMaxQuestions; ++i) asked.push_back(Ask("a"));
  EXPECT_EQ(Answer(), "failed: 10.0.0.1:6379: too many questions are waiting");
  loop_.RunFor(2s);
  for (const auto& it : asked)
    ASSERT_EQ(it->Text(), "failed: 10.0.0.1:6379: no connection in time");
}

// --- faults ---------------------------------------------------------------------------------

TEST_F(RedisTest, TheNextServerAnswersForOneThatIsDown) {
  first_.SetDoor(test::SimNet::Door::kRefuses);
  EXPECT_EQ(Answer(), "mail1");
  EXPECT_LT(took_, 100ms);
  EXPECT_EQ(second_.num_connections, 1);
  first_.SetDoor(test::SimNet::Door::kOpen);
  loop_.RunFor(ServerOrder::kSkipFor);
  EXPECT_EQ(Answer(), "mail1");
  EXPECT_EQ(first_.num_connections, 1);
}

TEST_F(RedisTest, WantOfADescriptorIsNoServersFault) {
  first_.SetDoor(test::SimNet::Door::kShort);
  second_.SetDoor(test::SimNet::Door::kShort);
  const auto asked = Ask("a");
  loop_.RunFor(1s);
  EXPECT_THAT(asked->Text(), HasSubstr("no descriptor"));
  EXPECT_TRUE(asked->answer->was_not_asked);
  first_.SetDoor(test::SimNet::Door::kOpen);
  EXPECT_EQ(Answer(), "mail1");
  EXPECT_EQ(second_.num_connections, 0);
}

TEST_F(RedisTest, AServerThatIsSilentIsLeftInTimeByAllWhoWait) {
  EXPECT_EQ(Answer(), "mail1");
  first_.script = nullptr;
  const base::MonoTime started = loop_.Now();
  const auto a = Ask("a");
  loop_.RunFor(1s);
  const auto b = Ask("b");
  loop_.RunFor(5s);
  EXPECT_EQ(a->Text(), "mail1");
  EXPECT_EQ(b->Text(), "mail1");
  EXPECT_LT(a->at - started, 2100ms);
  EXPECT_EQ(a->at, b->at);
  EXPECT_EQ(second_.num_connections, 1);
  EXPECT_EQ(Answer(), "mail1");
  EXPECT_LT(took_, 100ms);
}

TEST_F(RedisTest, WithNoServerLeftItIsAFailureOfEach) {
  first_.SetDoor(test::SimNet::Door::kHangs);
  second_.script = nullptr;
  EXPECT_EQ(Answer(),
            "failed: 10.0.0.1:6379: no connection in time; 10.0.0.2:6379: no answer in time");
  EXPECT_EQ(took_, 4s);
}

TEST_F(RedisTest, AConnectionClosedWhileIdleIsReplaced) {
  EXPECT_EQ(Answer(), "mail1");
  first_.streams.back()->CloseGently();
  loop_.RunFor(1s);
  EXPECT_EQ(Answer(), "mail1");
  EXPECT_EQ(first_.num_connections, 2);
  EXPECT_EQ(second_.num_connections, 0);
}

TEST_F(RedisTest, AQuestionLostWithAConnectionIsAskedOnceMore) {
  EXPECT_EQ(Answer(), "mail1");
  const auto asked = Ask("a");
  first_.streams.back()->Reset();
  loop_.RunFor(1s);
  EXPECT_EQ(asked->Text(), "mail1");
  EXPECT_EQ(first_.num_connections, 2);
  EXPECT_EQ(second_.num_connections, 0);
}

TEST_F(RedisTest, AServerThatAlwaysClosesIsLeftForTheNext) {
  first_.script = [](test::SimStream& stream, std::string&) { stream.CloseGently(); };
  EXPECT_EQ(Answer(), "mail1");
  EXPECT_LT(took_, 100ms);
  EXPECT_EQ(first_.num_connections, 2);
  EXPECT_EQ(second_.num_connections, 1);
}

TEST_F(RedisTest, WhatIsNotRedisIsLeftForTheNext) {
  for (const std::string& reply :
       {"220 mail ESMTP\r\n"s, "HTTP/1.1 400 Bad Request\r\n"s, "*1\r\n$1\r\na\r\n"s, "*-1\r\n"s,
        "*1000000000\r\n"s, ":5\r\n"s, "+OK\r\n"s, "$-2\r\n"s, "$x\r\n"s, "\0\0\0\0"s,
        "$1\r\nabc\r\n"s}) {
    EXPECT_EQ(AnswerTo(reply), "mail1") << reply;
    EXPECT_LT(took_, 100ms) << reply;
  }
}

TEST_F(RedisTest, AnEndlessReplyIsCut) {
  FirstAlone();
  AlwaysSays(first_, "$500000000\r\n" + std::string(60'000, 'x'));
  EXPECT_EQ(Answer(), "failed: 10.0.0.1:6379: what it says is too long");
  AlwaysSays(first_, "+" + std::string(60'000, 'x'));
  EXPECT_EQ(Answer(), "failed: 10.0.0.1:6379: what it says is too long");
  EXPECT_LT(took_, 1s);
}

TEST_F(RedisTest, HalfAReplyIsNone) {
  FirstAlone();
  AlwaysSays(first_, "$5\r\nmai");
  EXPECT_EQ(Answer(), "failed: 10.0.0.1:6379: no answer in time");
  first_.script = [](test::SimStream& stream, std::string& received) {
    if (TakeCommand(received).empty()) return;
    stream.Write("$5\r\nmai");
    stream.ShutdownWrite();
  };
  EXPECT_EQ(Answer(), "failed: 10.0.0.1:6379: closed by the peer");
}

TEST_F(RedisTest, AnswersToNothingEndTheConnection) {
  EXPECT_EQ(Answer(), "mail1");
  first_.streams.back()->Write(Bulk("evil"));
  loop_.RunFor(1s);
  EXPECT_EQ(first_.num_ends, 1);
  EXPECT_EQ(Answer(), "mail1");
  // Two answers to one question: the second is for nobody.
  AlwaysSays(first_, Bulk("mail1") + Bulk("evil"));
  EXPECT_EQ(Answer("a"), "mail1");
  loop_.RunFor(1s);
  Serve(first_);
  EXPECT_EQ(Answer("b"), "mail1");
}

TEST_F(RedisTest, AServerThatTakesNobodyIsLeftForTheNext) {
  for (const char* error :
       {"DENIED Redis is running in protected mode", "ERR max number of clients reached"}) {
    Build();
    first_.script = nullptr;
    first_.on_accept = [error](test::SimStream& stream) {
      stream.Write("-"s + error + "\r\n");
      stream.ShutdownWrite();
    };
    EXPECT_EQ(Answer(), "mail1") << error;
    EXPECT_LT(took_, 100ms) << error;
  }
}

TEST_F(RedisTest, ConnectingIsNotRepeatedWithoutAPause) {
  FirstAlone();
  first_.SetDoor(test::SimNet::Door::kRefuses);
  const uint64_t before = net_.num_dials();
  for (int i = 0; i < 100; ++i) {
    const auto asked = Ask("a");
    loop_.RunFor(100ms);
  }
  EXPECT_LE(net_.num_dials() - before, 12U);
  EXPECT_GE(net_.num_dials() - before, 6U);
}

TEST_F(RedisTest, AServerThatRestartsIsWaitedFor) {
  FirstAlone();
  EXPECT_EQ(Answer(), "mail1");
  first_.SetDoor(test::SimNet::Door::kRefuses);
  first_.streams.back()->Reset();
  EXPECT_THAT(Answer(), StartsWith("failed: "));
  first_.SetDoor(test::SimNet::Door::kOpen);
  EXPECT_EQ(Answer(), "mail1");
}

TEST_F(RedisTest, AnIdleConnectionIsClosed) {
  EXPECT_EQ(Answer(), "mail1");
  loop_.RunFor(RedisLink::kIdleFor - 1s);
  EXPECT_EQ(first_.num_ends, 0);
  loop_.RunFor(2s);
  EXPECT_EQ(first_.num_ends, 1);
  EXPECT_EQ(loop_.timers().size(), 0U);
  EXPECT_EQ(Answer(), "mail1");
}

// --- names and lifetimes --------------------------------------------------------------------

TEST_F(RedisTest, NamesAndLocalSocketsAreServersToo) {
  conf_.addresses = {"redis.example:6379"};
  resolver_.answer.addresses = {*base::IpAddress::Parse("10.0.0.1")};
  Build();
  EXPECT_EQ(Answer(), "mail1");
  conf_.addresses = {"unix:/run/redis.sock"};
  Build();
  EXPECT_EQ(Answer(), "failed: unix:/run/redis.sock: connection refused");
}

TEST_F(RedisTest, QuestionsOutliveTheirDirectory) {
  first_.SetDoor(test::SimNet::Door::kRefuses);
  const auto asked = Ask("a");
  asked->then = [&] { asked->pending.reset(); };
  directory_.reset();
  loop_.RunFor(1s);
  EXPECT_EQ(asked->Text(), "mail1");
  EXPECT_EQ(asked->num_answers, 1);
  EXPECT_EQ(second_.num_ends, 1);
}

TEST_F(RedisTest, ADirectoryThatNobodyAsksGoesWithItsConnections) {
  EXPECT_EQ(Answer(), "mail1");
  directory_.reset();
  loop_.RunFor(1s);
  EXPECT_EQ(first_.num_ends, 1);
  EXPECT_EQ(loop_.timers().size(), 0U);
}

}  // namespace
}  // namespace postern::directory
