// agent_text: the words of an agent's line.
// SPDX-License-Identifier: Apache-2.0
#include "health/agent_text.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <system_error>

#include "health/depth.h"
#include "lb/base/escape.h"

namespace postern::health {
namespace {

constexpr uint32_t kMaxPercent = 25600;
constexpr uint32_t kMaxWeight = 256;
constexpr size_t kMaxSaidBytes = 100;

bool IsSeparator(char c) {
  return c == ' ' || c == '\t' || c == ',';
}

std::optional<uint32_t> TakeDigits(std::string_view& text) {
  uint64_t number = 0;
  size_t count = 0;
  while (count < text.size() && text[count] >= '0' && text[count] <= '9') {
    number = std::min<uint64_t>(number * 10 + static_cast<uint64_t>(text[count] - '0'), UINT32_MAX);
    ++count;
  }
  text.remove_prefix(count);
  if (count == 0) return std::nullopt;
  return static_cast<uint32_t>(number);
}

// "75%"; with may_be_absolute also "128".
bool TakeWeight(std::string_view word, bool may_be_absolute, AgentLine& line) {
  const auto number = TakeDigits(word);
  if (!number) return false;
  if (word == "%") {
    line.percent = std::min(*number, kMaxPercent);
    line.weight.reset();
    return true;
  }
  if (!may_be_absolute || !word.empty() || *number > kMaxWeight) return false;
  line.weight = *number;
  line.percent.reset();
  return true;
}

void TakeQueue(std::string_view word, AgentLine& line) {
  double depth = -1;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), depth);
  line.has_bad_queue =
      word.empty() || end != word.data() + word.size() || error != std::errc() || !IsDepth(depth);
  line.queue.reset();
  if (!line.has_bad_queue) line.queue = depth;
}

// True if the word is known and makes sense.
bool TakeWord(std::string_view word, AgentLine& line) {
  struct StateWord {
    std::string_view word;
    AgentLine::State state;
  };
  struct AdminWord {
    std::string_view word;
    AgentLine::Admin admin;
  };
  static constexpr StateWord kStates[] = {{"up", AgentLine::State::kUp},
                                          {"down", AgentLine::State::kDown},
                                          {"fail", AgentLine::State::kDown},
                                          {"stopped", AgentLine::State::kDown}};
  static constexpr AdminWord kAdmins[] = {{"ready", AgentLine::Admin::kReady},
                                          {"drain", AgentLine::Admin::kDrain},
                                          {"maint", AgentLine::Admin::kMaint}};
  static constexpr std::string_view kWeight = "weight:";
  static constexpr std::string_view kQueue = "queue:";
  static constexpr std::string_view kMaxconn = "maxconn:";  // a limit that Postern has its own for
  const auto say = [&line, word] {
    line.said += (line.said.empty() ? "" : " ") + base::ToLower(word);
    return true;
  };
  for (const StateWord& row : kStates) {
    if (!base::EqualsIgnoreCase(word, row.word)) continue;
    line.state = row.state;
    return say();
  }
  for (const AdminWord& row : kAdmins) {
    if (!base::EqualsIgnoreCase(word, row.word)) continue;
    line.admin = row.admin;
    return say();
  }
  if (base::StartsWithIgnoreCase(word, kWeight))
    return TakeWeight(word.substr(kWeight.size()), true, line);
  if (base::StartsWithIgnoreCase(word, kQueue)) {
    TakeQueue(word.substr(kQueue.size()), line);
    return true;
  }
  if (base::StartsWithIgnoreCase(word, kMaxconn)) return true;
  return TakeWeight(word, false, line);
}

}  // namespace

base::Result<AgentLine> ParseAgentLine(base::ByteView line) {
  AgentLine result;
  bool has_known_word = false;
  const std::string_view whole = line;
  while (!line.empty() && line.front() != '#') {
    if (IsSeparator(line.front())) {
      line.remove_prefix(1);
      continue;
    }
    const auto end = std::find_if(line.begin(), line.end(), IsSeparator);
    const auto size = static_cast<size_t>(end - line.begin());
    has_known_word |= TakeWord(line.substr(0, size), result);
    line.remove_prefix(size);
  }
  if (!has_known_word) {
    if (whole.empty()) return base::Error{"the agent said nothing"};
    return base::Error{"the agent's words are not understood: " + base::Printable(whole, 60)};
  }
  if (!line.empty() && !result.said.empty()) result.said += " " + std::string(line);
  result.said = base::Printable(result.said, kMaxSaidBytes);
  return result;
}

}  // namespace postern::health
