// directories_test: maps are read once, kept as long as nothing has changed, and refused whole.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/directories.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "lb/base/rng.h"
#include "test/directory/directory_world.h"
#include "test/support/sim_loop.h"
#include "test/support/sim_net.h"
#include "test/support/told_resolver.h"

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
  // before: in force, with its maps.
  base::Result<LoadedMaps> Load(std::shared_ptr<const conf::Config> before = nullptr,
                                const LoadedMaps& maps = {}) {
    MapLoader loader(base::SystemClock(), std::move(before), maps);
    return loader.Take(config_, route::UserKey(config_.users));
  }
  std::shared_ptr<const conf::Config> InForce() const {
    return std::make_shared<const conf::Config>(config_);
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
  const auto before = InForce();
  const auto again = Load(before, first.value());
  ASSERT_TRUE(again);
  EXPECT_EQ(again.value()[0].map, first.value()[0].map);
}

TEST_F(DirectoriesTest, AnotherFileIsReadAnew) {
  const auto first = Load();
  ASSERT_TRUE(first);
  const auto before = InForce();
  Write("people.map", "alice@x.example mail2\n");
  const auto again = Load(before, first.value());
  ASSERT_TRUE(again);
  EXPECT_EQ(*again.value()[0].map->Find("alice@x.example"), "mail2");
}

TEST_F(DirectoriesTest, OtherUsersAreReadAnew) {
  const auto first = Load();
  ASSERT_TRUE(first);
  const auto before = InForce();
  config_.users.lowercase = false;
  const auto again = Load(before, first.value());
  ASSERT_TRUE(again);
  EXPECT_NE(again.value()[0].map, first.value()[0].map);
}

TEST_F(DirectoriesTest, AFileIsReadOnceHoweverOftenItIsAskedFor) {
  const std::string path = config_.directories[0].path;
  MapLoader loader(base::SystemClock());
  EXPECT_THAT(loader.Check(path, config_.users).first_lines,
              ElementsAre(testing::Pair("mail1", 1)));
  std::filesystem::remove(path);
  Add("twin", conf::Directory::Type::kFile).path = path;
  const auto maps = loader.Take(config_, route::UserKey(config_.users));
  ASSERT_TRUE(maps) << maps.error();
  EXPECT_EQ(maps.value()[0].map, maps.value()[1].map);
}

TEST_F(DirectoriesTest, AMapInForceIsNotReadToBeChecked) {
  const std::string path = config_.directories[0].path;
  const auto first = Load();
  ASSERT_TRUE(first);
  std::atomic<bool> stop = true;  // nothing can be read any more
  MapLoader loader(base::SystemClock(), InForce(), first.value(), &stop);
  EXPECT_THAT(loader.Check(path, config_.users).first_lines,
              ElementsAre(testing::Pair("mail1", 1)));
  EXPECT_TRUE(loader.Take(config_, route::UserKey(config_.users)));
  Write("people.map", "alice@x.example mail2\n");
  MapLoader other(base::SystemClock(), InForce(), first.value(), &stop);
  EXPECT_FALSE(other.Take(config_, route::UserKey(config_.users)));
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

// A thread's own directories, over reloads: a server of Redis, one of nginx's protocol, a map.
class OwnDirectoriesTest : public DirectoriesTest {
 protected:
  OwnDirectoriesTest() {
    conf::Directory& cloud = Add("cloud", conf::Directory::Type::kRedis);
    cloud.addresses = {"10.0.0.1:6379"};
    cloud.key = "%u";
    Add("zimbra", conf::Directory::Type::kAuthHttp).urls = {"http://10.0.0.2/"};
    redis_.script = [this](test::SimStream& stream, std::string& received) {
      if (!is_silent_) stream.Write("$5\r\nmail1\r\n");
      received.clear();
    };
    Use();
  }
  ~OwnDirectoriesTest() override {
    own_.reset();
    before_.clear();
    loop_.RunReady();
  }
  // As at a start, or a reload.
  void Use() {
    before_ = own_->all();
    auto maps = Load(known_, maps_);
    ASSERT_TRUE(maps) << maps.error();
    maps_ = std::move(maps).value();
    known_ = std::make_shared<const conf::Config>(config_);
    DirectoryTls tls(config_.directories.size());
    tls[kZimbra].push_back(tls_);
    own_->Use(known_, maps_, tls);
  }
  [[nodiscard]] bool IsKept(size_t directory) const {
    return own_->all()[directory] == before_[directory];
  }
  void Ask(size_t directory, std::unique_ptr<io::Lookup>& pending) {
    answer_ = own_->all()[directory]->Ask(
        {"alice@x.example", nullptr}, [this](const io::LookupAnswer& late) { answer_ = late; },
        pending);
  }
  io::LookupAnswer Answer(size_t directory) {
    std::unique_ptr<io::Lookup> pending;
    Ask(directory, pending);
    loop_.RunUntil([this] { return answer_.has_value(); });
    return *answer_;
  }

  static constexpr size_t kPeople = 0, kCloud = 1, kZimbra = 2;
  test::SimLoop loop_;
  base::SeededRng rng_{1};
  test::SimNet net_{loop_, rng_};
  test::ToldResolver resolver_{loop_};
  directory::ScriptedServer redis_{net_, "10.0.0.1:6379"};
  bool is_silent_ = false;
  std::optional<OwnDirectories> own_{std::in_place, loop_, net_, net_, resolver_};
  std::shared_ptr<const conf::Config> known_;
  LoadedMaps maps_;
  std::shared_ptr<const io::TlsSettings> tls_;
  std::vector<std::shared_ptr<io::Directory>> before_;
  std::optional<io::LookupAnswer> answer_;
};

TEST_F(OwnDirectoriesTest, WhatIsRememberedOutlivesAReload) {
  EXPECT_EQ(Answer(kCloud).value, "mail1");
  Use();
  for (const size_t each : {kCloud, kZimbra}) EXPECT_TRUE(IsKept(each)) << each;
  EXPECT_TRUE(Answer(kCloud).is_cached);
  EXPECT_EQ(redis_.num_connections, 1);
}

TEST_F(OwnDirectoriesTest, AConnectionOutlivesAReload) {
  config_.directories[kCloud].cache_hit = {};
  config_.directories[kCloud].cache_stale = {};
  Use();
  (void)Answer(kCloud);
  Use();
  EXPECT_EQ(Answer(kCloud).value, "mail1");
  EXPECT_EQ(redis_.num_connections, 1);
}

TEST_F(OwnDirectoriesTest, ADirectoryThatFailsIsLeftAloneAfterAReloadToo) {
  redis_.SetDoor(test::SimNet::Door::kRefuses);
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(Answer(kCloud).was_not_asked);
  Use();
  EXPECT_TRUE(Answer(kCloud).was_not_asked);
}

TEST_F(OwnDirectoriesTest, OneThatIsChangedIsAnother) {
  config_.directories[kCloud].password = base::Secret("new");
  config_.directories[kZimbra].headers["X-Auth-Key"] = base::Secret("new");
  Use();
  EXPECT_FALSE(IsKept(kCloud));
  EXPECT_FALSE(IsKept(kZimbra));
}

TEST_F(OwnDirectoriesTest, ItsPlaceInTheConfigurationDoesNotCount) {
  std::swap(config_.directories[kZimbra], config_.directories[kCloud]);
  Use();
  EXPECT_EQ(own_->all()[kZimbra], before_[kCloud]);
  EXPECT_EQ(own_->all()[kCloud], before_[kZimbra]);
}

TEST_F(OwnDirectoriesTest, ADirectoryThatIsGoneAnswersWhoeverHasAsked) {
  is_silent_ = true;
  std::unique_ptr<io::Lookup> pending;
  Ask(kCloud, pending);
  loop_.RunFor(std::chrono::milliseconds(100));
  std::shared_ptr<io::Directory> asked = own_->all()[kCloud];  // as a session's Parts do
  config_.directories.resize(1);
  before_.clear();
  maps_.resize(1);
  known_ = std::make_shared<const conf::Config>(config_);
  own_->Use(known_, maps_, DirectoryTls(1));
  redis_.streams.back()->Write("$5\r\nmail2\r\n");
  loop_.RunFor(std::chrono::milliseconds(100));
  ASSERT_TRUE(answer_);
  EXPECT_EQ(answer_->value, "mail2");
  const std::weak_ptr<io::Directory> last = asked;
  pending.reset();
  asked.reset();
  EXPECT_TRUE(last.expired());
}

TEST_F(OwnDirectoriesTest, AMapIsThatOfItsConfiguration) {
  Write("people.map", "alice@x.example mail2\n");
  Use();
  EXPECT_EQ(Answer(kPeople).value, "mail2");
  // Whoever is under way by the old configuration.
  std::unique_ptr<io::Lookup> pending;
  const auto answer = before_[kPeople]->Ask({"alice@x.example", nullptr}, nullptr, pending);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->value, "mail1");
}

}  // namespace
}  // namespace postern::daemon
