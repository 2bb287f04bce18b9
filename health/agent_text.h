// agent_text: what an agent says, by the grammar of HAProxy's agent-check, and `queue:N`.
//
// One line, ended by the first CR or LF; words separated by blanks, tabs and commas, in any case
// and order; of several of one kind the last counts; behind '#' a description. Words that are not
// known are passed over, as long as one is known.
// Tests:    test/health/agent_text_test.cc, test/fuzz/agent_text_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "lb/base/bytes.h"
#include "lb/base/result.h"

namespace postern::health {

struct AgentLine {
  enum class State : uint8_t { kUp, kDown };
  enum class Admin : uint8_t { kReady, kDrain, kMaint };

  std::optional<uint32_t> percent;  // "75%", "weight:75%"; at most 25600, as in HAProxy
  std::optional<uint32_t> weight;   // "weight:128", absolute, 0 to 256; excludes percent
  std::optional<State> state;
  std::optional<Admin> admin;
  std::optional<double> queue;  // queue:N
  bool has_bad_queue = false;   // queue: followed by what is no depth; then `queue` is nothing
  // The words of state and admin with the description, printable, at most 100 bytes or so.
  std::string said;
};

inline constexpr size_t kMaxAgentLineBytes = 4096;

// The line without its end. An error if no word is known.
[[nodiscard]] base::Result<AgentLine> ParseAgentLine(base::ByteView line);

}  // namespace postern::health
