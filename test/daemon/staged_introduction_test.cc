// staged_introduction_test: the plans that packaging/docs/staged-introduction.md shows are those
// that the examples make. POSTERN_WRITE_REFERENCE=1 renews them there.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>

#include "conf/load.h"
#include "lb/daemon/directories.h"
#include "lb/daemon/plan_printer.h"
#include "test/support/meters.h"
#include "test/support/sim_loop.h"

namespace postern::daemon {
namespace {

const std::string kExamples = std::string(POSTERN_SOURCE_DIR) + "/conf/examples/";
const std::string kDocument =
    std::string(POSTERN_SOURCE_DIR) + "/packaging/docs/staged-introduction.md";

// In place of the LDAP servers.
class Staff final : public io::Directory {
 public:
  std::optional<io::LookupAnswer> Ask(const io::LookupQuery& query, Done,
                                      std::unique_ptr<io::Lookup>&) override {
    static const std::map<std::string, std::string, std::less<>> kDepartments = {
        {"alice@example.com", "41"}, {"bob@example.com", "10"},   {"carol@example.com", "52"},
        {"dave@example.com", "45"},  {"grace@example.com", "10"}, {"heidi@example.com", "52"}};
    io::LookupAnswer answer;
    const auto found = kDepartments.find(query.key);
    answer.kind = found == kDepartments.end() ? io::LookupAnswer::Kind::kUnknown
                                              : io::LookupAnswer::Kind::kFound;
    if (found != kDepartments.end()) answer.value = found->second;
    return answer;
  }
};

class StagedIntroductionTest : public testing::Test {
 protected:
  StagedIntroductionTest() {
    std::filesystem::create_directory(folder_);
    std::ofstream(folder_ / "ldap.secret") << "secret\n";
    std::ofstream(folder_ / "regions.map") << "@osaka.example.com new\nbob@example.com new\n";
  }
  ~StagedIntroductionTest() override { std::filesystem::remove_all(folder_); }

  std::shared_ptr<session::Parts> Side(const std::string& example) {
    const std::filesystem::path file = folder_ / (example + ".json");
    std::filesystem::copy_file(kExamples + example + ".json", file,
                               std::filesystem::copy_options::overwrite_existing);
    conf::LoadResult loaded = conf::LoadFile(file.string(), {});
    for (const conf::Problem& error : loaded.errors) ADD_FAILURE() << error.ToString();
    if (!loaded.config) return nullptr;
    auto parts = std::make_shared<session::Parts>();
    parts->config = std::make_shared<const conf::Config>(std::move(*loaded.config));
    parts->router = std::make_shared<route::Router>(*parts->config);
    parts->user_key = std::make_shared<route::UserKey>(parts->config->users);
    parts->endpoints = std::make_shared<balance::EndpointTable>(*parts->config, book_);
    parts->directory_slots = meters_.registry.Configure(*parts->config).directories;
    const auto maps = MapLoader(base::SystemClock()).Take(*parts->config, *parts->user_key);
    EXPECT_TRUE(maps);
    for (size_t i = 0; i < parts->config->directories.size(); ++i) {
      if (const LoadedMap& map = (*maps)[i]; map.map != nullptr) {
        parts->directories.push_back(
            std::make_shared<directory::FileDirectory>(loop_, map.map, loop_.Now()));
      } else {
        parts->directories.push_back(std::make_shared<Staff>());
      }
    }
    return parts;
  }

  // What `postern explain --plan` prints of conf/examples/staged_users.txt.
  std::string PlanFor(const std::string& example, PlanQuestion question) {
    std::ifstream names(kExamples + "staged_users.txt");
    std::string printed;
    PlanPrinter printer(PlanPrinter::Form::kText, true,
                        [&printed](std::string_view text) { printed += text; });
    Plan plan(loop_, meters_.recorder, {Side("staged_before"), Side(example)}, std::move(question),
              names,
              {[&printer](const PlannedName& name) { printer.Say(name); },
               [](uint64_t line, const std::string& why) { ADD_FAILURE() << line << ": " << why; },
               [] {}});
    EXPECT_EQ(plan.Fault(), "");
    plan.Start();
    printer.End(plan.totals());
    EXPECT_EQ(plan.totals().num_names, 8U);
    EXPECT_EQ(plan.totals().num_unknown, 0U);
    EXPECT_GT(plan.totals().num_moved, 0U);
    EXPECT_LT(plan.totals().num_moved, 8U);
    return printed;
  }

  // The block of the document that begins with the command line has this output.
  static void ExpectShown(const std::string& command, const std::string& output) {
    std::ifstream file(kDocument);
    std::string document{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    const size_t begin = document.find("$ " + command + "\n");
    ASSERT_NE(begin, std::string::npos) << command;
    const size_t from = document.find('\n', begin) + 1;
    const size_t end = document.find("```", from);
    ASSERT_NE(end, std::string::npos);
    if (std::getenv("POSTERN_WRITE_REFERENCE") != nullptr) {
      document.replace(from, end - from, output);
      std::ofstream(kDocument) << document;
      return;
    }
    EXPECT_EQ(document.substr(from, end - from), output);
  }

  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() /
      ("postern_staged_" + std::to_string(std::hash<const void*>()(this)) +
       testing::UnitTest::GetInstance()->current_test_info()->name());
  test::SimLoop loop_;
  test::Meters meters_;
  balance::EndpointBook book_{1};
};

constexpr const char* kCommand = "postern explain -c staged_before.json --listener ";

TEST_F(StagedIntroductionTest, ByDepartment) {
  ExpectShown(std::string(kCommand) +
                  "imaps --plan staged_users.txt --against "
                  "staged_department.json",
              PlanFor("staged_department", {.listener = "imaps"}));
}

TEST_F(StagedIntroductionTest, ByRegion) {
  ExpectShown(std::string(kCommand) + "imaps --plan staged_users.txt --against staged_region.json",
              PlanFor("staged_region", {.listener = "imaps"}));
}

TEST_F(StagedIntroductionTest, ByTheClientsNetwork) {
  PlanQuestion question{.listener = "submission"};
  question.client = base::IpAddress::Parse("10.20.0.9");
  std::ifstream names(kExamples + "staged_users.txt");
  size_t num_moved = 0;
  Plan plan(loop_, meters_.recorder, {Side("staged_before"), Side("staged_region")}, question,
            names,
            {[&num_moved](const PlannedName& name) { num_moved += name.is_moved() ? 1 : 0; },
             [](uint64_t, const std::string&) {}, [] {}});
  plan.Start();
  EXPECT_EQ(num_moved, 8U);  // all who sit there
}

TEST_F(StagedIntroductionTest, ByPercent) {
  ExpectShown(std::string(kCommand) + "imaps --plan staged_users.txt --against staged_percent.json",
              PlanFor("staged_percent", {.listener = "imaps"}));
}

// Mail goes where the mailbox is.
TEST_F(StagedIntroductionTest, RecipientsGoWhereTheUsersGo) {
  for (const char* example : {"staged_department", "staged_percent"}) {
    std::map<std::string, std::string> homes;
    for (const char* listener : {"imaps", "mx"}) {
      std::istringstream names(
          "alice@example.com\nbob@example.com\ncarol@example.com\n"
          "dave@example.com\nerin@example.com\nheidi@example.com\n");
      Plan plan(loop_, meters_.recorder, {Side(example), nullptr}, {.listener = listener}, names,
                {[&](const PlannedName& name) {
                   const auto [other, is_new] = homes.emplace(name.name, name.now.home);
                   EXPECT_EQ(other->second, name.now.home) << example << " " << name.name;
                 },
                 [](uint64_t, const std::string&) {}, [] {}});
      plan.Start();
    }
    EXPECT_EQ(homes.size(), 6U);
  }
}

}  // namespace
}  // namespace postern::daemon
