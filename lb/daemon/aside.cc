// aside: a thread for each piece of work.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/aside.h"

#include <system_error>
#include <utility>

namespace postern::daemon {

Aside::Aside(io::Loop& loop, std::function<void()> on_idle)
    : loop_(loop), on_idle_(std::move(on_idle)) {}

Aside::~Aside() {
  Stop();
}

bool Aside::Start(Work work) {
  if (is_busy_ || *stop_) return false;
  if (thread_.joinable()) thread_.join();  // it has posted all that it had to
  const auto run = [this, work = std::move(work), stop = stop_] {
    loop_.Post([this, stop, finish = work(*stop)] {
      if (*stop) return;
      is_busy_ = false;
      finish();
      if (!is_busy_ && on_idle_ != nullptr) on_idle_();
    });
  };
  try {
    thread_ = std::thread(run);
  } catch (const std::system_error&) {
    return false;
  }
  is_busy_ = true;
  return true;
}

void Aside::Stop() {
  *stop_ = true;
  is_busy_ = false;
  if (thread_.joinable()) thread_.join();
}

}  // namespace postern::daemon
