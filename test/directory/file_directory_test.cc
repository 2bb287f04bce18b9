// file_directory_test: a map as a directory.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/file_directory.h"

#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "conf/config.h"
#include "test/support/sim_loop.h"

namespace postern::directory {
namespace {

using Kind = io::LookupAnswer::Kind;

std::shared_ptr<const FileMap> MapOf(std::string_view text) {
  return FileMap::Parse(text, "m", route::UserKey(conf::Users{})).map;
}

class FileDirectoryTest : public testing::Test {
 protected:
  io::LookupAnswer Ask(std::string_view key) {
    std::unique_ptr<io::Lookup> pending;
    const auto answer = directory_.Ask(
        {key}, [](const io::LookupAnswer&) { ADD_FAILURE() << "answered twice"; }, pending);
    EXPECT_EQ(pending, nullptr);
    EXPECT_TRUE(answer.has_value());
    loop_.RunReady();
    return answer.value_or(io::LookupAnswer{});
  }
  test::SimLoop loop_;
  FileDirectory directory_{loop_, MapOf("alice@x store-a\n"), loop_.Now()};
};

TEST_F(FileDirectoryTest, AnswersAtOnce) {
  EXPECT_EQ(Ask("alice@x").kind, Kind::kFound);
  EXPECT_EQ(Ask("alice@x").value, "store-a");
  EXPECT_EQ(Ask("bob@x").kind, Kind::kUnknown);
  EXPECT_EQ(Ask("bob@x").value, "");
}

TEST_F(FileDirectoryTest, AnswersAreAsOldAsTheMap) {
  loop_.RunFor(std::chrono::seconds(90));
  EXPECT_EQ(Ask("alice@x").age, std::chrono::seconds(90));
  EXPECT_EQ(Ask("bob@x").age, std::chrono::seconds(90));
  EXPECT_FALSE(Ask("alice@x").is_stale);
}

TEST_F(FileDirectoryTest, ANewMapTakesTheOldOnesPlace) {
  loop_.RunFor(std::chrono::seconds(90));
  directory_.Replace(MapOf("bob@x store-b\n"), loop_.Now());
  EXPECT_EQ(Ask("alice@x").kind, Kind::kUnknown);
  EXPECT_EQ(Ask("bob@x").value, "store-b");
  EXPECT_EQ(Ask("bob@x").age, base::Duration(0));
}

TEST_F(FileDirectoryTest, NoAnswerIsOfTheFuture) {
  directory_.Replace(MapOf("bob@x store-b\n"), loop_.Now() + std::chrono::milliseconds(1));
  EXPECT_EQ(Ask("bob@x").age, base::Duration(0));
}

}  // namespace
}  // namespace postern::directory
