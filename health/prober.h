// prober: when one endpoint is checked: regularly, sooner while its state is in doubt, and at once
// when somebody has a reason to ask.
//
// Regular checks come every interval +-10 %, in doubt every fast interval; one at a time. A wanted
// check comes at once, but never sooner than a fast interval after the last one began, so that no
// client can make Postern hammer a server. Where there are no checks, one is made until it has
// worked (what the endpoint can do must be known), with backoff. A relay check follows the first
// check that passes, and then once a day.
// Owner:    monitor, one for each endpoint.   Thread: the health loop's.
// Tests:    test/health/monitor_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "health/observation.h"
#include "health/probe.h"
#include "lb/base/clock.h"
#include "lb/base/rng.h"
#include "lb/io/dialer.h"
#include "lb/io/loop.h"
#include "lb/io/timer.h"

namespace postern::health {

class Prober {
 public:
  static constexpr base::Duration kRelayInterval = std::chrono::hours(24);
  static constexpr base::Duration kFirstRetry = std::chrono::seconds(1);
  static constexpr base::Duration kLongestRetry = std::chrono::seconds(60);

  enum class Kind : uint8_t { kCheck, kRelay };
  struct Schedule {
    base::Duration interval = std::chrono::seconds(5);
    base::Duration fast_interval = std::chrono::seconds(1);
    bool repeats = true;  // false: until it has worked
    bool has_relay_check = false;
  };
  struct Calls {
    // What to do; nothing: not now (the name is not resolved yet), asked again soon.
    std::function<std::optional<ProbePlan>(Kind)> plan;
    std::function<void()> began;  // a check of Kind::kCheck
    std::function<void(Kind, const Observation&)> done;
    std::function<bool()> is_in_doubt;
  };

  Prober(io::Loop& loop, io::Dialer& dialer, base::Rng& rng, Calls calls);

  // The first check comes within `spread` (at random). Again after a reload: the schedule changes,
  // what is under way stays.
  void Start(const Schedule& schedule, base::Duration spread);
  // Drops what is under way: the endpoint is another one now.
  void Reset();
  // As soon as may be.
  void Want();

 private:
  void OnTimer();
  void OnRelayTimer();
  void Begin(Kind kind);
  void OnDone(Kind kind, const Observation& seen);
  void Plan();

  io::Loop& loop_;
  io::Dialer& dialer_;
  base::Rng& rng_;
  const Calls calls_;
  Schedule schedule_;
  io::Timer timer_;
  io::Timer relay_timer_;
  std::unique_ptr<Probe> probe_;
  std::optional<base::MonoTime> last_began_;  // of Kind::kCheck
  base::Duration retry_ = kFirstRetry;
  bool has_passed_ = false;
  bool is_wanted_ = false;
  bool is_relay_due_ = true;  // once a check has passed
};

}  // namespace postern::health
