// values: the words that configuration values are written in: durations, sizes, rates, names,
// replies.
//
// Every Parse... fills its result, or says what is wrong and how it would be right.
// Rules:    one whole number and a unit, nothing between: "5s", "64KiB", "10/10m". Replies as
//           RFC 5321 4.2 and RFC 3463 2.
// Tests:    test/conf/values_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postern::conf {

struct Refusal {
  std::string message;
  std::string hint;
};

// ms, s, m, h; up to ten years.
[[nodiscard]] std::optional<Refusal> ParseDuration(std::string_view text,
                                                   std::chrono::milliseconds& value);
// B, KiB, MiB, GiB.
[[nodiscard]] std::optional<Refusal> ParseSize(std::string_view text, uint64_t& bytes);
// "10/10m": so many in so long.
[[nodiscard]] std::optional<Refusal> ParseRate(std::string_view text, uint64_t& count,
                                               std::chrono::milliseconds& window);

// A name of the configuration (it becomes a metric label and a part of URLs): 1 to 64 letters,
// digits, '.', '_' and '-', not beginning with '.' or '-'.
[[nodiscard]] bool IsName(std::string_view text);
// A host name of RFC 1123 labels; no address, no trailing dot.
[[nodiscard]] bool IsHostname(std::string_view text);
// Text of one line: no control characters.
[[nodiscard]] bool IsOneLine(std::string_view text);

// An SMTP reply of one line whose code begins with this digit.
[[nodiscard]] std::optional<Refusal> CheckReply(std::string_view text, char first_digit);

// An RE2 expression and its replacement; tells which of the two is refused.
[[nodiscard]] std::optional<Refusal> CheckRewrite(const std::string& match, const std::string& to,
                                                  bool& is_match_bad);

// The known word nearest to a mistyped one (insertions, deletions, exchanges and swaps, letter case
// aside); empty if none is near.
[[nodiscard]] std::string_view Nearest(std::string_view word,
                                       const std::vector<std::string_view>& known);
// `did you mean "x"?`, or the known words if they are few, or nothing.
[[nodiscard]] std::string Suggest(std::string_view word,
                                  const std::vector<std::string_view>& known);
[[nodiscard]] std::string Quoted(std::string_view text);
// "a, b or c".
[[nodiscard]] std::string Listed(const std::vector<std::string_view>& words,
                                 std::string_view last_joint);
// Cut at every character of `separator`; no empty parts.
[[nodiscard]] std::vector<std::string_view> Split(std::string_view text, char separator = ' ');

}  // namespace postern::conf
