// event_loop: one thread's loop: time, timers, tasks and descriptors, on one libevent base.
//
// Does not: own threads; whoever calls Run lends one. Holds no lock but the one of the task queue.
// Time:     the clock is read at most once an iteration, at the first Now() after the wait, so
//           that all events of an iteration see the same time and an idle loop reads none.
// Timers:   one libevent timer for the whole TimerHeap, in milliseconds.
// Owner:    the thread's object in daemon.   Thread: the one that calls Run; Post and Stop: any.
// Tests:    test/net/event_loop_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "lb/base/clock.h"
#include "lb/io/loop.h"
#include "lb/io/timer.h"
#include "lb/net/fd_event.h"
#include "lb/net/owned_fd.h"

struct event_base;

namespace postern::net {

struct StreamShared;

class EventLoop final : public io::Loop {
 public:
  explicit EventLoop(const base::Clock& clock = base::SystemClock());
  // Tasks that have not run are dropped; streams, listeners and timers must be gone before.
  ~EventLoop() override;
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  [[nodiscard]] base::MonoTime Now() const override;
  [[nodiscard]] base::WallTime WallNow() const override;
  [[nodiscard]] io::TimerHeap& timers() override { return timers_; }
  void Post(std::function<void()> task) override;

  // Runs until Stop. Tasks posted before it run first.
  void Run();
  // Waits for something to happen and lets it happen, once: for tests, and for daemon's last round.
  void RunOnce();
  // Ends Run after the current event. From any thread; also before Run has started.
  void Stop();

  // The longest that an event may have waited since the last call: the busiest iteration, or the
  // latest timer. Feeds event_loop_lag_seconds. Loop's thread.
  [[nodiscard]] base::Duration TakeLag();

  // For the neighbours in lb/net.
  [[nodiscard]] event_base* base() { return base_; }
  [[nodiscard]] StreamShared& stream_shared();
  // What this loop's sockets have not taken yet.
  [[nodiscard]] size_t unsent_bytes() const;
  [[nodiscard]] bool InLoopThread() const {
    return std::this_thread::get_id() == thread_.load(std::memory_order_relaxed);
  }

 private:
  void Iterate();
  void OnTimer();
  void RearmTimer();
  void RunTasks();

  const base::Clock& clock_;
  event_base* base_ = nullptr;
  std::atomic<std::thread::id> thread_;

  mutable base::MonoTime now_{};
  mutable base::WallTime wall_now_{};
  mutable bool now_is_fresh_ = false;
  mutable bool wall_is_fresh_ = false;
  bool is_running_ = false;
  base::Duration lag_{};

  io::TimerHeap timers_;
  struct TimerEvent;
  std::unique_ptr<TimerEvent> timer_event_;
  bool in_timers_ = false;

  OwnedFd wake_fd_;
  FdEvent wake_event_;
  std::mutex tasks_mutex_;
  std::vector<std::function<void()>> tasks_;  // guarded by tasks_mutex_
  bool wake_is_sent_ = false;                 // likewise
  bool in_tasks_ = false;                     // loop's thread only
  std::atomic<bool> is_stopped_{false};

  std::unique_ptr<StreamShared> stream_shared_;
};

}  // namespace postern::net
