// timer: the intrusive heap of deadlines.
// SPDX-License-Identifier: Apache-2.0
#include "lb/io/timer.h"

#include <utility>

#include "lb/base/check.h"

namespace postern::io {

void Timer::ArmAt(base::MonoTime when) {
  const auto before = heap_.Next();
  if (armed()) heap_.Remove(*this);
  when_ = when;
  order_ = heap_.next_order_++;
  heap_.Insert(*this);
  heap_.NotifyIfChanged(before);
}

void Timer::Cancel() {
  if (!armed()) return;
  const auto before = heap_.Next();
  heap_.Remove(*this);
  heap_.NotifyIfChanged(before);
}

std::optional<base::MonoTime> TimerHeap::Next() const {
  if (heap_.empty()) return std::nullopt;
  return heap_.front()->when_;
}

size_t TimerHeap::RunDue(base::MonoTime now) {
  POSTERN_CHECK(due_.empty());
  const auto before = Next();
  // Taken out first, so that what is armed meanwhile, for the past too, waits for the next round.
  while (!heap_.empty() && heap_.front()->when_ <= now) {
    Timer* const timer = heap_.front();
    Remove(*timer);
    timer->index_ = Timer::kDue + due_.size();
    due_.push_back(timer);
    ++num_due_;
  }
  size_t num_fired = 0;
  for (size_t i = 0; i < due_.size(); ++i) {
    Timer* const timer = due_[i];
    if (timer == nullptr) continue;  // cancelled or re-armed by one that fired before
    Remove(*timer);
    ++num_fired;
    timer->function_(timer->context_);  // may destroy the timer
  }
  due_.clear();
  NotifyIfChanged(before);
  return num_fired;
}

bool TimerHeap::Earlier(const Timer& a, const Timer& b) {
  return a.when_ != b.when_ ? a.when_ < b.when_ : a.order_ < b.order_;
}

void TimerHeap::NotifyIfChanged(std::optional<base::MonoTime> before) {
  // While timers fire, one call at the end is enough.
  if (rearm_ != nullptr && due_.empty() && Next() != before) rearm_(rearm_context_);
}

void TimerHeap::Insert(Timer& timer) {
  timer.index_ = heap_.size();
  heap_.push_back(&timer);
  SiftUp(timer.index_);
}

void TimerHeap::Remove(Timer& timer) {
  const size_t index = timer.index_;
  timer.index_ = Timer::kIdle;
  if (index >= Timer::kDue) {
    due_[index - Timer::kDue] = nullptr;
    --num_due_;
    return;
  }
  POSTERN_CHECK(index < heap_.size() && heap_[index] == &timer);
  Timer* last = heap_.back();
  heap_.pop_back();
  if (last == &timer) return;
  heap_[index] = last;
  last->index_ = index;
  SiftUp(index);
  SiftDown(last->index_);
}

void TimerHeap::SiftUp(size_t index) {
  while (index > 0) {
    const size_t parent = (index - 1) / 2;
    if (!Earlier(*heap_[index], *heap_[parent])) return;
    std::swap(heap_[index], heap_[parent]);
    heap_[index]->index_ = index;
    heap_[parent]->index_ = parent;
    index = parent;
  }
}

void TimerHeap::SiftDown(size_t index) {
  while (true) {
    size_t first = index;
    for (size_t child = 2 * index + 1; child <= 2 * index + 2 && child < heap_.size(); ++child)
      if (Earlier(*heap_[child], *heap_[first])) first = child;
    if (first == index) return;
    std::swap(heap_[index], heap_[first]);
    heap_[index]->index_ = index;
    heap_[first]->index_ = first;
    index = first;
  }
}

}  // namespace postern::io
