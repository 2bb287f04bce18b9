// examples_test: every example loads, and the schema accepts it.
// SPDX-License-Identifier: Apache-2.0
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "conf/load.h"
#include "test/conf/load_helper.h"
#include "test/conf/mini_schema.h"

namespace postern::conf {
namespace {

using nlohmann::json;
using testing::IsEmpty;

std::string ReadText(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

const std::vector<std::string>& Examples() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> found;
    for (const auto& entry :
         std::filesystem::directory_iterator(std::string(POSTERN_SOURCE_DIR) + "/conf/examples")) {
      if (entry.path().extension() == ".json") found.push_back(entry.path().stem().string());
    }
    std::sort(found.begin(), found.end());
    return found;
  }();
  return names;
}

std::string TextOf(const std::string& example) {
  return ReadText(std::string(POSTERN_SOURCE_DIR) + "/conf/examples/" + example + ".json");
}

json ParsedWithoutComments(const std::string& text) {
  return json::parse(text, nullptr, /*allow_exceptions=*/false, /*ignore_comments=*/true);
}

class ExampleTest : public testing::TestWithParam<std::string> {
 protected:
  // The example beside the files that it names.
  LoadResult LoadIt() {
    folder_.Write("admin.token", "token\n");
    folder_.Write("ldap.secret", "secret\n");
    folder_.Write("probe.secret", "secret\n");
    folder_.Write("people.map", "alice@example.com store-a\n@sales.example.com store-new\n");
    folder_.Write("regions.map", "@osaka.example.com new\nbob@example.com new\n");
    FileChecks checks;
    checks.pair = [&](const std::string& cert, const std::string& key) {
      pairs_.push_back(cert + " " + key);
      return std::optional<std::string>();
    };
    checks.knows_group = [](const std::string& group) { return group != "X25519MLKEM768"; };
    return LoadFile(folder_.Write("postern.json", TextOf(GetParam())), checks);
  }
  TempFolder folder_;
  std::vector<std::string> pairs_;
};

TEST_P(ExampleTest, Loads) {
  const LoadResult result = LoadIt();
  EXPECT_THAT(Texts(result.errors), IsEmpty());
  ASSERT_TRUE(result.config);
  EXPECT_FALSE(result.config->listeners.empty());
  EXPECT_FALSE(pairs_.empty());
}

// Only the example of everything may name what this build does not act on.
TEST_P(ExampleTest, HasNoWarning) {
  const LoadResult result = LoadIt();
  if (GetParam() == "contract") {
    for (const Problem& warning : result.warnings) {
      const bool is_expected =
          warning.message.find(" has no effect in this build yet") != std::string::npos ||
          warning.message.find("no rule asks directory") == 0 ||
          warning.message.find("this build's TLS library has no group") == 0;
      EXPECT_TRUE(is_expected) << warning.ToString();
    }
  } else {
    EXPECT_THAT(Texts(result.warnings), IsEmpty());
  }
}

TEST_P(ExampleTest, FitsTheSchema) {
  const json schema = json::parse(Schema());
  EXPECT_EQ(MiniSchema(schema).Fault(ParsedWithoutComments(TextOf(GetParam()))), "");
}

INSTANTIATE_TEST_SUITE_P(All, ExampleTest, testing::ValuesIn(Examples()),
                         [](const auto& param_info) { return param_info.param; });

TEST(ExamplesTest, TheOnesThatOperatorsLookForAreThere) {
  EXPECT_THAT(Examples(),
              testing::ElementsAre("contract", "imap_pop3", "lmtp", "lmtp_listener", "minimal",
                                   "mx", "staged_before", "staged_department", "staged_percent",
                                   "staged_region", "start", "submission", "tcp_sni"));
}

TEST(ExamplesTest, TheExampleOfEverythingShowsEveryTopLevelKey) {
  const json contract = ParsedWithoutComments(TextOf("contract"));
  const json schema = json::parse(Schema());
  for (const auto& [key, rule] : schema["properties"].items()) {
    if (key == "$schema" || key == "metrics") continue;
    EXPECT_TRUE(contract.contains(key)) << key;
  }
}

class SchemaTest : public testing::Test {
 protected:
  // What the schema says of the good configuration after one change.
  std::string FaultOf(const std::string& pointer, const std::string& value) {
    return MiniSchema(schema_).Fault(json::parse(Changed({{pointer, value}})));
  }
  const json schema_ = json::parse(Schema());
};

TEST_F(SchemaTest, AcceptsTheGoodConfiguration) {
  EXPECT_EQ(MiniSchema(schema_).Fault(json::parse(kGood)), "");
}

TEST_F(SchemaTest, RefusesWhatTheReaderRefuses) {
  const std::vector<Change> mistakes = {
      {"/limts", "{}"},
      {"/limits", R"({"lines": "8KiB"})"},
      {"/limits", R"({"line": "8K"})"},
      {"/limits", R"({"line": 8192})"},
      {"/timeouts", R"({"idle": 35})"},
      {"/timeouts", R"({"idle": "35"})"},
      {"/workers", "-1"},
      {"/workers", "1025"},
      {"/workers", "\"1\""},
      {"/weights", R"({"min_factor": 2})"},
      {"/users", R"({"lowercase": "true"})"},
      {"/listeners", "{}"},
      {"/listeners/0/protocol", R"("smpt")"},
      {"/listeners/0/route", ""},
      {"/listeners/0/address", R"([""])"},
      {"/backends/m1/imap/port", "0"},
      {"/backends/m1/imap/tls", R"("passthrough")"},
      {"/backends/m1/verify", R"("none")"},
      {"/backends/m1/queue", R"({"source": "agent", "soft": 1, "hard": 2})"},
      {"/backends/m1/queue",
       R"({"source": "agent", "soft": 1, "hard": 2, "address": "a:1", "url": "http://a"})"},
      {"/backends/a b", R"({"host": "a", "imap": {"port": 1, "tls": "none"}})"},
      {"/pools/mx/storage", R"("share")"},
      {"/directories", R"({"d": {"type": "ldap", "path": "x"}})"},
      {"/routes/in", "{}"},
      {"/routes/in/0/mixed", R"("relay")"},
      {"/health", R"({"login": {"user": "u", "password": {"fiel": "x"}}})"},
      {"/health", R"({"login": {"user": "u", "password": 5}})"},
  };
  for (const Change& mistake : mistakes) {
    EXPECT_NE(FaultOf(mistake.pointer, mistake.json), "") << mistake.pointer << " " << mistake.json;
    EXPECT_FALSE(LoadChanged({mistake}).config) << mistake.pointer << " " << mistake.json;
  }
}

TEST_F(SchemaTest, AcceptsWhatTheReaderAccepts) {
  const std::vector<Change> changes = {
      {"/$schema", R"("postern.schema.json")"},
      {"/limits", R"({"line": "512B", "exempt": "10.0.0.0/8"})"},
      {"/backends/m1/verify", R"({"ca": "x"})"},
      {"/backends/m1/queue", R"({"source": "agent", "soft": 0.5, "hard": 2, "address": "a:1"})"},
      {"/routes/in/0/mixed", R"({"relay": "mx"})"},
      {"/routes/in/0/mixed", R"("defer")"},
      {"/health", R"({"login": {"user": "u", "password": "p"}})"},
      {"/pools/mx/backends", R"("m1")"},
  };
  for (const Change& change : changes) {
    EXPECT_EQ(FaultOf(change.pointer, change.json), "") << change.pointer << " " << change.json;
    EXPECT_TRUE(LoadChanged({change}).config) << change.pointer << " " << change.json;
  }
}

// An independent judge of the same, where it is installed (Debian: python3-jsonschema).
TEST_F(SchemaTest, IsADraft202012SchemaThatAcceptsTheExamples) {
  EXPECT_EQ(schema_["$schema"], "https://json-schema.org/draft/2020-12/schema");
  const TempFolder folder;
  const std::string check = folder.Write("check.py", R"(
import json, sys
try:
    from jsonschema import Draft202012Validator
except ImportError:
    sys.exit(0)
schema = json.load(open(sys.argv[1]))
Draft202012Validator.check_schema(schema)
for path in sys.argv[2:]:
    for error in Draft202012Validator(schema).iter_errors(json.load(open(path))):
        print(path, error.json_path, error.message)
        sys.exit(1)
)");
  std::string command = "if command -v python3 >/dev/null; then python3 " + check + " " +
                        folder.Write("schema.json", Schema());
  for (const std::string& example : Examples())
    command += " " + folder.Write(example + ".json", ParsedWithoutComments(TextOf(example)).dump());
  const int status = std::system((command + "; fi").c_str());
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace postern::conf
