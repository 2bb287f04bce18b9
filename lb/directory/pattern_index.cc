// pattern_index: shapes, and buckets of them.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/pattern_index.h"

#include <algorithm>
#include <functional>

#include "lb/route/router.h"

namespace postern::directory {

PatternIndex::Shape PatternIndex::ShapeOf(std::string_view pattern) {
  return {pattern.find('*'), pattern.size() - pattern.rfind('*') - 1};
}

// Only the operator adds patterns, so strangers cannot make them collide; those that do are told
// apart by matching.
uint64_t PatternIndex::HashOf(const Shape& shape, std::string_view text) {
  constexpr uint64_t kOdd = 0x9E3779B97F4A7C15U;
  const std::hash<std::string_view> hash;
  const uint64_t front = hash(text.substr(0, shape.prefix_bytes)) + shape.prefix_bytes;
  const uint64_t back = hash(text.substr(text.size() - shape.suffix_bytes)) + shape.suffix_bytes;
  return (front * kOdd) ^ (back + (front >> 29));
}

bool PatternIndex::Add(std::string_view pattern) {
  const Shape shape = ShapeOf(pattern);
  std::vector<uint32_t>& bucket = buckets_[HashOf(shape, pattern)];
  const bool is_new_shape = std::find(shapes_.begin(), shapes_.end(), shape) == shapes_.end();
  if (bucket.size() >= kMaxSteps || (is_new_shape && shapes_.size() >= kMaxSteps)) return false;
  if (is_new_shape) shapes_.push_back(shape);
  bucket.push_back(static_cast<uint32_t>(patterns_.size()));
  patterns_.emplace_back(pattern);
  return true;
}

std::optional<uint32_t> PatternIndex::Find(std::string_view key) const {
  std::optional<uint32_t> first;
  for (const Shape& shape : shapes_) {
    if (shape.prefix_bytes + shape.suffix_bytes > key.size()) continue;
    const auto bucket = buckets_.find(HashOf(shape, key));
    if (bucket == buckets_.end()) continue;
    for (const uint32_t number : bucket->second) {
      if (first && number >= *first) break;
      if (route::PatternMatches(patterns_[number], key)) first = number;
    }
  }
  return first;
}

size_t PatternIndex::memory_bytes() const {
  size_t sum = shapes_.capacity() * sizeof(Shape);
  for (const std::string& pattern : patterns_) sum += 2 * sizeof(std::string) + pattern.capacity();
  for (const auto& [hash, bucket] : buckets_)
    sum += 4 * sizeof(uint64_t) + bucket.capacity() * sizeof(uint32_t);
  return sum;
}

}  // namespace postern::directory
