// state_bits: a set of states as bits, for the tables of states of the machines.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>

namespace postern::proto {

template <typename State>
[[nodiscard]] constexpr uint16_t StateBits(std::initializer_list<State> states) {
  uint16_t bits = 0;
  for (const State state : states) {
    bits = static_cast<uint16_t>(bits | (1U << static_cast<unsigned>(state)));
  }
  return bits;
}

}  // namespace postern::proto
