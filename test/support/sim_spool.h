// sim_spool: io::Spool on a disk of memory, on virtual time, with the troubles that disks have.
//
// Owner:    the test; outlives its files, the SimLoop outlives both.
// Thread:   the loop's.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "lb/base/clock.h"
#include "lb/base/rng.h"
#include "lb/io/spool.h"
#include "test/support/sim_loop.h"

namespace postern::test {

class SimSpool final : public io::Spool {
 public:
  SimSpool(SimLoop& loop, base::Rng& rng) : loop_(loop), rng_(rng) {}

  struct Options {
    base::Duration latency = std::chrono::microseconds(100);  // of an answer, up to twice of it
    size_t window_bytes = 256 << 10;
    uint64_t total_bytes = UINT64_MAX;      // of all files: beyond, one more append is kFull
    uint64_t disk_bytes = UINT64_MAX;       // of one file: beyond, kDisk
    uint64_t bad_read_offset = UINT64_MAX;  // a read beyond it is kDisk
    size_t read_bytes = SIZE_MAX;           // at most, an answer
    bool hangs = false;                     // answers nothing any more
  };
  Options options;

  // --- books ---
  int num_open = 0, num_opened = 0;
  uint64_t held_bytes = 0;     // of all open files
  uint64_t waiting_bytes = 0;  // of these, appended and not stored
  uint64_t most_waiting_bytes = 0;
  base::Duration answer_time{};  // for which files waited for an answer, in sum

  [[nodiscard]] std::unique_ptr<io::SpoolFile> Open(io::SpoolFile::Observer& observer) override;
  [[nodiscard]] size_t Window() const override { return options.window_bytes; }
  [[nodiscard]] bool HasRoom(size_t num_bytes) const override {
    return held_bytes + num_bytes <= options.total_bytes;
  }

 private:
  class File;
  SimLoop& loop_;
  base::Rng& rng_;
};

}  // namespace postern::test
