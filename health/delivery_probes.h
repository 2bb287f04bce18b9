// delivery_probes: the configured end-to-end probes: when each sends a message, and what becomes
// known of it.
//
// Each probe has one round at a time, every interval +-10 % from begin to begin, the first one soon
// after the start. A reload leaves a round that is under way alone; the next one goes by the new
// configuration.
// Results:  ok; failed: not accepted, not found in time, found in the \Junk folder, or a mailbox
//           that cannot be looked at; late: found after it had failed, counted besides.
// Logs and events: delivery_probe_failed, delivery_probe_junk, delivery_probe_late, and
//           delivery_probe_ok where the round before had failed; of failures that say the same, one
//           in kSilence.
// Metrics:  delivery_probe_duration_seconds, delivery_probes_total.
// Limits:   kMaxMissing messages are remembered that may still come.
// Owner:    monitor.   Thread: the health loop's.
// Tests:    test/health/delivery_probes_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "health/delivery_plan.h"
#include "health/event.h"
#include "lb/balance/picker.h"
#include "lb/base/rng.h"
#include "lb/io/dialer.h"
#include "lb/io/loop.h"
#include "metrics/recorder.h"

namespace postern::health {

class DeliveryProbes {
 public:
  static constexpr base::Duration kFirstRound = std::chrono::seconds(1);
  static constexpr base::Duration kSilence = std::chrono::seconds(60);
  static constexpr size_t kMaxMissing = 64;

  DeliveryProbes(io::Loop& loop, io::Dialer& dialer, base::Rng& rng, metrics::Recorder& recorder,
                 EventSink on_event);
  ~DeliveryProbes();

  // From now on the probes of this configuration; by their names those that are there already.
  void Watch(std::shared_ptr<const DeliveryInputs> inputs);
  // The process ends: no more of them.
  void Stop();

 private:
  struct Schedule;
  void Drop(std::unique_ptr<Schedule> schedule);

  io::Loop& loop_;
  io::Dialer& dialer_;
  base::Rng& rng_;
  metrics::Recorder& recorder_;
  const EventSink on_event_;
  balance::Picker picker_;
  std::shared_ptr<const DeliveryInputs> inputs_;
  std::map<std::string, std::unique_ptr<Schedule>> schedules_;
};

}  // namespace postern::health
