// breaker: whether a directory that fails is asked at all.
//
// Closed: everybody asks. After `failures` in a row it opens: nobody asks for `first`; then one
// question is let through, the trial. If that fails too, the pause doubles, up to `longest`; an
// answer, to whatever question, closes it.
//
// Thread:   one; pure: time is a parameter.
// Tests:    test/directory/breaker_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "lb/base/clock.h"

namespace postern::directory {

struct BreakerSettings {
  uint32_t failures = 5;
  base::Duration first = std::chrono::seconds(1);
  base::Duration longest = std::chrono::seconds(30);
};

class Breaker {
 public:
  // How a question came through; it is told with what became of it.
  enum class Pass : uint8_t { kAsk, kTrial, kNo };

  explicit Breaker(const BreakerSettings& settings) : settings_(settings) {}

  // For each question that is not kNo, one of the three below follows.
  [[nodiscard]] Pass Enter(base::MonoTime now);
  void OnAnswer();
  // Failures of questions that were asked before it opened change nothing any more.
  void OnFailure(base::MonoTime now, Pass pass);
  // Nobody waited for the end: the next question is the trial.
  void OnAbandoned(Pass pass);

  [[nodiscard]] bool is_open() const { return state_ != State::kClosed; }
  [[nodiscard]] uint64_t num_opened() const { return num_opened_; }
  // Of the pause under way; zero where a trial is due or under way.
  [[nodiscard]] base::Duration Remaining(base::MonoTime now) const;

 private:
  enum class State : uint8_t { kClosed, kOpen, kTrial };
  void Open(base::MonoTime now, base::Duration pause);

  const BreakerSettings settings_;
  State state_ = State::kClosed;
  uint32_t num_failures_ = 0;  // in a row, while closed
  base::Duration pause_{};
  base::MonoTime until_{};
  uint64_t num_opened_ = 0;
};

}  // namespace postern::directory
