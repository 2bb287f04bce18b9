// weigher: turns latencies, queue depths and agents' words into the share of new work each member
// of one pool should get, with the reason in words.
//
// One PoolWeigher per pool and protocol. latency = (reference / own)^2 within [min_factor, 1],
// where the reference is the lower quartile of the pool's serving members; queue = 1 below soft,
// linear to min_factor at hard (smtp, submission and lmtp only); slow_start = the ramp after a
// recovery; agent = what the backend's own agent asks for. ratio is their product. Latency and
// queue factors are smoothed: down fast, up no faster than doubling each half_life, and small moves
// not at all.
//
// Latency is the sum of a session's phases up to its first useful work: their sum is what a client
// waits for, so a phase counts as much as it lasts; a ratio per phase would let a connect that went
// from 0.1 to 1 ms outweigh a login of 200 ms. A phase that a member has no samples of is taken as
// the pool's own, so that whoever was probed less is neither punished nor favoured.
//
// What to feed: only work that went well (a refused login or recipient tells of the client); live
// greetings only where no PROXY header is sent (with one, the backend looks at the client first:
// DNS, postscreen). Time to the first octet of a greeting where that is known.
// Owner:    monitor.   Thread: the health loop's; pure, time is passed in.
// Limits:   memory is a few hundred bytes a member; absurd input (NaN, negative, huge) is neutral.
// Tests:    test/health/weigher_test.cc, test/health/worlds_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "conf/config.h"
#include "health/ewma.h"
#include "health/forecast.h"
#include "lb/base/clock.h"
#include "lb/base/end_cause.h"

namespace postern::health {

struct Factors {
  double latency = 1, queue = 1, slow_start = 1, agent = 1;
};

struct Verdict {
  Factors factors;
  double ratio = 1;            // product of the factors; at most min_factor where degraded
  bool is_above_hard = false;  // no new smtp work while another endpoint is below its hard limit
  std::string reason;          // in words; empty: nothing lowers the weight
};

struct WeigherTimes {
  base::Duration interval = std::chrono::seconds(5);     // of the checks: what "late" means
  base::Duration half_life = std::chrono::seconds(5);    // of the averages
  base::Duration slow_start = std::chrono::seconds(30);  // 0: none
};

using MemberId = uint32_t;  // dense, in order of Add

// A constant wait before an smtp greeting is the server's policy (postscreen, greet_pause), not its
// load. Such pauses are whole seconds and always the same: a late greeting is held back until three
// came in a row; where all three are late by the same whole number of seconds, those seconds are
// taken off.
class GreetingPause {
 public:
  // Seconds that count; nullopt: held back.
  [[nodiscard]] std::optional<double> Pass(double seconds);
  [[nodiscard]] bool is_in_doubt() const { return count_ > 0 && count_ < late_.size(); }

 private:
  std::array<double, 3> late_{};
  uint32_t count_ = 0;
};

// A factor on its way. It falls at once and rises no faster than doubling each half_life, so that
// a member that looks well because it was spared is not flooded again; it goes on in its direction
// freely, but turns round only for a move beyond `band`, so that noise moves
// nothing. Who turned often lately must wait longer.
class Smoothed {
 public:
  void Follow(double target, double band, double half_lives);
  [[nodiscard]] double value() const { return value_; }

 private:
  double value_ = 1;
  double turns_ = 0;  // decayed count
  double still_ = 0;  // half-lives since the last move
  bool is_falling_ = false;
};

// What a member has learned; survives reloads by value.
struct MemberMemory {
  std::array<Ewma, base::kNumPhases> phases;
  GreetingPause pause;
  Forecast latency_forecast{std::chrono::seconds(20)};
  Smoothed latency;
  Smoothed queue;
  bool is_above_hard = false;
  bool is_serving = true;
  std::optional<base::MonoTime> ramp_since;
};

class PoolWeigher {
 public:
  PoolWeigher(const conf::Weights& weights, const WeigherTimes& times, conf::Protocol protocol);

  MemberId Add(std::string name, double configured_weight);
  [[nodiscard]] size_t size() const { return members_.size(); }

  // A probe (count 1) or the mean of live work since the last call; phases that do not predict when
  // work is done (message text, relayed bytes, waits for clients) are ignored.
  void Observe(MemberId id, base::Phase phase, base::Duration mean, uint32_t count,
               base::MonoTime at);
  // nullopt: neutral (no source, stale, failing). soft and hard as configured.
  void SetQueue(MemberId id, std::optional<double> depth, double soft, double hard);
  // nullopt: neutral. 1 = as configured; above 1 an agent asks for more, up to 10.
  void SetAgent(MemberId id, std::optional<double> factor);
  // Down, drained or in maintenance: false. Back again: the ramp begins, and what was learned
  // before is forgotten (not at the very first call).
  void SetServing(MemberId id, bool is_serving, base::MonoTime now);
  // More than half of its live work fails while checks pass: its ratio is at most min_factor.
  void SetDegraded(MemberId id, bool is_degraded);

  // Recomputes all verdicts; each interval or more often. O(members log members).
  void Tick(base::MonoTime now);
  [[nodiscard]] const Verdict& verdict(MemberId id) const { return members_[id].verdict; }

  // A sample far from what was known waits for witnesses: checks at the fast interval tell sooner.
  [[nodiscard]] bool IsInDoubt(MemberId id) const;

  // Seconds from connect to the first useful work, and when it will be so late that the factor is
  // min_factor at the present trend. For people and alerts.
  [[nodiscard]] std::optional<double> latency_seconds(MemberId id) const;
  [[nodiscard]] std::optional<base::Duration> TimeToMinFactor(MemberId id,
                                                              base::MonoTime now) const;

  [[nodiscard]] const MemberMemory& Export(MemberId id) const { return members_[id].memory; }
  void Import(MemberId id, const MemberMemory& memory) { members_[id].memory = memory; }

 private:
  struct Member {
    std::string name;
    double configured_weight = 100;
    MemberMemory memory;
    std::optional<double> depth;
    double soft = 0, hard = 0;
    double agent = 1;
    bool is_degraded = false;
    bool has_latency = false;                   // some phase was measured lately
    double total = 0;                           // seconds, of the present tick
    double error = 0;                           // seconds that may be chance
    base::Phase worst = base::Phase::kConnect;  // the phase with the largest excess
    double worst_seconds = 0;
    Verdict verdict;
  };
  [[nodiscard]] static bool IsMeasured(const Member& member) {
    return member.has_latency && member.memory.is_serving;
  }
  void LearnPool(base::MonoTime now);
  void SumPhases(Member& member, base::MonoTime now) const;
  void WeighLatency(Member& member, double half_lives) const;
  void WeighQueue(Member& member, double half_lives) const;
  void Conclude(Member& member, base::MonoTime now) const;
  [[nodiscard]] std::string Reason(const Member& member) const;

  conf::Weights weights_;
  WeigherTimes times_;
  conf::Protocol protocol_;
  double min_factor_;
  bool is_queue_counted_;
  std::vector<Member> members_;
  std::optional<base::MonoTime> last_tick_;
  double reference_ = 0;                                             // seconds, of the present tick
  std::array<std::optional<double>, base::kNumPhases> pool_phases_;  // lower quartiles
  std::vector<double> scratch_;
};

}  // namespace postern::health
