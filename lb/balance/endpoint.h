// endpoint: what can take work: an endpoint of a backend, its state, and the pools that it is in.
//
// EndpointTable is part of a snapshot: immutable. EndpointState is keyed by backend name and
// protocol and survives reloads (EndpointBook), so that a reload resets neither health nor load.
// Its fields are rarely written atomics (health thread, passive failures) and, per worker, a few
// cache lines of counters. Live sessions tell health what they meet through these (how many tries,
// how many failed, how long each phase took) and by WantCheck; nobody waits for anybody.
// Thread:   EndpointTable any; EndpointState: each atomic names its writer.
// Tests:    test/balance/
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "conf/config.h"
#include "lb/base/address.h"
#include "lb/base/clock.h"
#include "lb/base/end_cause.h"

namespace postern::balance {

enum class Health : uint8_t { kUp, kDegraded, kDown };
enum class AdminState : uint8_t { kReady, kDrain, kMaintenance };

// What the endpoint said it can do, and where it is; replaced whole, never changed.
struct EndpointFacts {
  std::vector<base::IpAddress> addresses;  // of the host, resolved; empty: not yet, or it failed
  std::vector<std::string>
      capabilities;  // EHLO keywords with parameters, CAPABILITY atoms, CAPA lines
  bool has_capabilities = false;
};

// The phases that are timed, in live sessions as in checks.
inline constexpr std::array kTimedPhases = {
    base::Phase::kConnect, base::Phase::kTls,  base::Phase::kGreeting, base::Phase::kHello,
    base::Phase::kLogin,   base::Phase::kMail, base::Phase::kRcpt,     base::Phase::kDataReply};
// Place in kTimedPhases; its size: not timed.
[[nodiscard]] constexpr size_t TimedIndex(base::Phase phase) {
  size_t index = 0;
  while (index < kTimedPhases.size() && kTimedPhases[index] != phase) ++index;
  return index;
}

// What live sessions have met since the process began; health looks at differences.
struct LiveSums {
  struct PhaseSum {
    uint64_t count = 0;
    uint64_t total_us = 0;
  };
  uint64_t attempts = 0;
  uint64_t failures = 0;
  std::array<PhaseSum, kTimedPhases.size()> phases{};
};

struct EndpointState {
  // "Have a look at this one now", from any thread; the state lives as long as its book.
  using LookNow = std::function<void(EndpointState& state)>;

  explicit EndpointState(int num_workers, std::shared_ptr<const LookNow> look_now = nullptr)
      : load(static_cast<size_t>(num_workers)), look_now_(std::move(look_now)) {}

  std::string backend;
  conf::Protocol protocol = conf::Protocol::kImap;

  std::atomic<Health> health{Health::kUp};  // health thread; up until its first check has ended
  std::atomic<AdminState> admin{AdminState::kReady};  // health::Monitor, with its lock
  std::atomic<bool> is_admin_of_agent{false};  // the backend's agent has said so, no operator
  // An operator's word over Backend::weight; negative: none. Likewise.
  std::atomic<int64_t> operator_weight{-1};
  std::atomic<float> weight_ratio{1.0F};   // health thread: product of all factors
  std::atomic<bool> is_above_hard{false};  // health thread: its queue is over its limit
  // Health thread: what a phase takes here as a rule; 0: not known yet. By TimedIndex.
  std::array<std::atomic<uint32_t>, kTimedPhases.size()> average_us{};
  // A session has met something that a check should look into. Set by WantCheck, cleared by the
  // health thread when that check begins.
  std::atomic<bool> check_wanted{false};
  // Passive: any worker. Until this time the endpoint is left alone while another is there; 0: no
  // cooldown.
  std::atomic<int64_t> cooldown_until_ns{0};
  std::atomic<int64_t> last_failure_ns{0};

  // Sessions and transactions that hold a back leg now, one counter per worker, written by it
  // alone. An attempt that failed counts for one second more: the worker keeps those times.
  struct alignas(64) Load {
    std::atomic<uint32_t> active{0};
    std::atomic<uint32_t> failed_recently{0};
    // Live observations, for the health thread.
    std::atomic<uint64_t> attempts{0};
    std::atomic<uint64_t> failures{0};
    struct PhaseSum {
      std::atomic<uint64_t> count{0};
      std::atomic<uint64_t> total_us{0};
    };
    std::array<PhaseSum, kTimedPhases.size()> phases{};
  };
  std::vector<Load> load;
  [[nodiscard]] uint64_t ActiveSum() const;  // active + failed_recently over all workers

  // Each worker with its own index. An attempt is a login, or a transaction; it fails by a fault of
  // the endpoint, not by its verdict on a client. Phases that are not timed are ignored.
  void CountAttempt(int worker);
  void CountFailure(int worker);
  void CountPhase(int worker, base::Phase phase, base::Duration took);
  [[nodiscard]] LiveSums Sums() const;  // any thread

  // Health thread: one more measurement, or mean of several, for average_us.
  void Average(size_t timed_index, base::Duration took);

  // Any thread: asks for a check as soon as may be; cheap while one is asked for already.
  void WantCheck();
  // A reply that is outstanding for longer counts as a hang: max(1 s, 10 x the phase's average);
  // for ever where that is not known.
  [[nodiscard]] base::Duration PatienceFor(base::Phase phase) const;

  // Any thread; a short critical section, off the hot path of a relay.
  [[nodiscard]] std::shared_ptr<const EndpointFacts> facts() const;
  // Replaces them whole.
  void set_facts(std::shared_ptr<const EndpointFacts> facts);
  // Changes a part, from any thread: two that learn different things at once both count.
  void UpdateFacts(const std::function<void(EndpointFacts& facts)>& change);
  [[nodiscard]] bool InCooldown(base::MonoTime now) const {
    return cooldown_until_ns.load(std::memory_order_relaxed) > now.time_since_epoch().count();
  }

 private:
  const std::shared_ptr<const LookNow> look_now_;
  mutable std::mutex facts_mutex_;
  std::shared_ptr<const EndpointFacts> facts_;
};

// All endpoint states of the process, by backend and protocol. Control thread.
class EndpointBook {
 public:
  // look_now: of every state that it makes; nobody may call before it can be served.
  explicit EndpointBook(int num_workers, EndpointState::LookNow look_now = nullptr)
      : num_workers_(num_workers),
        look_now_(std::make_shared<const EndpointState::LookNow>(std::move(look_now))) {}
  // Finds, or makes, the state.
  [[nodiscard]] std::shared_ptr<EndpointState> Get(const std::string& backend,
                                                   conf::Protocol protocol);

 private:
  int num_workers_;
  std::shared_ptr<const EndpointState::LookNow> look_now_;
  std::map<std::pair<std::string, conf::Protocol>, std::shared_ptr<EndpointState>> states_;
};

using EndpointId = uint32_t;  // dense, within one table

struct Endpoint {
  EndpointId id = 0;
  uint32_t backend_index = 0;   // Config::backends
  uint32_t endpoint_index = 0;  // its endpoints
  const conf::Backend* backend = nullptr;
  const conf::Endpoint* conf = nullptr;  // its protocol may be lmtp where the listener's is smtp
  std::chrono::milliseconds cooldown{5000};
  std::shared_ptr<EndpointState> state;
  uint64_t hash_seed = 0;  // of the backend's name
  // States of all endpoints of the backend, where it has max_sessions; else empty.
  std::vector<std::shared_ptr<const EndpointState>> siblings;
  // As configured, or as an operator has said since; before any measured factor.
  [[nodiscard]] double base_weight() const {
    const int64_t operators = state->operator_weight.load(std::memory_order_relaxed);
    return operators >= 0 ? static_cast<double>(operators) : static_cast<double>(backend->weight);
  }
};

// A set of endpoints that may all take some work: the members of a pool for a protocol, or one
// backend's. Compared by address: the same home is the same object within a table.
struct Home {
  std::string name;                                 // of the pool, or of the backend
  const conf::Pool* pool = nullptr;                 // null: one backend, named by a rule
  conf::Protocol protocol = conf::Protocol::kImap;  // of the listener
  std::vector<const Endpoint*> members;             // in the order of the configuration
  // The same members by preference: lower priority first, then the node's own site.
  std::vector<std::vector<const Endpoint*>> tiers;
  uint64_t serial = 0;  // no other home of the process has had it
  // May a session that failed on one member go to another (before login, before hand-over)? For
  // smtp and submission always; for mailboxes where storage is shared or exclusive (or there is one
  // member).
  bool may_fail_over = true;
  // One member for a user at a time (Pins): mailboxes in a pool of several whose storage says so.
  bool is_exclusive = false;
  [[nodiscard]] bool Contains(EndpointId id) const;
  // Every member is down or not ready, and the pool says that they are tried all the same.
  [[nodiscard]] bool IsTriedWhenDown() const;
  // Does one of those that were not tried take work now?
  [[nodiscard]] bool HasAnother(std::span<const EndpointId> tried) const;
};

class EndpointTable {
 public:
  // config must outlive the table.
  EndpointTable(const conf::Config& config, EndpointBook& book);
  // Never null; a home may have no members (the pool serves no such protocol): that work is refused
  // temporarily.
  [[nodiscard]] const Home* PoolHome(uint32_t pool_index, conf::Protocol listener) const;
  [[nodiscard]] const Home* BackendHome(uint32_t backend_index, conf::Protocol listener) const;
  // The home of the backend that has this address ("10.0.0.11:993", "mail1.internal:993", brackets
  // about IPv6) as its endpoint for the listener; null: no backend has.
  [[nodiscard]] const Home* HomeAt(std::string_view address, conf::Protocol listener) const;
  [[nodiscard]] const std::vector<Endpoint>& endpoints() const { return endpoints_; }
  // Endpoints of every pool that a route's rules can name, as homes or to relay to, for a protocol
  // of listeners: what all can do may be announced. answers: by directory, the names it can answer.
  [[nodiscard]] std::vector<const Endpoint*> Eligible(
      const conf::Route& route, conf::Protocol listener,
      const std::vector<std::vector<std::string>>& answers = {}) const;

 private:
  const conf::Config& config_;
  std::vector<Endpoint> endpoints_;
  std::vector<std::array<Home, conf::kNumProtocols>> pools_;
  std::vector<std::array<Home, conf::kNumProtocols>> backends_;
};

}  // namespace postern::balance
