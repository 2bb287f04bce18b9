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
  // Whatever is armed from here on has a later order, and waits for the next round.
  const uint64_t order_limit = next_order_;
  size_t num_fired = 0;
  const auto before = Next();
  while (!heap_.empty()) {
    Timer* due = heap_.front();
    if (due->when_ > now) break;
    if (due->order_ >= order_limit) {
      // A timer armed in this round for the past stands before others that are due: look for one of
      // those.
      due = nullptr;
      for (Timer* timer : heap_)
        if (timer->when_ <= now && timer->order_ < order_limit &&
            (due == nullptr || Earlier(*timer, *due)))
          due = timer;
      if (due == nullptr) break;
    }
    Remove(*due);
    ++num_fired;
    due->function_(due->context_);
  }
  NotifyIfChanged(before);
  return num_fired;
}

bool TimerHeap::Earlier(const Timer& a, const Timer& b) {
  return a.when_ != b.when_ ? a.when_ < b.when_ : a.order_ < b.order_;
}

void TimerHeap::NotifyIfChanged(std::optional<base::MonoTime> before) {
  if (rearm_ != nullptr && Next() != before) rearm_(rearm_context_);
}

void TimerHeap::Insert(Timer& timer) {
  timer.index_ = heap_.size();
  heap_.push_back(&timer);
  SiftUp(timer.index_);
}

void TimerHeap::Remove(Timer& timer) {
  const size_t index = timer.index_;
  POSTERN_CHECK(index < heap_.size() && heap_[index] == &timer);
  timer.index_ = Timer::kIdle;
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
