// smtp_journal_test: the text kept for a move, within its bounds.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/smtp_journal.h"

#include <gtest/gtest.h>

#include <string>

namespace postern::proto {
namespace {

struct Budget final : ReplayBudget {
  bool Take(size_t num_bytes) override {
    if (taken + num_bytes > limit) return false;
    taken += num_bytes;
    return true;
  }
  void Return(size_t num_bytes) override { taken -= num_bytes; }
  bool HasFileRoom(size_t num_bytes) const override { return num_bytes <= file_room; }
  size_t limit = 1 << 20;
  size_t taken = 0;
  size_t file_room = 1 << 20;
};

std::string InMemory(const SmtpJournal& journal) {
  std::string text;
  while (text.size() < journal.memory_bytes()) text += journal.Memory(text.size());
  return text;
}

TEST(SmtpJournalTest, KeepsTheTextInOrder) {
  Budget budget;
  SmtpJournal journal(budget, 100000, 0);
  std::string text;
  for (int i = 0; i < 9000; ++i) {
    const std::string piece = std::to_string(i) + "\r\n";
    EXPECT_EQ(journal.Append(piece), "");
    text += piece;
  }
  EXPECT_EQ(InMemory(journal), text);
  EXPECT_EQ(journal.size(), text.size());
  EXPECT_GE(budget.taken, text.size());
}

TEST(SmtpJournalTest, TakesOneLargePiece) {
  Budget budget;
  SmtpJournal journal(budget, 100000, 0);
  const std::string text(50000, 'x');
  EXPECT_EQ(journal.Append(text), "");
  EXPECT_EQ(InMemory(journal), text);
}

TEST(SmtpJournalTest, LeavesToTheFileWhatIsBeyondItsMemory) {
  Budget budget;
  SmtpJournal journal(budget, 20000, 50000);
  EXPECT_EQ(journal.Append(std::string(15000, 'a')), "");
  EXPECT_FALSE(journal.has_file());
  EXPECT_EQ(journal.Append(std::string(5000, 'b') + "ccc"), "ccc");
  EXPECT_EQ(journal.Append("dd"), "dd");
  EXPECT_EQ(InMemory(journal), std::string(15000, 'a') + std::string(5000, 'b'));
  EXPECT_EQ(journal.size(), 20005U);
  EXPECT_TRUE(journal.has_file());
  EXPECT_EQ(journal.waiting_bytes(), 5U);
  journal.OnStored(3);
  EXPECT_EQ(journal.waiting_bytes(), 2U);
  EXPECT_EQ(journal.room(), 29995U);
}

TEST(SmtpJournalTest, LetsGoOfEverythingBeyondItsLimit) {
  Budget budget;
  SmtpJournal journal(budget, 100, 150);
  EXPECT_EQ(journal.Append(std::string(100, 'x')), "");
  EXPECT_EQ(journal.Append(std::string(50, 'x')).size(), 50U);
  EXPECT_FALSE(journal.loss());
  EXPECT_EQ(journal.Append("y"), "");
  EXPECT_EQ(journal.loss(), JournalLoss::kTooLong);
  EXPECT_EQ(budget.taken, 0U);
  EXPECT_EQ(journal.Append("z"), "");
  EXPECT_EQ(journal.size(), 0U);
  EXPECT_FALSE(journal.has_file());
}

TEST(SmtpJournalTest, UsesTheFileEarlyWhereTheProcessHasNoMoreMemoryToGive) {
  Budget budget;
  budget.limit = 20000;
  SmtpJournal journal(budget, 1 << 20, 2 << 20);
  EXPECT_EQ(journal.Append(std::string(16384, 'x') + "y"), "y");
  // Were there memory again: the file goes on, or the order would be lost.
  budget.limit = 1 << 20;
  EXPECT_EQ(journal.Append("z"), "z");
  EXPECT_EQ(journal.memory_bytes(), 16384U);
}

TEST(SmtpJournalTest, LetsGoWhereThereIsNeitherMemoryNorFile) {
  Budget budget;
  budget.limit = 20000;
  SmtpJournal journal(budget, 1 << 20, 1 << 20);
  EXPECT_EQ(journal.Append(std::string(16384, 'x')), "");
  EXPECT_FALSE(journal.loss());
  EXPECT_EQ(journal.Append("y"), "");
  EXPECT_EQ(journal.loss(), JournalLoss::kFull);
  EXPECT_EQ(budget.taken, 0U);
}

// A question has an answer that holds: memory is taken by then, and nothing is lost by asking.
TEST(SmtpJournalTest, ReservesMemoryBeforeItIsNeeded) {
  Budget budget;
  budget.limit = 32768;
  SmtpJournal journal(budget, 1 << 20, 1 << 20);
  EXPECT_TRUE(journal.Reserve(20000));
  EXPECT_EQ(budget.taken, 32768U);
  EXPECT_FALSE(journal.Reserve(32769));
  budget.limit = 0;
  EXPECT_EQ(journal.Append(std::string(20000, 'x')), "");
  EXPECT_TRUE(journal.Reserve(12768));
  EXPECT_FALSE(journal.Reserve(12769));
  EXPECT_FALSE(journal.loss());
  EXPECT_EQ(InMemory(journal), std::string(20000, 'x'));
  journal.Clear();
  EXPECT_EQ(budget.taken, 0U);
}

TEST(SmtpJournalTest, ReservesNoMoreThanItMayKeep) {
  Budget budget;
  SmtpJournal journal(budget, 100, 150);
  EXPECT_TRUE(journal.Reserve(150));
  EXPECT_FALSE(journal.Reserve(151));
  EXPECT_EQ(journal.Append(std::string(60, 'x')), "");
  EXPECT_TRUE(journal.Reserve(90));
  EXPECT_FALSE(journal.Reserve(91));
  journal.Lose(JournalLoss::kDisk);
  EXPECT_FALSE(journal.Reserve(1));
}

TEST(SmtpJournalTest, AsksTheDiskForWhatMemoryCannotTake) {
  Budget budget;
  budget.file_room = 50;
  SmtpJournal journal(budget, 100, 1000);
  EXPECT_TRUE(journal.Reserve(150));
  EXPECT_FALSE(journal.Reserve(151));
  EXPECT_EQ(journal.Append(std::string(101, 'x')).size(), 1U);
  EXPECT_TRUE(journal.Reserve(50));
  EXPECT_FALSE(journal.Reserve(51));
}

TEST(SmtpJournalTest, TheFirstReasonOfALossStays) {
  Budget budget;
  SmtpJournal journal(budget, 10, 20);
  journal.Lose(JournalLoss::kDisk);
  journal.Lose(JournalLoss::kFull);
  EXPECT_EQ(journal.loss(), JournalLoss::kDisk);
}

TEST(SmtpJournalTest, IsNewAfterClear) {
  Budget budget;
  {
    SmtpJournal journal(budget, 10, 0);
    EXPECT_EQ(journal.Append("more than ten bytes"), "");
    EXPECT_TRUE(journal.loss());
    journal.Clear();
    EXPECT_FALSE(journal.loss());
    EXPECT_EQ(journal.Append("ten bytes!"), "");
    EXPECT_EQ(InMemory(journal), "ten bytes!");
  }
  EXPECT_EQ(budget.taken, 0U);
}

}  // namespace
}  // namespace postern::proto
