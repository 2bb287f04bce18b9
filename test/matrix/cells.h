// cells: what the tables of the matrix share: names of cells, their count, a stop after some
// failures, and a meter of memory.
//
// A table is loops over lists; each round is one cell, a whole session of its own. No cell is
// written by hand.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <iostream>
#include <memory>
#include <string>

#include "conf/config.h"
#include "lb/base/log.h"
#include "test/support/meters.h"

namespace postern::test {

inline constexpr std::array kTlsModes = {conf::TlsMode::kNone, conf::TlsMode::kStartTls,
                                         conf::TlsMode::kImplicit};

// Bytes on the heap now, and the most since ResetPeak (cells_test.cc replaces operator new).
[[nodiscard]] size_t HeapBytes();
[[nodiscard]] size_t PeakHeapBytes();
void ResetPeakHeap();

class Cells {
 public:
  explicit Cells(std::string table) : table_(std::move(table)) {
    // Faults are its daily bread.
    base::log::Configure(base::log::Level::kError, base::log::Format::kJson);
  }
  ~Cells() {
    EXPECT_GT(num_cells_, 0);
    std::cout << num_cells_ << " cells: " << table_ << '\n';
  }
  Cells(const Cells&) = delete;
  Cells& operator=(const Cells&) = delete;

  // Runs the cell; parts: what it is made of, for the message where it fails.
  template <typename Run, typename... Parts>
  void Add(const Run& run, const Parts&... parts) {
    if (num_failed_ >= kMaxFailed) return;
    ++num_cells_;
    std::string name;
    ((name += name.empty() ? "" : ", ", name += parts), ...);
    const int before = num_failures();
    {
      SCOPED_TRACE("cell: " + name);
      run();
    }
    if (num_failures() > before) ++num_failed_;
  }
  // Of the protocol's worlds.
  [[nodiscard]] const std::shared_ptr<Meters>& meters(conf::Protocol protocol) {
    std::shared_ptr<Meters>& its = meters_.at(static_cast<size_t>(protocol));
    if (its == nullptr) its = std::make_shared<Meters>();
    return its;
  }

 private:
  static constexpr int kMaxFailed = 10;
  static int num_failures() {
    return testing::UnitTest::GetInstance()->current_test_info()->result()->total_part_count();
  }
  std::string table_;
  int num_cells_ = 0;
  int num_failed_ = 0;
  std::array<std::shared_ptr<Meters>, 8> meters_;
};

}  // namespace postern::test
