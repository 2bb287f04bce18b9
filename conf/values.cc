// values: parsing and judging single values.
// SPDX-License-Identifier: Apache-2.0
#include "conf/values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include <re2/re2.h>

#include "lb/base/bytes.h"

namespace postern::conf {
namespace {

using std::chrono::milliseconds;

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}
bool IsLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

struct Unit {
  std::string_view name;
  uint64_t factor;
};
constexpr Unit kDurationUnits[] = {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}};
constexpr Unit kSizeUnits[] = {{"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}};

// What people write instead, and what they mean.
constexpr std::pair<std::string_view, std::string_view> kDurationSlips[] = {
    {"sec", "s"},  {"secs", "s"},  {"second", "s"}, {"seconds", "s"},
    {"min", "m"},  {"mins", "m"},  {"minute", "m"}, {"minutes", "m"},
    {"hour", "h"}, {"hours", "h"}, {"msec", "ms"},  {"millis", "ms"}};
constexpr std::pair<std::string_view, std::string_view> kSizeSlips[] = {
    {"k", "KiB"}, {"kb", "KiB"}, {"kib", "KiB"}, {"m", "MiB"},   {"mb", "MiB"}, {"mib", "MiB"},
    {"g", "GiB"}, {"gb", "GiB"}, {"gib", "GiB"}, {"bytes", "B"}, {"byte", "B"}, {"b", "B"}};

constexpr uint64_t kMaxDuration = 10ull * 365 * 24 * 3'600'000;
constexpr uint64_t kMaxSize = 1ull << 50;

template <size_t kUnits, size_t kSlips>
std::optional<Refusal> ParseQuantity(
    std::string_view text, const Unit (&units)[kUnits],
    const std::pair<std::string_view, std::string_view> (&slips)[kSlips], uint64_t maximum,
    std::string_view what, std::string_view form, uint64_t& value) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
  const std::string digits(text.data(), end);
  if (digits.empty() || error != std::errc())
    return Refusal{Quoted(text) + " is not " + std::string(what), std::string(form)};
  for (const Unit& known : units) {
    if (unit != known.name) continue;
    if (number > maximum / known.factor) return Refusal{Quoted(text) + " is too much", ""};
    value = number * known.factor;
    return std::nullopt;
  }
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  std::string_view meant;
  for (const Unit& known : units)
    if (base::EqualsIgnoreCase(unit, known.name)) meant = known.name;
  for (const auto& [slip, right] : slips)
    if (base::EqualsIgnoreCase(unit, slip)) meant = right;
  std::string hint =
      meant.empty() ? std::string(form) : "write " + Quoted(digits + std::string(meant));
  if (unit == "d" && number < 100'000) hint = "write " + Quoted(std::to_string(number * 24) + "h");
  return Refusal{
      unit.empty() ? Quoted(text) + " has no unit" : Quoted(text) + " is not " + std::string(what),
      std::move(hint)};
}

}  // namespace

std::optional<Refusal> ParseDuration(std::string_view text, milliseconds& value) {
  uint64_t count = 0;
  auto refusal = ParseQuantity(text, kDurationUnits, kDurationSlips, kMaxDuration, "a duration",
                               "a whole number with ms, s, m or h, for example \"30s\"", count);
  if (!refusal) value = milliseconds(count);
  return refusal;
}

std::optional<Refusal> ParseSize(std::string_view text, uint64_t& bytes) {
  return ParseQuantity(text, kSizeUnits, kSizeSlips, kMaxSize, "a size",
                       "a whole number with KiB, MiB, GiB or B, for example \"64KiB\"", bytes);
}

std::optional<Refusal> ParseRate(std::string_view text, uint64_t& count, milliseconds& window) {
  const size_t slash = text.find('/');
  uint64_t number = 0;
  milliseconds duration{0};
  bool is_good = slash != std::string_view::npos;
  if (is_good) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + slash, number);
    is_good = error == std::errc() && end == text.data() + slash && number > 0 &&
              !ParseDuration(text.substr(slash + 1), duration) && duration.count() > 0;
  }
  if (!is_good)
    return Refusal{Quoted(text) + " is not a rate",
                   "a count, '/' and a duration, for example \"10/10m\""};
  count = number;
  window = duration;
  return std::nullopt;
}

bool IsName(std::string_view text) {
  if (text.empty() || text.size() > 64 || text.front() == '.' || text.front() == '-') return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return IsLetter(c) || IsDigit(c) || c == '.' || c == '_' || c == '-';
  });
}

bool IsHostname(std::string_view text) {
  if (text.empty() || text.size() > 253) return false;
  size_t label_size = 0;
  bool is_numeric = true;  // of the last label: then it would be read as an address
  char before = '.';
  for (const char c : text) {
    if (c == '.') {
      if (label_size == 0 || before == '-') return false;
      label_size = 0;
      is_numeric = true;
    } else {
      if (!IsLetter(c) && !IsDigit(c) && c != '_' && !(c == '-' && label_size > 0)) return false;
      if (++label_size > 63) return false;
      is_numeric = is_numeric && IsDigit(c);
    }
    before = c;
  }
  return label_size > 0 && before != '-' && !is_numeric;
}

bool IsOneLine(std::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

std::optional<Refusal> CheckReply(std::string_view text, char first_digit) {
  const std::string example = first_digit == '5' ? "for example \"550 5.7.1 Relaying denied\""
                                                 : "for example \"451 4.3.0 Try again later\"";
  const std::string digit(1, first_digit);
  const auto is_code = [&] {
    return text.size() >= 3 && text[0] == first_digit && text[1] >= '0' && text[1] <= '5' &&
           IsDigit(text[2]) && (text.size() == 3 || text[3] == ' ');
  };
  if (!is_code())
    return Refusal{"the reply does not begin with a code of the form " + digit + "xx", example};
  if (text.substr(0, 3) == "421")
    return Refusal{"421 would announce the end of the connection", example};
  if (text.size() > 510) return Refusal{"the reply is longer than 510 characters", ""};
  if (!std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; }))
    return Refusal{"a reply is one line of printable ASCII", example};
  const std::string_view rest = text.size() > 4 ? text.substr(4) : std::string_view();
  if (rest.empty()) return Refusal{"the reply has no text", example};
  // An enhanced code, if it looks like one, must be of the same class.
  if (rest.size() > 1 && IsDigit(rest[0]) && rest[1] == '.' && rest[0] != first_digit)
    return Refusal{"the enhanced code's class is not " + digit, example};
  return std::nullopt;
}

std::optional<Refusal> CheckRewrite(const std::string& match, const std::string& to,
                                    bool& is_match_bad) {
  re2::RE2::Options options;
  options.set_log_errors(false);
  const re2::RE2 expression(match, options);
  is_match_bad = !expression.ok();
  if (is_match_bad) return Refusal{"the expression is not valid: " + expression.error(), "RE2"};
  std::string error;
  if (expression.CheckRewriteString(to, &error)) return std::nullopt;
  const int num_groups = expression.NumberOfCapturingGroups();
  return Refusal{"the replacement does not fit its expression",
                 "the expression has " + std::to_string(num_groups) +
                     (num_groups == 1 ? " group" : " groups") + "; a backslash is \\\\ in JSON"};
}

namespace {

// Optimal string alignment distance; words longer than 64 are not compared.
size_t Distance(std::string_view a, std::string_view b) {
  constexpr size_t kMax = 64;
  if (a.size() > kMax || b.size() > kMax) return std::numeric_limits<size_t>::max();
  std::array<std::array<size_t, kMax + 1>, 3> rows{};
  for (size_t j = 0; j <= b.size(); ++j) rows[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    auto& now = rows[i % 3];
    const auto& before = rows[(i + 2) % 3];
    const auto& two_before = rows[(i + 1) % 3];
    now[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t cost = a[i - 1] == b[j - 1] ? 0 : 1;
      now[j] = std::min({before[j] + 1, now[j - 1] + 1, before[j - 1] + cost});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        now[j] = std::min(now[j], two_before[j - 2] + 1);
    }
  }
  return rows[a.size() % 3][b.size()];
}

}  // namespace

std::string_view Nearest(std::string_view word, const std::vector<std::string_view>& known) {
  const std::string lower = base::ToLower(word.substr(0, 65));
  std::string_view best;
  size_t best_distance = std::max<size_t>(1, lower.size() / 3) + 1;
  for (const std::string_view candidate : known) {
    const size_t distance = Distance(lower, base::ToLower(candidate));
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::string Suggest(std::string_view word, const std::vector<std::string_view>& known) {
  constexpr size_t kFew = 24;
  if (const std::string_view near = Nearest(word, known); !near.empty())
    return "did you mean " + Quoted(near) + "?";
  if (known.empty() || known.size() > kFew) return "";
  return "known: " + Listed(known, ", ");
}

std::string Quoted(std::string_view text) {
  constexpr size_t kMaxShown = 100;
  std::string quoted = "\"";
  quoted += text.substr(0, kMaxShown);
  if (text.size() > kMaxShown) {
    // Not in the middle of a character.
    while (quoted.size() > 1 && (static_cast<unsigned char>(quoted.back()) & 0xC0) == 0x80)
      quoted.pop_back();
    if (static_cast<unsigned char>(quoted.back()) >= 0xC0) quoted.pop_back();
    quoted += "...";
  }
  return quoted + "\"";
}

std::string Listed(const std::vector<std::string_view>& words, std::string_view last_joint) {
  std::string listed;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i > 0) listed += i + 1 == words.size() ? last_joint : ", ";
    listed += words[i];
  }
  return listed;
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const size_t end = text.find(separator);
    if (end != 0) parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return parts;
}

}  // namespace postern::conf
