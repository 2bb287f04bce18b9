// smtp_spool_session_test: messages beyond replay_memory in whole sessions: their files, a slow or
// broken disk, and moves that read them back.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "test/support/smtp_world.h"

namespace postern::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::IsEmpty;
using testing::StartsWith;

class SmtpSpoolSessionTest : public testing::Test {
 protected:
  SmtpSpoolSessionTest() {
    world_.config.smtp.replay_memory = 4 << 10;
    for (int i = 0; text_.size() < 1 << 20; ++i) text_ += "line " + std::to_string(i) + "\r\n";
  }
  void BeginText() {
    world_.Hello();
    world_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n");
    EXPECT_EQ(world_.Codes(), "250 250 354");
    world_.Send(text_);
    world_.Settle();
  }
  double CopiesLost(const std::string& reason) {
    return world_.Metric("postern_smtp_copies_lost_total{reason=\"" + reason + "\"}");
  }
  SmtpWorld world_;
  std::string text_;
};

TEST_F(SmtpSpoolSessionTest, MovesALongMessage) {
  BeginText();
  EXPECT_EQ(world_.disk.num_open, 1);
  EXPECT_EQ(world_.disk.held_bytes, text_.size() - (4 << 10));
  world_.server(1).stream()->Reset();
  world_.Send(text_ + ".\r\n");
  EXPECT_EQ(world_.Codes(), "250");
  ASSERT_EQ(world_.server(2).messages.size(), 1U);
  EXPECT_EQ(world_.server(2).messages[0].text, text_ + text_);
  EXPECT_EQ(world_.disk.num_open, 0);
  EXPECT_EQ(world_.Metric("postern_smtp_replays_total{reason=\"lost\"}"), 1);
  EXPECT_EQ(CopiesLost("disk") + CopiesLost("full") + CopiesLost("too_long"), 0);
}

TEST_F(SmtpSpoolSessionTest, AShortMessageNeedsNoFile) {
  world_.Hello();
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
  EXPECT_EQ(world_.disk.num_opened, 0);
}

TEST_F(SmtpSpoolSessionTest, WithoutASpoolNothingIsKeptBeyondMemory) {
  world_.config.smtp.spool_total = 0;
  BeginText();
  EXPECT_EQ(world_.disk.num_opened, 0);
  EXPECT_EQ(CopiesLost("too_long"), 1);
  world_.Send(".\r\n");
  EXPECT_EQ(world_.Codes(), "250");
}

TEST_F(SmtpSpoolSessionTest, TheClientWaitsForASlowDisk) {
  world_.disk.options.latency = seconds(1);
  world_.disk.options.window_bytes = 32 << 10;
  BeginText();
  // A window, and what one read may bring.
  EXPECT_LT(world_.disk.most_waiting_bytes, 400U << 10);
  EXPECT_LT(world_.disk.held_bytes, text_.size() / 2);
  world_.Send(".\r\n");
  world_.Wait(std::chrono::minutes(2));
  EXPECT_EQ(world_.Codes(), "250");
  EXPECT_EQ(world_.server(1).messages[0].text, text_);
  EXPECT_EQ(CopiesLost("disk"), 0);
}

TEST_F(SmtpSpoolSessionTest, GoesOnWithoutADiskThatHangs) {
  world_.disk.options.hangs = true;
  BeginText();
  world_.Send(".\r\n");
  world_.Wait(seconds(12));
  EXPECT_EQ(world_.Codes(), "250");
  EXPECT_EQ(world_.server(1).messages[0].text, text_);
  EXPECT_EQ(CopiesLost("disk"), 1);
  EXPECT_EQ(world_.disk.num_open, 0);
}

TEST_F(SmtpSpoolSessionTest, GoesOnWithoutADiskThatIsFull) {
  for (const bool is_ours : {true, false}) {
    SmtpWorld world;
    world.config.smtp.replay_memory = 4 << 10;
    (is_ours ? world.disk.options.total_bytes : world.disk.options.disk_bytes) = 100000;
    world.Hello();
    EXPECT_EQ(world.Deliver("b@y.example", text_), "250 250 354 250");
    ASSERT_EQ(world.server(1).messages.size(), 1U);
    EXPECT_EQ(world.server(1).messages[0].text, text_);
    EXPECT_EQ(world.Metric(is_ours ? "postern_smtp_copies_lost_total{reason=\"full\"}"
                                   : "postern_smtp_copies_lost_total{reason=\"disk\"}"),
              1);
  }
}

TEST_F(SmtpSpoolSessionTest, SaysSoWhereItCannotReadItBack) {
  world_.disk.options.bad_read_offset = 200000;
  BeginText();
  world_.server(1).stream()->Reset();
  world_.Send(".\r\n");
  EXPECT_THAT(world_.Read(), StartsWith("451 4.4.2"));
  EXPECT_THAT(world_.server(2).messages, IsEmpty());
  EXPECT_EQ(CopiesLost("disk"), 1);
  EXPECT_EQ(world_.Deliver(), "250 250 354 250");
}

// A backend that takes nothing, and is left for another, gets no more than a buffer's worth.
TEST_F(SmtpSpoolSessionTest, ReplaysAtThePaceOfTheNextBackend) {
  world_.net.options.window_bytes = 8 << 10;
  world_.config.listeners[0].limits.buffer = 64 << 10;
  world_.server(2).reads_nothing = true;
  BeginText();
  world_.Wait(seconds(10));
  world_.server(1).stream()->Reset();
  world_.Settle();
  world_.Wait(seconds(10));
  world_.server(2).ReadAgain();
  world_.Send(".\r\n");
  world_.Wait(seconds(30));
  EXPECT_EQ(world_.Codes(), "250");
  ASSERT_EQ(world_.server(2).messages.size(), 1U);
  EXPECT_EQ(world_.server(2).messages[0].text, text_);
}

TEST_F(SmtpSpoolSessionTest, LeavesNoFileBehindAClientThatResets) {
  BeginText();
  EXPECT_EQ(world_.disk.num_open, 1);
  world_.client().Reset();
  world_.Settle();
  EXPECT_EQ(world_.disk.num_open, 0);
}

TEST_F(SmtpSpoolSessionTest, LeavesNoFileBehindASessionThatIsEnded) {
  BeginText();
  world_.session->Kill(base::SessionResult::kKicked);
  world_.Settle();
  EXPECT_EQ(world_.disk.num_open, 0);
}

}  // namespace
}  // namespace postern::test
