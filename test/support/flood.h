// flood: what a peer says without end: a beginning, then one block again and again, as fast as the
// other side takes it.
//
// Thread:   its stream's.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "lb/io/stream.h"

namespace postern::test {

struct Flood {
  std::string head;        // once
  std::string block;       // again and again; empty: silence behind the head
  size_t num_blocks = 0;   // so many, as no test can wait for the last of infinitely many
  bool is_behind = false;  // the usual answer comes before it

  // About num_bytes of the words, which may be few: in blocks that weigh more than what holds them.
  static Flood Of(std::string head, const std::string& words, size_t num_bytes, bool is_behind) {
    constexpr size_t kLeastBytes = 4096;
    Flood flood{std::move(head), {}, 0, is_behind};
    while (!words.empty() && flood.block.size() < kLeastBytes) flood.block += words;
    if (!words.empty()) flood.num_blocks = num_bytes / flood.block.size();
    return flood;
  }

  // Call at the beginning and at kDrained: writes until the socket takes no more.
  void Pump(io::Stream& stream) {
    if (!head.empty()) stream.Write(head);
    head.clear();
    for (; num_blocks > 0 && !block.empty() && stream.Unsent() == 0; --num_blocks)
      stream.Write(block);
  }
};

}  // namespace postern::test
