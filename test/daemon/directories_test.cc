// directories_test: maps are read once, kept as long as nothing has changed, and refused whole.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/directories.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace postern::daemon {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;

class DirectoriesTest : public testing::Test {
 protected:
  DirectoriesTest() {
    config_.pools.resize(1);
    config_.pools[0].name = "store";
    config_.backends.resize(2);
    config_.backends[0].name = "mail1";
    config_.backends[1].name = "mail2";
    Add("people", conf::Directory::Type::kFile).path =
        Write("people.map", "alice@x.example mail1\n");
  }
  ~DirectoriesTest() override { std::filesystem::remove_all(folder_); }

  conf::Directory& Add(const std::string& name, conf::Directory::Type type) {
    conf::Directory& directory = config_.directories.emplace_back();
    directory.name = name;
    directory.type = type;
    return directory;
  }
  // By another file of that name, as careful writers do.
  std::string Write(const std::string& name, const std::string& text) {
    const std::string path = folder_ / name;
    std::ofstream(path + ".new") << text;
    std::filesystem::rename(path + ".new", path);
    return path;
  }
  base::Result<LoadedMaps> Load(const conf::Config* known = nullptr,
                                const LoadedMaps* maps = nullptr) {
    return LoadMaps(config_, route::UserKey(config_.users), known, maps,
                    base::MonoTime(seconds(1)));
  }

  std::filesystem::path folder_ = [] {
    std::string name = testing::TempDir() + "directories-XXXXXX";
    return std::filesystem::path(mkdtemp(name.data()));
  }();
  conf::Config config_;
};

TEST_F(DirectoriesTest, AMapIsRead) {
  Add("cloud", conf::Directory::Type::kRedis);
  const auto maps = Load();
  ASSERT_TRUE(maps) << maps.error();
  ASSERT_EQ(maps.value().size(), 2U);
  ASSERT_NE(maps.value()[0].map, nullptr);
  EXPECT_EQ(*maps.value()[0].map->Find("alice@x.example"), "mail1");
  EXPECT_EQ(maps.value()[1].map, nullptr);
}

TEST_F(DirectoriesTest, WhatHasNotChangedIsKept) {
  const auto first = Load();
  ASSERT_TRUE(first);
  const conf::Config before = config_;
  const auto again = Load(&before, &first.value());
  ASSERT_TRUE(again);
  EXPECT_EQ(again.value()[0].map, first.value()[0].map);
}

TEST_F(DirectoriesTest, AnotherFileIsReadAnew) {
  const auto first = Load();
  ASSERT_TRUE(first);
  const conf::Config before = config_;
  Write("people.map", "alice@x.example mail2\n");
  const auto again = Load(&before, &first.value());
  ASSERT_TRUE(again);
  EXPECT_EQ(*again.value()[0].map->Find("alice@x.example"), "mail2");
}

TEST_F(DirectoriesTest, OtherUsersAreReadAnew) {
  const auto first = Load();
  ASSERT_TRUE(first);
  const conf::Config before = config_;
  config_.users.lowercase = false;
  const auto again = Load(&before, &first.value());
  ASSERT_TRUE(again);
  EXPECT_NE(again.value()[0].map, first.value()[0].map);
}

TEST_F(DirectoriesTest, AllThatIsWrongIsToldWithItsPlace) {
  const std::string path = Write("people.map", "alice@x.example\nbob@x.example mail1 mail2\n");
  Add("gone", conf::Directory::Type::kFile).path = folder_ / "gone.map";
  const auto maps = Load();
  ASSERT_FALSE(maps);
  EXPECT_THAT(maps.error(), HasSubstr("directory people: " + path + ":1: "));
  EXPECT_THAT(maps.error(), HasSubstr("directory people: " + path + ":2: "));
  EXPECT_THAT(maps.error(), HasSubstr("directory gone: "));
}

TEST_F(DirectoriesTest, NamesAreThoseOfTheMapOfTheTableOrAll) {
  Add("ad", conf::Directory::Type::kLdap).table = {{"*", "mail2"}};
  Add("cloud", conf::Directory::Type::kRedis);
  const auto maps = Load();
  ASSERT_TRUE(maps);
  EXPECT_THAT(NamesAnsweredBy(config_, maps.value()),
              ElementsAre(ElementsAre("mail1"), ElementsAre("mail2"),
                          ElementsAre("store", "mail1", "mail2")));
}

}  // namespace
}  // namespace postern::daemon
