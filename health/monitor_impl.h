// monitor_impl: the inside of Monitor: its subjects (endpoints, over reloads) and its groups (what
// is weighed together).
//
// monitor.cc has the checks and what follows from them, monitor_weights.cc the weights and reports.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "health/delivery_probes.h"
#include "health/forecast.h"
#include "health/judge.h"
#include "health/monitor.h"
#include "health/prober.h"
#include "health/queue_monitor.h"
#include "health/weigher.h"
#include "lb/io/host_names.h"
#include "lb/io/timer.h"

namespace postern::health {

struct Monitor::Impl {
  struct Group;

  // An endpoint, over reloads.
  struct Subject {
    std::shared_ptr<balance::EndpointState> state;
    std::shared_ptr<const MonitorInputs> watched;  // endpoint, pool and probes point into it
    const balance::Endpoint* endpoint = nullptr;
    const conf::Pool* pool = nullptr;  // whose settings hold; null: the global ones

    std::unique_ptr<Prober> prober;
    Judge judge{2, 3};
    std::optional<Observation> last_check;
    base::WallTime last_check_at{};
    std::optional<std::vector<std::string>> checked_capabilities;
    std::optional<base::WallTime> certificate_not_after;
    std::string relay_reply;  // its yes to the stranger; empty: it does not relay
    balance::LiveSums live;   // as of the last interval
    // Which address of its host is a listener of our own, in words; empty: none.
    std::string loop;
    bool is_loop = false;  // all of them are
    bool is_down_by_agent = false;
    std::string agent_words;
    balance::Health shown = balance::Health::kUp;  // what the log has

    Group* group = nullptr;
    MemberId member = 0;
    MemberMemory memory;  // while it is in no group

    [[nodiscard]] const conf::Health& conf() const {
      return pool != nullptr ? pool->health : watched->config->health;
    }
  };

  // Where a backend's queue is heading, over reloads.
  struct QueueTrend {
    Forecast forecast{std::chrono::minutes(1)};
    base::MonoTime read{};  // the last reading that it has
  };

  // The members of one pool for one protocol, weighed together, each interval.
  struct Group {
    Group(Impl& its_owner, PoolWeigher its_weigher, base::Duration its_interval)
        : owner(its_owner),
          weigher(std::move(its_weigher)),
          interval(its_interval),
          timer(its_owner.loop.timers(), io::Timer::Invoke<&Group::OnTimer, Group>, this) {}
    void OnTimer() { owner.Tick(*this); }

    Impl& owner;
    PoolWeigher weigher;
    std::vector<Subject*> members;  // by MemberId
    const base::Duration interval;
    io::Timer timer;
  };

  Impl(io::Loop& its_loop, io::Dialer& its_dialer, io::Resolver& resolver, base::Rng& its_rng,
       metrics::Registry& its_registry, MonitorHooks its_hooks);

  // Endpoints and their checks.
  void Watch(MonitorInputs inputs);
  void Adopt(const balance::Endpoint& endpoint);
  void MakeProber(Subject& subject);
  void OnResolved(const std::string& host, const std::vector<base::IpAddress>& addresses);
  bool Place(Subject& subject, std::vector<base::IpAddress> addresses);
  [[nodiscard]] std::optional<ProbePlan> PlanFor(const Subject& subject, Prober::Kind kind) const;
  void OnCheck(Subject& subject, const Observation& seen);
  void OnRelayCheck(Subject& subject, const Observation& seen);
  void Learn(Subject& subject, const Observation& seen);
  void ApplyHealth(Subject& subject);

  // Weights.
  void MakeGroups();
  void Tick(Group& group);
  void TakeLive(Subject& subject);
  void TakeQueue(Subject& subject);
  void OnQueueChange(uint32_t backend_index);
  // Nothing for a backend without a queue source.
  [[nodiscard]] std::optional<QueueStanding> QueueOf(uint32_t backend_index) const {
    return queues.Of(backend_index);
  }
  void StoreServing(Subject& subject);
  void FollowQueue(const conf::Backend& backend, const QueueStanding& standing);
  [[nodiscard]] std::optional<double> SecondsToHard(const conf::Backend& backend) const;
  void StoreVerdict(Subject& subject);

  // What operators and agents have said; with the mutex.
  void ApplyAdmin(balance::EndpointState& state);
  // Once the mutex was let go; nothing where there is no change.
  void TellAdmin(const balance::EndpointState& state, balance::AdminState was,
                 balance::AdminState now, std::string_view by) const;
  void OnAgentWord(Subject& subject, const AgentStanding& agent);

  // Of an endpoint; any thread.
  void Raise(std::string_view kind, const balance::EndpointState& state, std::string text) const;

  void PublishSoon();
  void Publish();
  [[nodiscard]] EndpointReport ReportOf(const Subject& subject) const;
  [[nodiscard]] std::string ReasonOf(const Subject& subject) const;

  io::Loop& loop;
  io::Dialer& dialer;
  base::Rng& rng;
  metrics::Registry& registry;
  const MonitorHooks hooks;
  metrics::Recorder recorder;
  std::shared_ptr<const MonitorInputs> watched = std::make_shared<const MonitorInputs>();
  std::map<const balance::EndpointState*, std::unique_ptr<Subject>> subjects;
  std::vector<Subject*> by_id;  // EndpointId
  std::vector<std::unique_ptr<Group>> groups;
  std::map<std::string, QueueTrend> queue_trends;  // by backend
  io::HostNames names;
  QueueMonitor queues;
  DeliveryProbes deliveries;
  io::Timer publish_timer;
  base::MonoTime published{};

  struct Words {
    std::optional<balance::AdminState> operators;  // drain or maintenance
    std::optional<balance::AdminState> agents;
    bool is_agent_overruled = false;  // an operator said ready; until the agent says another word
  };
  mutable std::mutex mutex;  // of the two that follow
  std::map<const balance::EndpointState*, Words> words;
  std::shared_ptr<const HealthReport> report = std::make_shared<const HealthReport>();
};

}  // namespace postern::health
