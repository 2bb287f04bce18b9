// event_loop: one thread's loop on one libevent base.
// SPDX-License-Identifier: Apache-2.0
#include "lb/net/event_loop.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <utility>

#include "lb/base/check.h"
#include "lb/base/log.h"
#include "lb/net/stream_shared.h"

namespace postern::net {

struct EventLoop::TimerEvent {
  event raw;
};

namespace {

// The library's own words, in our log instead of bare on stderr.
void LogForLibevent(int severity, const char* message) {
  if (severity < EVENT_LOG_WARN) return;
  base::log::Warn("libevent", {{"message", message}});
}

}  // namespace

EventLoop::EventLoop(const base::Clock& clock)
    : clock_(clock),
      thread_(std::this_thread::get_id()),
      timer_event_(std::make_unique<TimerEvent>()) {
  static const bool is_logged = (event_set_log_callback(&LogForLibevent), true);
  (void)is_logged;
  event_config* config = event_config_new();
  POSTERN_CHECK(config != nullptr);
  // One thread a base: no locks inside. The environment must not change how a daemon polls.
  event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
  event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV);
  // No EPOLL_USE_CHANGELIST: what it says to the kernel later may concern a descriptor that another
  // thread has opened meanwhile under the same number.
  base_ = event_base_new_with_config(config);
  event_config_free(config);
  POSTERN_CHECK(base_ != nullptr);

  POSTERN_CHECK(evtimer_assign(
                    &timer_event_->raw, base_,
                    [](int, short, void* self) { static_cast<EventLoop*>(self)->OnTimer(); },
                    this) == 0);
  timers_.SetRearm([](void* self) { static_cast<EventLoop*>(self)->RearmTimer(); }, this);

  wake_fd_ = OwnedFd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  POSTERN_CHECK(wake_fd_.valid());
  wake_event_.Init(
      *this, wake_fd_.get(), [](void* self, uint8_t) { static_cast<EventLoop*>(self)->RunTasks(); },
      this);
  wake_event_.Watch(FdEvent::kRead);
}

EventLoop::~EventLoop() {
  thread_ = std::this_thread::get_id();
  {
    // A task's destructor may drop the last reference to something that posts.
    std::vector<std::function<void()>> dropped;
    const std::lock_guard<std::mutex> lock(tasks_mutex_);
    dropped.swap(tasks_);
  }
  stream_shared_.reset();
  timers_.SetRearm(nullptr, nullptr);
  wake_event_.Clear();
  evtimer_del(&timer_event_->raw);
  event_base_free(base_);
}

base::MonoTime EventLoop::Now() const {
  if (!now_is_fresh_) {
    now_ = clock_.Now();
    now_is_fresh_ = is_running_;
  }
  return now_;
}

base::WallTime EventLoop::WallNow() const {
  if (!wall_is_fresh_) {
    wall_now_ = clock_.WallNow();
    wall_is_fresh_ = is_running_;
  }
  return wall_now_;
}

void EventLoop::Post(std::function<void()> task) {
  const bool is_own_thread = InLoopThread() && is_running_;
  bool must_wake = false;
  {
    const std::lock_guard<std::mutex> lock(tasks_mutex_);
    tasks_.push_back(std::move(task));
    if (!wake_is_sent_ && (!is_own_thread || in_tasks_)) {
      // A task that posts runs in the next iteration, so that it cannot keep sockets waiting.
      wake_is_sent_ = true;
      must_wake = true;
    }
  }
  if (must_wake) {
    const uint64_t one = 1;
    // Fails only if the counter is full, and then the loop is awake anyway.
    [[maybe_unused]] const ssize_t written = ::write(wake_fd_.get(), &one, sizeof one);
  } else if (is_own_thread && !in_tasks_) {
    wake_event_.Defer();
  }
}

void EventLoop::RunTasks() {
  std::vector<std::function<void()>> tasks;
  {
    const std::lock_guard<std::mutex> lock(tasks_mutex_);
    tasks.swap(tasks_);
    if (wake_is_sent_) {
      uint64_t count = 0;
      [[maybe_unused]] const ssize_t got = ::read(wake_fd_.get(), &count, sizeof count);
      wake_is_sent_ = false;
    }
  }
  in_tasks_ = true;
  for (std::function<void()>& task : tasks) {
    task();
    task = nullptr;  // what it holds dies in the same order
  }
  in_tasks_ = false;
}

void EventLoop::Iterate() {
  now_is_fresh_ = false;
  wall_is_fresh_ = false;
  event_base_loop(base_, EVLOOP_ONCE);
  if (now_is_fresh_) lag_ = std::max(lag_, clock_.Now() - now_);
}

void EventLoop::Run() {
  thread_ = std::this_thread::get_id();
  is_running_ = true;
  while (!is_stopped_.load(std::memory_order_acquire)) Iterate();
  is_stopped_.store(false, std::memory_order_relaxed);
  is_running_ = false;
  now_is_fresh_ = false;
  wall_is_fresh_ = false;
}

void EventLoop::RunOnce() {
  POSTERN_CHECK(!is_running_);
  thread_ = std::this_thread::get_id();
  is_running_ = true;
  Iterate();
  is_running_ = false;
  now_is_fresh_ = false;
  wall_is_fresh_ = false;
}

void EventLoop::Stop() {
  Post([this] {
    is_stopped_.store(true, std::memory_order_release);
    event_base_loopbreak(base_);
  });
}

base::Duration EventLoop::TakeLag() {
  return std::exchange(lag_, base::Duration{});
}

StreamShared& EventLoop::stream_shared() {
  if (stream_shared_ == nullptr) stream_shared_ = std::make_unique<StreamShared>(*this);
  return *stream_shared_;
}

size_t EventLoop::unsent_bytes() const {
  return stream_shared_ == nullptr ? 0 : stream_shared_->unsent_bytes;
}

void EventLoop::OnTimer() {
  const base::MonoTime now = Now();
  const std::optional<base::MonoTime> due = timers_.Next();
  if (due && *due <= now) lag_ = std::max(lag_, now - *due);
  in_timers_ = true;
  timers_.RunDue(now);
  in_timers_ = false;
  RearmTimer();
}

void EventLoop::RearmTimer() {
  if (in_timers_) return;  // once, at the end
  const std::optional<base::MonoTime> next = timers_.Next();
  if (!next) {
    evtimer_del(&timer_event_->raw);
    return;
  }
  // Rounded up: a timer that fires early would only spin. libevent's clock is a coarse one, so it
  // may still do so; OnTimer then finds nothing due and comes here again.
  using std::chrono::microseconds;
  const base::Duration wait = std::max(*next - Now(), base::Duration{});
  const int64_t us = std::chrono::ceil<microseconds>(wait).count();
  timeval tv{};
  tv.tv_sec = static_cast<time_t>(us / 1000000);
  tv.tv_usec = static_cast<suseconds_t>(us % 1000000);
  POSTERN_CHECK(evtimer_add(&timer_event_->raw, &tv) == 0);
}

}  // namespace postern::net
