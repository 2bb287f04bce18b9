// smtp_dialogue_test: every dialogue file of SMTP, each a test of its own.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "test/support/smtp_dialogue.h"

namespace postern::test {
namespace {

std::vector<std::string> Files() {
  std::vector<std::string> files;
  const auto path = std::filesystem::path(POSTERN_SOURCE_DIR) / "test" / "dialogue" / "smtp";
  for (const auto& entry : std::filesystem::directory_iterator(path))
    if (entry.path().extension() == ".txt") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

class SmtpDialogueTest : public testing::TestWithParam<std::string> {};

TEST_P(SmtpDialogueTest, GoesAsWritten) {
  std::ifstream file(GetParam());
  const std::string script((std::istreambuf_iterator<char>(file)),
                           std::istreambuf_iterator<char>());
  EXPECT_EQ(RunSmtpDialogue(script), "") << GetParam();
}

INSTANTIATE_TEST_SUITE_P(Smtp, SmtpDialogueTest, testing::ValuesIn(Files()), [](const auto& file) {
  return std::filesystem::path(file.param).stem().string();
});

// The runner itself must notice.
TEST(SmtpDialogueRunnerTest, NoticesWhatGoesOtherwise) {
  const std::string begin = "P: 220 ...\nC: HELO c\nP: 250 mx.example\n";
  EXPECT_EQ(RunSmtpDialogue(begin), "");
  EXPECT_NE(RunSmtpDialogue("P: 220 other\n"), "");
  EXPECT_NE(RunSmtpDialogue("C: NOOP\n"), "");              // the greeting was not expected
  EXPECT_NE(RunSmtpDialogue(begin + "P: 250 more\n"), "");  // nothing more is said
  EXPECT_NE(RunSmtpDialogue(begin + "C: NOOP\n"), "");      // its answer is not expected
  EXPECT_NE(RunSmtpDialogue(begin + "B1 holds 1\n"), "");
  EXPECT_NE(RunSmtpDialogue(begin + "B1 got QUIT\n"), "");
  EXPECT_NE(RunSmtpDialogue(begin + "B1 dies\n"), "");
  EXPECT_NE(RunSmtpDialogue(begin + "tls\n"), "");
  EXPECT_NE(RunSmtpDialogue(begin + "expect end\n"), "");
  EXPECT_NE(RunSmtpDialogue(begin + "nonsense\n"), "");
  EXPECT_NE(RunSmtpDialogue("config nonsense=1\n"), "");
}

}  // namespace
}  // namespace postern::test
