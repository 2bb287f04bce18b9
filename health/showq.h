// showq: counts messages in what Postfix's showq service says, as it arrives.
//
// Postfix 3 speaks attributes: name NUL value NUL ..., and one more NUL ends a list. The first list
// may name the protocol (since 3.6), then comes a list a message, which begins with queue_name, and
// an empty list ends the whole. Queues come in the order maildrop, active, incoming, deferred,
// hold: once a later one begins, the wanted ones are counted, and the rest, which is mostly by far
// the longest, need not be read.
// Limits:   kMaxTokenBytes a name or value; keeps the first bytes of one only.
// Owner:    one read of a queue source.   Thread: none; pure.
// Tests:    test/health/showq_test.cc, test/fuzz/showq_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lb/base/bytes.h"

namespace postern::health {

class Showq {
 public:
  static constexpr size_t kMaxTokenBytes = 64
                                           << 10;  // Postfix keeps them below 4 x line_length_limit
  enum class Status : uint8_t { kMore, kDone, kBroken };

  // Of incoming, active, deferred, hold, maildrop.
  explicit Showq(const std::vector<std::string>& queues);

  // After kDone and kBroken nothing changes any more.
  Status Feed(base::ByteView bytes);
  [[nodiscard]] Status status() const { return status_; }
  // Messages in the wanted queues so far; after kDone, all of them.
  [[nodiscard]] uint64_t count() const { return count_; }
  // After kBroken.
  [[nodiscard]] const std::string& error() const { return error_; }

 private:
  enum class Place : uint8_t { kName, kValue };
  enum class List : uint8_t { kFirst, kMessage };

  [[nodiscard]] Status Fail(std::string why);
  [[nodiscard]] Status TakeName();
  [[nodiscard]] Status TakeValue();

  uint8_t wanted_ = 0;       // bits by the order of queues
  uint8_t last_wanted_ = 0;  // the last of them in that order
  Place place_ = Place::kName;
  List list_ = List::kFirst;
  bool is_list_empty_ = true;
  std::string name_;
  std::string token_;  // its first bytes
  size_t token_bytes_ = 0;
  uint64_t count_ = 0;
  Status status_ = Status::kMore;
  std::string error_;
};

}  // namespace postern::health
