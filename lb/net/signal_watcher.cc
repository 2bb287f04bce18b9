// signal_watcher: signals as events of one loop.
// SPDX-License-Identifier: Apache-2.0
#include "lb/net/signal_watcher.h"

#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>

#include <utility>

#include "lb/base/check.h"

namespace postern::net {
namespace {

sigset_t SetOf(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) sigaddset(&set, signal);
  return set;
}

}  // namespace

void SignalWatcher::Block(std::initializer_list<int> signals) {
  const sigset_t set = SetOf(signals);
  POSTERN_CHECK(pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0);
  ::signal(SIGPIPE, SIG_IGN);
}

SignalWatcher::SignalWatcher(EventLoop& loop, std::initializer_list<int> signals,
                             std::function<void(int)> on_signal)
    : on_signal_(std::move(on_signal)) {
  const sigset_t set = SetOf(signals);
  fd_ = OwnedFd(::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  POSTERN_CHECK(fd_.valid());
  event_.Init(
      loop, fd_.get(), [](void* self, uint8_t) { static_cast<SignalWatcher*>(self)->OnReadable(); },
      this);
  event_.Watch(FdEvent::kRead);
}

SignalWatcher::~SignalWatcher() {
  event_.Clear();
}

void SignalWatcher::OnReadable() {
  signalfd_siginfo info{};
  while (::read(fd_.get(), &info, sizeof info) == sizeof info) {
    on_signal_(static_cast<int>(info.ssi_signo));
  }
}

}  // namespace postern::net
