// delivery_probes: schedule and results of end-to-end probes.
// SPDX-License-Identifier: Apache-2.0
#include "health/delivery_probes.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <deque>
#include <optional>
#include <utility>

#include "health/delivery_round.h"
#include "lb/base/log.h"
#include "lb/io/timer.h"

namespace postern::health {
namespace {

using metrics::DeliveryOutcome;
using metrics::DeliveryStage;

constexpr base::Duration kLeastGap = std::chrono::seconds(1);

std::string PrintSeconds(base::Duration duration) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.3f", base::Seconds(duration));
  return text.data();
}

}  // namespace

struct DeliveryProbes::Schedule {
  Schedule(DeliveryProbes& its_owner, std::string its_name)
      : owner(its_owner),
        name(std::move(its_name)),
        timer(its_owner.loop_.timers(), io::Timer::Invoke<&Schedule::Begin, Schedule>, this) {}

  [[nodiscard]] const conf::Probe& conf() const { return owner.inputs_->config->probes[index]; }
  void Plan(base::Duration interval);
  void Begin();
  void OnDone(const DeliveryResult& result);
  void TakeStrays(const DeliveryResult& result);
  void TellFailure(const DeliveryResult& result);
  void Raise(std::string_view kind, std::string text);

  DeliveryProbes& owner;
  const std::string name;
  size_t index = 0;  // in Config::probes
  base::Duration interval{};
  io::Timer timer;
  std::unique_ptr<DeliveryRound> round;
  std::optional<base::MonoTime> began;  // the last round
  // Failed, and may still come.
  struct Missing {
    std::string id;
    base::MonoTime sent{};
  };
  std::deque<Missing> missing;
  bool is_failing = false;
  std::string told;  // the last failure that was told
  base::MonoTime told_at{};
};

DeliveryProbes::DeliveryProbes(io::Loop& loop, io::Dialer& dialer, base::Rng& rng,
                               metrics::Recorder& recorder, EventSink on_event)
    : loop_(loop),
      dialer_(dialer),
      rng_(rng),
      recorder_(recorder),
      on_event_(std::move(on_event)),
      picker_(0, rng) {}

DeliveryProbes::~DeliveryProbes() = default;

void DeliveryProbes::Watch(std::shared_ptr<const DeliveryInputs> inputs) {
  inputs_ = std::move(inputs);
  std::map<std::string, std::unique_ptr<Schedule>> old = std::move(schedules_);
  schedules_.clear();
  for (size_t i = 0; i < inputs_->config->probes.size(); ++i) {
    const conf::Probe& probe = inputs_->config->probes[i];
    std::unique_ptr<Schedule>& schedule = schedules_[probe.name];
    schedule = std::move(old[probe.name]);
    if (schedule == nullptr) schedule = std::make_unique<Schedule>(*this, probe.name);
    schedule->index = i;
    const bool is_changed = std::exchange(schedule->interval, probe.interval) != probe.interval;
    if (schedule->round == nullptr && is_changed) schedule->Plan(probe.interval);
  }
  for (auto& [name, schedule] : old) Drop(std::move(schedule));
}

void DeliveryProbes::Stop() {
  for (auto& [name, schedule] : schedules_) Drop(std::move(schedule));
  schedules_.clear();
}

void DeliveryProbes::Drop(std::unique_ptr<Schedule> schedule) {
  if (schedule == nullptr) return;
  schedule->timer.Cancel();
  loop_.Post([schedule = std::shared_ptr<Schedule>(std::move(schedule))] {});
}

void DeliveryProbes::Schedule::Plan(base::Duration its_interval) {
  const base::MonoTime now = owner.loop_.Now();
  const double spread = 0.9 + 0.2 * owner.rng_.Unit();
  const auto scaled = [spread](base::Duration duration) {
    return base::Duration(static_cast<int64_t>(static_cast<double>(duration.count()) * spread));
  };
  if (!began) {
    timer.ArmAt(now + scaled(std::min(its_interval, kFirstRound)));
    return;
  }
  // A round that took longer than the interval is not followed at once by the next.
  timer.ArmAt(std::max(*began + scaled(its_interval), now + std::min(its_interval, kLeastGap)));
}

void DeliveryProbes::Schedule::Begin() {
  if (round != nullptr) return;
  began = owner.loop_.Now();
  round = std::make_unique<DeliveryRound>(owner.loop_, owner.dialer_, owner.rng_, owner.picker_,
                                          owner.inputs_, index,
                                          [this](const DeliveryResult& result) { OnDone(result); });
  round->Start();
}

void DeliveryProbes::Schedule::OnDone(const DeliveryResult& result) {
  // The round calls from within itself: it goes when the loop is free.
  owner.loop_.Post([old = std::shared_ptr<DeliveryRound>(std::move(round))] {});
  metrics::Recorder& recorder = owner.recorder_;
  const auto observe = [&](DeliveryStage stage, const std::optional<base::Duration>& took) {
    if (took) recorder.DeliveryStageDone(name, stage, *took);
  };
  observe(DeliveryStage::kSubmit, result.submit);
  observe(DeliveryStage::kArrive, result.arrive);
  observe(DeliveryStage::kCleanup, result.cleanup);
  observe(DeliveryStage::kRoundtrip, result.roundtrip);
  const bool is_ok = result.failure == DeliveryFailure::kNone;
  recorder.DeliveryDone(name, is_ok ? DeliveryOutcome::kOk : DeliveryOutcome::kFailed);
  if (is_ok) {
    base::log::Debug("delivery_probe", {{"probe", name},
                                        {"submit_s", PrintSeconds(*result.submit)},
                                        {"arrive_s", PrintSeconds(*result.arrive)}});
    if (std::exchange(is_failing, false)) {
      const std::string text = "arrived within " + PrintSeconds(*result.roundtrip) + " s";
      base::log::Info("delivery_probe_ok", {{"probe", name}, {"what", text}});
      Raise("delivery_probe_ok", text);
      told.clear();
    }
  } else {
    is_failing = true;
    TellFailure(result);
    if (result.is_accepted && result.failure != DeliveryFailure::kJunk &&
        result.failure != DeliveryFailure::kCleanup) {
      missing.push_back({result.id, *began});
      if (missing.size() > kMaxMissing) missing.pop_front();
    }
  }
  TakeStrays(result);
  Plan(interval);
}

void DeliveryProbes::Schedule::TellFailure(const DeliveryResult& result) {
  const base::MonoTime now = owner.loop_.Now();
  const std::string_view kind =
      result.failure == DeliveryFailure::kJunk ? "delivery_probe_junk" : "delivery_probe_failed";
  std::string text = std::string(Name(result.failure)) + ": " + result.why;
  if (text == told && now - told_at < kSilence) return;
  base::log::Warn(
      kind, {{"probe", name}, {"failure", std::string(Name(result.failure))}, {"why", result.why}});
  Raise(kind, text);
  told = std::move(text);
  told_at = now;
}

// What was deleted beside the message looked for: late ones, and what an earlier process left.
void DeliveryProbes::Schedule::TakeStrays(const DeliveryResult& result) {
  size_t num_unknown = 0;
  for (const std::string& id : result.strays) {
    const auto known = std::find_if(missing.begin(), missing.end(),
                                    [&id](const Missing& each) { return each.id == id; });
    if (known == missing.end()) {
      ++num_unknown;
      continue;
    }
    owner.recorder_.DeliveryDone(name, DeliveryOutcome::kLate);
    const std::string text =
        "found " + PrintSeconds(owner.loop_.Now() - known->sent) + " s after it was sent";
    base::log::Warn("delivery_probe_late", {{"probe", name}, {"what", text}});
    Raise("delivery_probe_late", text);
    missing.erase(known);
  }
  if (num_unknown > 0)
    base::log::Info("delivery_probe_cleaned",
                    {{"probe", name}, {"messages", std::to_string(num_unknown)}});
}

void DeliveryProbes::Schedule::Raise(std::string_view kind, std::string text) {
  if (owner.on_event_) owner.on_event_({std::string(kind), name, std::move(text)});
}

}  // namespace postern::health
