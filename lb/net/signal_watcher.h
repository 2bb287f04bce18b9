// signal_watcher: signals as events of one loop (the control thread's).
//
// Signals are read from a signalfd, so no code of ours runs in a handler. Block must be called in
// main, before any thread exists: threads inherit the mask, and an unblocked thread would still die
// of the signal.
// Owner:    daemon.   Thread: the loop's.
// Tests:    test/net/event_loop_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <initializer_list>
#include <vector>

#include "lb/net/event_loop.h"

namespace postern::net {

class SignalWatcher {
 public:
  // Blocks them in the calling thread and in those it starts later. SIGPIPE is ignored for good.
  static void Block(std::initializer_list<int> signals);

  SignalWatcher(EventLoop& loop, std::initializer_list<int> signals,
                std::function<void(int signal)> on_signal);
  ~SignalWatcher();
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;

 private:
  void OnReadable();

  std::function<void(int)> on_signal_;
  OwnedFd fd_;
  FdEvent event_;
};

}  // namespace postern::net
