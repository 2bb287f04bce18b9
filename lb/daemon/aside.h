// aside: slow work that is not a loop's, one piece at a time, on a thread of its own; what it made
// comes back to the loop.
//
// Owner:    whoever has the work.   Thread: its loop's, but for Work.
// Tests:    test/daemon/aside_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "lb/io/loop.h"

namespace postern::daemon {

class Aside {
 public:
  // On the loop.
  using Finish = std::function<void()>;
  // On the thread; throws nothing. Ends soon when stop is true: nobody wants what it makes then.
  using Work = std::function<Finish(const std::atomic<bool>& stop)>;

  // on_idle: after each Finish that has not begun anything new. The loop outlives this.
  Aside(io::Loop& loop, std::function<void()> on_idle);
  ~Aside();
  Aside(const Aside&) = delete;
  Aside& operator=(const Aside&) = delete;

  // False: something is being done, or there is no thread to be had, or it has stopped.
  [[nodiscard]] bool Start(Work work);
  [[nodiscard]] bool is_busy() const { return is_busy_; }
  // What is being done is dropped; nothing is begun any more.
  void Stop();

 private:
  io::Loop& loop_;
  const std::function<void()> on_idle_;
  const std::shared_ptr<std::atomic<bool>> stop_ = std::make_shared<std::atomic<bool>>(false);
  std::thread thread_;
  bool is_busy_ = false;
};

}  // namespace postern::daemon
