// pattern_index: many patterns with '*', of which the first that matches a key is found without
// trying them all.
//
// Patterns lie by their literal beginning and end ("sales-" and "@example.com"); a look-up goes
// once through the shapes, the pairs of lengths of these, of which there are few, and hashes the
// key's own beginning and end for each. Only what has a second '*' is matched one by one, among
// those of the same beginning and end.
// Limits:   kMaxSteps: shapes, and the patterns of the same beginning and end.
// Thread:   const after it is filled.
// Tests:    test/directory/pattern_index_test.cc, test/bench/directory_bench.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace postern::directory {

class PatternIndex {
 public:
  static constexpr size_t kMaxSteps = 500;

  // False: a look-up would take too many steps; it is not taken. The pattern has a '*', and is
  // another than all before.
  [[nodiscard]] bool Add(std::string_view pattern);
  // Of the first that was added, of those that match, its number, counted from 0.
  [[nodiscard]] std::optional<uint32_t> Find(std::string_view key) const;

  [[nodiscard]] size_t size() const { return patterns_.size(); }
  [[nodiscard]] const std::string& pattern(uint32_t number) const { return patterns_[number]; }
  [[nodiscard]] size_t memory_bytes() const;

 private:
  struct Shape {
    size_t prefix_bytes, suffix_bytes;
    bool operator==(const Shape&) const = default;
  };
  [[nodiscard]] static Shape ShapeOf(std::string_view pattern);
  [[nodiscard]] static uint64_t HashOf(const Shape& shape, std::string_view text);

  std::vector<std::string> patterns_;
  std::vector<Shape> shapes_;
  // By HashOf: their numbers, ascending.
  std::unordered_map<uint64_t, std::vector<uint32_t>> buckets_;
};

}  // namespace postern::directory
