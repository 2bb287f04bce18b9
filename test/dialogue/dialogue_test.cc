// dialogue_test: every dialogue file of the mailbox protocols, each a test of its own.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "test/support/dialogue_runner.h"

namespace postern::test {
namespace {

std::vector<std::string> Files() {
  std::vector<std::string> files;
  for (const char* folder : {"imap", "pop3"}) {
    const auto path = std::filesystem::path(POSTERN_SOURCE_DIR) / "test" / "dialogue" / folder;
    for (const auto& entry : std::filesystem::directory_iterator(path))
      if (entry.path().extension() == ".txt") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

class DialogueTest : public testing::TestWithParam<std::string> {};

TEST_P(DialogueTest, GoesAsWritten) {
  EXPECT_EQ(RunDialogueFile(GetParam()), "") << GetParam();
}

INSTANTIATE_TEST_SUITE_P(Mail, DialogueTest, testing::ValuesIn(Files()), [](const auto& file) {
  const std::filesystem::path path(file.param);
  std::string name = path.parent_path().filename().string() + "_" + path.stem().string();
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !isalnum(static_cast<unsigned char>(c)); },
      '_');
  return name;
});

}  // namespace
}  // namespace postern::test
