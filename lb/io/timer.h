// timer: deadlines of one thread: an intrusive heap that the loop (real or simulated) runs.
//
// A Timer is a member of what it watches; destroyed or cancelled means never called. Arming is
// O(log n) without allocation, but a session that moves bytes should remember its last activity and
// re-arm only when the timer fires. Equal deadlines fire in the order in which they were armed
// (deterministic).
//
// Thread:   the loop's, no locks.
// Tests:    test/io/timer_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "lb/base/clock.h"

namespace postern::io {

class TimerHeap;

class Timer {
 public:
  using Function = void (*)(void* context);

  Timer(TimerHeap& heap, Function function, void* context)
      : heap_(heap), function_(function), context_(context) {}
  // Timer(heap, Timer::Invoke<&Session::OnDeadline, Session>, this)
  template <auto Method, typename T>
  static void Invoke(void* context) {
    (static_cast<T*>(context)->*Method)();
  }
  ~Timer() { Cancel(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // (Re)arms for an absolute time; the past fires in the next round, never from within ArmAt.
  void ArmAt(base::MonoTime when);
  void Cancel();
  [[nodiscard]] bool armed() const { return index_ != kIdle; }
  [[nodiscard]] base::MonoTime when() const { return when_; }

 private:
  friend class TimerHeap;
  static constexpr size_t kIdle = SIZE_MAX;
  // index_ from here on: the place among those that are due, while timers fire.
  static constexpr size_t kDue = SIZE_MAX / 2;
  TimerHeap& heap_;
  Function function_;
  void* context_;
  base::MonoTime when_{};
  uint64_t order_ = 0;
  size_t index_ = kIdle;
};

class TimerHeap {
 public:
  // Called when the earliest deadline changes, so that the loop re-arms its one system timer.
  using Rearm = void (*)(void* context);
  void SetRearm(Rearm rearm, void* context) {
    rearm_ = rearm;
    rearm_context_ = context;
  }
  [[nodiscard]] std::optional<base::MonoTime> Next() const;
  // Fires every timer due at now, each once; a timer armed meanwhile waits for the next call.
  // Returns how many fired. Not from within a timer's function.
  size_t RunDue(base::MonoTime now);
  [[nodiscard]] size_t size() const { return heap_.size() + num_due_; }

 private:
  friend class Timer;
  void Insert(Timer& timer);
  void Remove(Timer& timer);
  void SiftUp(size_t index);
  void SiftDown(size_t index);
  [[nodiscard]] static bool Earlier(const Timer& a, const Timer& b);
  void NotifyIfChanged(std::optional<base::MonoTime> before);

  std::vector<Timer*> heap_;
  std::vector<Timer*> due_;  // of the running RunDue; null: fired, or no longer wanted
  size_t num_due_ = 0;       // of due_ that are not null
  uint64_t next_order_ = 0;
  Rearm rearm_ = nullptr;
  void* rearm_context_ = nullptr;
};

}  // namespace postern::io
