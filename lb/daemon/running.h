// running: the running process, asked by a command over its admin socket or address; and how an
// answer is read and printed.
//
// It is found by `admin` of a configuration, whatever else may be wrong with that file.
// Thread:   the command's; an answer is waited for.
// Tests:    test/integration/commands_test.py
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "conf/json.h"
#include "conf/load.h"
#include "lb/base/clock.h"

namespace postern::daemon {

struct Question {
  std::string method = "GET";
  std::string path{};  // and query, percent-encoded
  std::string body{};
  base::Duration timeout = std::chrono::seconds(30);
};
struct Answer {
  conf::json::Node root;
  std::string body;
};

// A good answer; nothing, and it has been said on stderr why, otherwise.
[[nodiscard]] std::optional<Answer> AskRunning(const std::string& config_path,
                                               const Question& question);

// "error: FILE:LINE: ..." on stderr.
void PrintProblem(const char* kind, const conf::Problem& problem);
// Those of an answer, as `check` prints them.
void PrintProblems(const char* kind, const std::vector<conf::json::Node>& problems);

// The text, or whole number, of a member; empty: it is not there.
[[nodiscard]] std::string TextOf(const conf::json::Node& object, std::string_view key);
// A number in few digits; "-": there is none.
[[nodiscard]] std::string NumberOf(const conf::json::Node& object, std::string_view key);
// The items of a list; none where it is not there.
[[nodiscard]] const std::vector<conf::json::Node>& ItemsOf(const conf::json::Node& object,
                                                           std::string_view key);

}  // namespace postern::daemon
