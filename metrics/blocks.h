// blocks: counters of one thread, summed by whoever asks: one writer, no read-modify-write, no lock
// to add.
//
// A Block is a table of chunks that are made when first written to, so that it can grow while it is
// read.
// Thread:   Add: the owner's; Load: any.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "lb/base/check.h"
#include "metrics/recorder.h"

namespace postern::metrics {

struct Recorder::Block {
  static constexpr uint32_t kChunkSlots = 256;
  static constexpr uint32_t kMaxChunks = 8192;  // two million slots

  struct alignas(64) Chunk {
    std::array<std::atomic<int64_t>, kChunkSlots> slots{};
  };
  std::array<std::atomic<Chunk*>, kMaxChunks> chunks{};
  std::atomic<int> worker{-1};
  std::atomic<int64_t> sessions{0};
  std::atomic<int64_t> lag_ns{0};

  Block() = default;
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  ~Block() {
    for (auto& chunk : chunks) delete chunk.load();
  }

  void Add(Slot slot, int64_t count) {
    POSTERN_DCHECK(slot / kChunkSlots < kMaxChunks);
    std::atomic<Chunk*>& place = chunks[slot / kChunkSlots];
    Chunk* chunk = place.load(std::memory_order_relaxed);
    if (chunk == nullptr) {
      chunk = new Chunk;
      place.store(chunk, std::memory_order_release);
    }
    std::atomic<int64_t>& counter = chunk->slots[slot % kChunkSlots];
    counter.store(counter.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
  }

  [[nodiscard]] int64_t Load(Slot slot) const {
    const Chunk* chunk = chunks[slot / kChunkSlots].load(std::memory_order_acquire);
    return chunk == nullptr ? 0 : chunk->slots[slot % kChunkSlots].load(std::memory_order_relaxed);
  }
};

}  // namespace postern::metrics
