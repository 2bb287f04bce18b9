// load_helper: small verbs for tests of the configuration: a folder, a good configuration to break,
// problems as text.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <ostream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "conf/load.h"

namespace postern::conf {

// A new folder, gone with this.
class TempFolder {
 public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "postern_conf_XXXXXX").string();
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    path_ = name;
  }
  ~TempFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  // Returns the file's path; folders on the way are made.
  std::string Write(const std::string& name, std::string_view text) const {
    const std::filesystem::path file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
    return file.string();
  }
  [[nodiscard]] std::string Path(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

inline std::vector<std::string> Texts(const std::vector<Problem>& problems) {
  std::vector<std::string> texts;
  for (const Problem& problem : problems) texts.push_back(problem.ToString());
  return texts;
}

// Without file, line and column.
inline std::vector<std::string> PlainTexts(const std::vector<Problem>& problems) {
  std::vector<std::string> texts;
  for (Problem problem : problems) {
    problem.file = "f";
    problem.line = 0;
    texts.push_back(problem.ToString().substr(3));
  }
  return texts;
}

inline LoadResult Load(std::string_view text) {
  return LoadText(text, "/etc/p.json", {});
}
inline std::vector<std::string> ErrorsOf(std::string_view text) {
  return Texts(Load(text).errors);
}

// A configuration without any error or warning, to be broken by a test.
inline constexpr std::string_view kGood = R"({
  "hostname": "mail.example.com",
  "tls": {"certificates": [{"cert": "a.crt", "key": "a.key"}]},
  "listeners": [
    {"name": "mx", "protocol": "smtp", "address": "0.0.0.0:25", "tls": "starttls", "route": "in"},
    {"name": "sub", "protocol": "submission", "address": "0.0.0.0:587", "tls": "starttls",
     "route": "out"},
    {"name": "imaps", "protocol": "imap", "address": "0.0.0.0:993", "tls": "implicit",
     "route": "users"},
    {"name": "pop3s", "protocol": "pop3", "address": "0.0.0.0:995", "tls": "implicit",
     "route": "users"}
  ],
  "backends": {
    "m1": {
      "host": "10.0.0.11",
      "smtp": {"port": 25, "tls": "starttls", "client_address": "xclient"},
      "submission": {"port": 587, "tls": "starttls"},
      "imap": {"port": 993, "tls": "implicit"},
      "pop3": {"port": 995, "tls": "implicit"}
    },
    "m2": {
      "host": "10.0.0.12",
      "smtp": {"port": 25, "tls": "starttls", "client_address": "xclient"},
      "imap": {"port": 993, "tls": "implicit"},
      "pop3": {"port": 995, "tls": "implicit"}
    }
  },
  "pools": {
    "mx": {"backends": ["m1", "m2"]},
    "out": {"backends": ["m1"]},
    "store": {"backends": ["m1", "m2"], "storage": "shared"}
  },
  "routes": {
    "in": [{"recipient": "*@example.com", "pool": "mx"}, {"reject": "550 5.7.1 Relaying denied"}],
    "out": [{"pool": "out"}],
    "users": [{"name": "admin", "user": "admin@example.com", "backend": "m1"},
              {"name": "rest", "pool": "store"}]
  }
})";

// One change of kGood: what a JSON pointer names becomes this JSON text, or goes if it is empty.
struct Change {
  std::string pointer;
  std::string json;
};

inline std::string Changed(const std::vector<Change>& changes) {
  nlohmann::ordered_json config = nlohmann::ordered_json::parse(kGood);
  for (const Change& change : changes) {
    const nlohmann::ordered_json::json_pointer pointer(change.pointer);
    if (change.json.empty()) {
      nlohmann::ordered_json& parent = config.at(pointer.parent_pointer());
      if (parent.is_array()) {
        parent.erase(std::stoul(pointer.back()));
      } else {
        parent.erase(pointer.back());
      }
    } else {
      config[pointer] = nlohmann::ordered_json::parse(change.json);
    }
  }
  return config.dump(2);
}

inline LoadResult LoadChanged(const std::vector<Change>& changes, const FileChecks& checks = {}) {
  return LoadText(Changed(changes), "/etc/p.json", checks);
}

}  // namespace postern::conf
