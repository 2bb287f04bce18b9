// event_list: the last things that operators should hear of, for /api/v1/events.
//
// Health tells of endpoints, queues and probes (health/event.h), the process of its reloads; the
// README has the kinds.
// Limits:   kMaxEvents; the oldest go first.
// Owner:    the process.   Thread: control.
// Tests:    test/daemon/admin_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <string>

#include "lb/base/clock.h"

namespace postern::daemon {

struct EventRecord {
  base::WallTime time{};
  std::string kind, object, text;  // printable
};

class EventList {
 public:
  static constexpr size_t kMaxEvents = 500;
  void Add(EventRecord event) {
    events_.push_back(std::move(event));
    if (events_.size() > kMaxEvents) events_.pop_front();
  }
  // From the oldest to the latest.
  [[nodiscard]] const std::deque<EventRecord>& events() const { return events_; }

 private:
  std::deque<EventRecord> events_;
};

}  // namespace postern::daemon
