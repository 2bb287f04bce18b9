// worlds_test: the weigher and the picker in a loop with backends that queue, on virtual time.
//
// A world by its seed: two to eight backends with a few workers each and lognormal service times,
// Poisson arrivals, checks with jitter, and one fault: none, a step, a ramp, spikes, flapping, all
// slow, a mail queue that grows, a death. What must hold in each: weights do not oscillate, a
// healthy member gets its share, who was slowed ten times is near min_factor within three
// intervals, and after the fault every ratio comes back.
// POSTERN_SIM_SEEDS: how many worlds (10000 where the build is optimised); POSTERN_SIM_SEED: only
// this one, and with POSTERN_WORLD_TRACE=1 its ratios (and open sessions) at every tick.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>
#include <queue>
#include <string>
#include <vector>

#include "health/weigher.h"
#include "lb/balance/picker.h"
#include "lb/base/rng.h"
#include "test/sim/seeds.h"

namespace postern::health {
namespace {

using base::Phase;

enum class Fault { kNone, kStep, kRamp, kSpikes, kFlapping, kAllSlow, kQueue, kDeath };
constexpr int kNumFaults = 8;
constexpr const char* kFaultNames[] = {"none",     "step",     "ramp",  "spikes",
                                       "flapping", "all slow", "queue", "death"};

constexpr double kInterval = 5, kFastInterval = 1;
constexpr double kFaultStart = 60;
constexpr double kQueueInterval = 15;
constexpr double kMinFactor = 0.05;

base::MonoTime At(double seconds) {
  return base::MonoTime(std::chrono::hours(1)) +
         std::chrono::duration_cast<base::Duration>(std::chrono::duration<double>(seconds));
}
base::Duration Span(double seconds) {
  return std::chrono::duration_cast<base::Duration>(std::chrono::duration<double>(seconds));
}

// What happened to one member, for the judgement.
struct History {
  int turns = 0;          // changes of direction of the ratio
  int direction = 0;      // of the last move
  double last = 1;        // ratio
  double reacted = -1;    // seconds from the fault's start until the ratio was near the floor
  double recovered = -1;  // seconds from the fault's end until the ratio stayed up
  uint64_t picks = 0;     // during the fault
};

class World {
 public:
  explicit World(uint64_t seed) : rng_(seed), picker_(0, rng_) { Make(); }

  void Run() {
    double arrival = Exponential(rate_);
    double tick = kInterval, reading = kQueueInterval * rng_.Unit();
    while (true) {
      double probe = 1e18;
      size_t prober = 0;
      for (size_t i = 0; i < servers_.size(); ++i)
        if (servers_[i].next_probe < probe) probe = servers_[i].next_probe, prober = i;
      const double next = std::min({arrival, tick, reading, probe});
      if (next > end_) break;
      now_ = next;
      if (next == arrival) {
        Arrive();
        arrival += Exponential(rate_);
      } else if (next == probe) {
        Check(prober);
      } else if (next == reading) {
        ReadQueues();
        reading += kQueueInterval;
      } else {
        Tick();
        tick += kInterval;
      }
    }
  }

  [[nodiscard]] std::string Describe() const {
    char text[200];
    std::snprintf(text, sizeof text,
                  "%s x%.1f, %zu backends of %zu workers, %.0f ms, sigma %.2f, "
                  "load %.2f, %.1f/s, fault of %.0f s",
                  kFaultNames[static_cast<int>(fault_)], strength_, servers_.size(), workers_,
                  service_ * 1000, sigma_, utilisation_, rate_, fault_end_ - kFaultStart);
    return text;
  }

  struct Server {
    std::priority_queue<double, std::vector<double>, std::greater<>> free;  // workers' times
    std::priority_queue<double, std::vector<double>, std::greater<>> ends;  // open sessions
    double next_probe = 0;
    double depth = 0;
    double inflow = 0;  // messages since the last reading
    double pace = 1;    // its own constant slowness
    // Means of the present interval: seconds until greeting, of hello, of login or reply.
    double sums[3] = {};
    uint32_t count = 0;
    // Sessions under way, by when they end: what their phases took.
    struct Done {
      double at;
      double phases[3];
      bool operator>(const Done& other) const { return at > other.at; }
    };
    std::priority_queue<Done, std::vector<Done>, std::greater<>> done;
    History history;
  };

  base::SeededRng rng_;
  balance::EndpointBook book_{1};
  balance::Picker picker_;
  conf::Config config_;
  std::unique_ptr<balance::EndpointTable> table_;
  const balance::Home* home_ = nullptr;
  std::unique_ptr<PoolWeigher> weigher_;
  std::vector<Server> servers_;
  Fault fault_ = Fault::kNone;
  bool is_smtp_ = false;
  bool is_live_ = true;  // sessions' own phases are seen, not only checks
  size_t workers_ = 4;
  double service_ = 0.1, sigma_ = 0.5, utilisation_ = 0.5, rate_ = 10, strength_ = 10;
  double fault_end_ = 0, end_ = 0, period_ = 20, now_ = 0;
  double soft_ = 500, hard_ = 5000, drain_ = 1;
  bool is_down_ = false;

 private:
  static constexpr size_t kSick = 0;

  double Between(double low, double high) { return low + (high - low) * rng_.Unit(); }
  double LogBetween(double low, double high) { return low * std::pow(high / low, rng_.Unit()); }
  double Exponential(double rate) { return -std::log(1 - rng_.Unit()) / rate; }
  double Normal() {
    return std::sqrt(-2 * std::log(1 - rng_.Unit())) * std::cos(6.283185307 * rng_.Unit());
  }

  void Make() {
    fault_ = static_cast<Fault>(rng_.Below(kNumFaults));
    is_smtp_ = fault_ == Fault::kQueue || rng_.Below(2) == 0;
    is_live_ = rng_.Below(8) != 0;
    const size_t num = 2 + rng_.Below(7);
    workers_ = 2 + rng_.Below(8);
    service_ = LogBetween(0.01, 0.6);
    sigma_ = Between(0.1, 0.8);
    // So many sessions that the faulty member's share fits on the others.
    utilisation_ = Between(0.1, 0.6);
    if (num < 4) utilisation_ *= 0.6;
    const double mean = service_ * std::exp(sigma_ * sigma_ / 2);
    rate_ = std::min(30.0, utilisation_ * static_cast<double>(num * workers_) / mean);
    utilisation_ = rate_ * mean / static_cast<double>(num * workers_);
    strength_ = LogBetween(3, 30);
    if (fault_ == Fault::kStep) strength_ = LogBetween(10, 30);
    fault_end_ = kFaultStart + Between(40, 90);
    end_ = fault_end_ + 180;
    period_ = Between(4, 30);

    conf::Pool pool;
    pool.name = "p";
    for (size_t i = 0; i < num; ++i) {
      conf::Backend backend;
      backend.name = std::string("b") + std::to_string(i);
      conf::Endpoint endpoint;
      endpoint.protocol = protocol();
      backend.endpoints.push_back(endpoint);
      pool.backends.push_back(backend.name);
      config_.backends.push_back(backend);
    }
    config_.pools.push_back(pool);
    table_ = std::make_unique<balance::EndpointTable>(config_, book_);
    home_ = table_->PoolHome(0, protocol());
    conf::Weights weights;
    weights.min_factor = kMinFactor;
    weigher_ = std::make_unique<PoolWeigher>(weights, WeigherTimes{}, protocol());
    servers_.resize(num);
    const bool is_uneven = rng_.Below(2) == 0;
    for (size_t i = 0; i < num; ++i) {
      (void)weigher_->Add(config_.backends[i].name, 100);
      for (size_t k = 0; k < workers_; ++k) servers_[i].free.push(0);
      servers_[i].next_probe = Between(0, kInterval);
      if (is_uneven) servers_[i].pace = Between(1, 1.15);
    }
    // A queue that empties twice as fast as mail comes, in a quarter of the hard limit at most.
    drain_ = 2 * rate_ / static_cast<double>(num);
    soft_ = rate_ * 3;
    hard_ = rate_ * 15;
  }
  [[nodiscard]] conf::Protocol protocol() const {
    return is_smtp_ ? conf::Protocol::kSmtp : conf::Protocol::kImap;
  }
  [[nodiscard]] bool InFault(double at) const {
    return at >= kFaultStart && at < fault_end_ && fault_ != Fault::kNone;
  }

  // How many times slower a server is now.
  double Slowness(size_t i) {
    const Server& server = servers_[i];
    if (!InFault(now_)) return server.pace;
    const double since = now_ - kFaultStart;
    switch (fault_) {
      case Fault::kStep:
        return i == kSick ? server.pace * strength_ : server.pace;
      case Fault::kRamp:
        return i == kSick ? server.pace * std::min(strength_, std::pow(1.1, since)) : server.pace;
      case Fault::kSpikes:
        return rng_.Below(100) == 0 ? server.pace * 40 : server.pace;
      case Fault::kFlapping:
        return i == kSick && std::fmod(since, 2 * period_) < period_ ? server.pace * strength_
                                                                     : server.pace;
      case Fault::kAllSlow:
        return server.pace * std::min(strength_, 0.8 / utilisation_);
      default:
        return server.pace;
    }
  }

  // One piece of work on a server: what its phases take. FIFO, so that all is known at once.
  Server::Done Serve(size_t i, double part) {
    Server& server = servers_[i];
    const double took = service_ * std::exp(sigma_ * Normal()) * Slowness(i) * part;
    const double start = std::max(now_, server.free.top());
    server.free.pop();
    server.free.push(start + took);
    return {start + took, {start - now_ + 0.2 * took / part, 0.1 * took / part, 0.7 * took / part}};
  }

  void Finish(size_t i) {
    Server& server = servers_[i];
    while (!server.done.empty() && server.done.top().at <= now_) {
      for (int k = 0; k < 3; ++k) server.sums[k] += server.done.top().phases[k];
      ++server.count;
      server.done.pop();
      picker_.Ended(*home_->members[i]->state);
    }
  }

  void Arrive() {
    for (size_t i = 0; i < servers_.size(); ++i) Finish(i);
    const balance::Endpoint* endpoint = picker_.Pick(*home_, "", {}, At(now_));
    ASSERT_NE(endpoint, nullptr);
    const size_t i = endpoint->backend_index;
    picker_.Started(*endpoint->state);
    servers_[i].done.push(Serve(i, 1));
    servers_[i].inflow += 1;
    if (InFault(now_)) ++servers_[i].history.picks;
  }

  void Check(size_t i) {
    Server& server = servers_[i];
    const bool is_dead = i == kSick && fault_ == Fault::kDeath && InFault(now_);
    if (!is_dead) {
      const Server::Done done = Serve(i, 0.3);
      weigher_->Observe(static_cast<MemberId>(i), Phase::kGreeting, Span(done.phases[0]), 1,
                        At(now_));
      weigher_->Observe(static_cast<MemberId>(i), Phase::kHello, Span(done.phases[1]), 1, At(now_));
    }
    if (i == kSick && is_dead != is_down_) {  // a check or two later than in life: no matter here
      is_down_ = is_dead;
      weigher_->SetServing(kSick, !is_dead, At(now_));
      home_->members[i]->state->health = is_dead ? balance::Health::kDown : balance::Health::kUp;
    }
    const bool is_in_doubt = weigher_->IsInDoubt(static_cast<MemberId>(i));
    server.next_probe = now_ + (is_in_doubt ? kFastInterval : kInterval) * Between(0.9, 1.1);
  }

  void ReadQueues() {
    if (!is_smtp_) return;
    for (size_t i = 0; i < servers_.size(); ++i) {
      Server& server = servers_[i];
      const bool is_stuck = fault_ == Fault::kQueue && i == kSick && InFault(now_);
      const double drain = drain_ * kQueueInterval * (is_stuck ? 0.05 : 1);
      server.depth = std::max(0.0, server.depth + server.inflow - drain);
      server.inflow = 0;
      const double noisy = std::max(0.0, server.depth * (1 + 0.05 * Normal()));
      weigher_->SetQueue(static_cast<MemberId>(i), noisy, soft_, hard_);
    }
  }

  void Tick() {
    for (size_t i = 0; i < servers_.size(); ++i) {
      Finish(i);
      Server& server = servers_[i];
      if (server.count > 0 && is_live_) {
        const Phase phases[] = {Phase::kGreeting, Phase::kHello,
                                is_smtp_ ? Phase::kDataReply : Phase::kLogin};
        for (int k = 0; k < 3; ++k)
          weigher_->Observe(static_cast<MemberId>(i), phases[k],
                            Span(server.sums[k] / server.count), server.count, At(now_));
      }
      for (double& sum : server.sums) sum = 0;
      server.count = 0;
    }
    weigher_->Tick(At(now_));
    for (size_t i = 0; i < servers_.size(); ++i) {
      const Verdict& verdict = weigher_->verdict(static_cast<MemberId>(i));
      EXPECT_TRUE(verdict.ratio > 0 && verdict.ratio <= 1) << verdict.ratio;
      home_->members[i]->state->weight_ratio = static_cast<float>(verdict.ratio);
      Record(servers_[i].history, verdict.ratio, servers_[i].pace);
    }
    if (std::getenv("POSTERN_WORLD_TRACE") != nullptr) {
      std::printf("%6.1f", now_);
      for (size_t i = 0; i < servers_.size(); ++i)
        std::printf("  %.3f(%2zu)", weigher_->verdict(static_cast<MemberId>(i)).ratio,
                    servers_[i].done.size());
      std::printf("  %s\n", weigher_->verdict(0).reason.c_str());
    }
  }

  void Record(History& history, double ratio, double pace) {
    if (now_ > fault_end_ + kInterval) {
      // As far as its own constant pace allows.
      if (history.recovered < 0 && ratio > 0.9 / (pace * pace))
        history.recovered = now_ - fault_end_;
    } else if (InFault(now_)) {
      if (history.reacted < 0 && ratio <= 2 * kMinFactor) history.reacted = now_ - kFaultStart;
    }
    if (std::abs(ratio - history.last) < 1e-9) return;
    const int direction = ratio > history.last ? 1 : -1;
    if (history.direction != 0 && direction != history.direction) ++history.turns;
    history.direction = direction;
    history.last = ratio;
  }
};

#ifdef __OPTIMIZE__
constexpr uint64_t kWorlds = 10000;
#else
constexpr uint64_t kWorlds = 200;
#endif

// All worlds run once; each test looks at what happened in them.
class Worlds : public testing::Test {
 protected:
  struct Seen {
    uint64_t seed;
    size_t member;
    Fault fault;
    double pace;
    double share;    // of the fault's work, 1 = as much as any other of its weight
    uint64_t picks;  // of the whole pool during the fault
    History history;
    std::string world;
  };
  static void SetUpTestSuite() {
    test::ForSeeds(kWorlds, [](uint64_t seed) {
      World world(seed);
      world.Run();
      uint64_t picks = 0;
      for (const World::Server& server : world.servers_) picks += server.history.picks;
      for (size_t i = 0; i < world.servers_.size(); ++i) {
        const World::Server& server = world.servers_[i];
        const double even = static_cast<double>(picks) / static_cast<double>(world.servers_.size());
        const double share = picks == 0 ? 1 : static_cast<double>(server.history.picks) / even;
        seen_.push_back(
            {seed, i, world.fault_, server.pace, share, picks, server.history, world.Describe()});
      }
    });
  }
  static void TearDownTestSuite() { seen_.clear(); }
  static bool IsHealthy(const Seen& seen) { return seen.member != 0 || seen.fault == Fault::kNone; }
  static std::string Text(const Seen& seen) {
    return "POSTERN_SIM_SEED=" + std::to_string(seen.seed) + ", member " +
           std::to_string(seen.member) + ": " + seen.world;
  }
  static std::vector<Seen> seen_;
};
std::vector<Worlds::Seen> Worlds::seen_;

TEST_F(Worlds, WeightsDoNotOscillate) {
  // A fault that comes and goes is two turns of the one that has it. Over four minutes, and with
  // whatever noise, no weight turns often, and few turn more than the fault did.
  size_t more_than_needed = 0;
  for (const Seen& seen : seen_) {
    EXPECT_LE(seen.history.turns, 10) << Text(seen);
    more_than_needed += seen.history.turns > (IsHealthy(seen) ? 2 : 4);
  }
  EXPECT_LE(more_than_needed, 5 + seen_.size() * 8 / 100) << "of " << seen_.size() << " members";
}

TEST_F(Worlds, AHealthyMemberGetsItsShare) {
  for (const Seen& seen : seen_) {
    if (!IsHealthy(seen) || seen.picks < 200) continue;
    // Where all are ill in the same way, whoever has the worst luck still gets a part.
    const double least = seen.fault == Fault::kSpikes    ? 0.1
                         : seen.fault == Fault::kAllSlow ? 0.3
                                                         : 0.5;
    EXPECT_GE(seen.share, least) << Text(seen);
  }
}

TEST_F(Worlds, EveryRatioComesBack) {
  for (const Seen& seen : seen_) {
    EXPECT_TRUE(seen.history.recovered >= 0 && seen.history.recovered <= 175)
        << seen.history.recovered << " s: " << Text(seen);
  }
}

TEST_F(Worlds, ATenfoldSlownessIsSeenWithinThreeIntervals) {
  size_t steps = 0, late = 0, never = 0;
  for (const Seen& seen : seen_) {
    if (seen.fault != Fault::kStep || IsHealthy(seen)) continue;
    ++steps;
    late += seen.history.reacted > 3 * kInterval;
    never += seen.history.reacted < 0;
  }
  // Late where sessions are few, or scatter as much as the fault: there was nothing to see.
  EXPECT_LE(never, 1 + steps / 1000) << "of " << steps;
  EXPECT_LE(late, 1 + steps * 2 / 100) << "of " << steps;
}

}  // namespace
}  // namespace postern::health
