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
  size_t limit = 1 << 20;
  size_t taken = 0;
};

std::string All(const SmtpJournal& journal) {
  std::string text;
  for (size_t i = 0; i < journal.num_blocks(); ++i) text += journal.Block(i);
  return text;
}

TEST(SmtpJournalTest, KeepsTheTextInOrder) {
  Budget budget;
  SmtpJournal journal(budget, 100000);
  std::string text;
  for (int i = 0; i < 9000; ++i) {
    const std::string piece = std::to_string(i) + "\r\n";
    journal.Append(piece);
    text += piece;
  }
  EXPECT_EQ(All(journal), text);
  EXPECT_EQ(journal.size(), text.size());
  EXPECT_GE(budget.taken, text.size());
}

TEST(SmtpJournalTest, TakesOneLargePiece) {
  Budget budget;
  SmtpJournal journal(budget, 100000);
  const std::string text(50000, 'x');
  journal.Append(text);
  EXPECT_EQ(All(journal), text);
}

TEST(SmtpJournalTest, LetsGoOfEverythingBeyondItsLimit) {
  Budget budget;
  SmtpJournal journal(budget, 100);
  journal.Append(std::string(100, 'x'));
  EXPECT_FALSE(journal.has_overflowed());
  journal.Append("y");
  EXPECT_TRUE(journal.has_overflowed());
  EXPECT_EQ(budget.taken, 0U);
  journal.Append("z");
  EXPECT_EQ(journal.size(), 0U);
}

TEST(SmtpJournalTest, LetsGoWhereTheProcessHasNoMoreToGive) {
  Budget budget;
  budget.limit = 20000;
  SmtpJournal journal(budget, 1 << 20);
  journal.Append(std::string(16384, 'x'));
  EXPECT_FALSE(journal.has_overflowed());
  journal.Append("y");
  EXPECT_TRUE(journal.has_overflowed());
  EXPECT_EQ(budget.taken, 0U);
}

TEST(SmtpJournalTest, IsNewAfterClear) {
  Budget budget;
  {
    SmtpJournal journal(budget, 10);
    journal.Append("more than ten bytes");
    journal.Clear();
    EXPECT_FALSE(journal.has_overflowed());
    journal.Append("ten bytes!");
    EXPECT_EQ(All(journal), "ten bytes!");
  }
  EXPECT_EQ(budget.taken, 0U);
}

}  // namespace
}  // namespace postern::proto
