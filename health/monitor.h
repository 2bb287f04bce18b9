// monitor: the health thread's whole work, and health's only face to the daemon: where endpoints
// are, whether they serve, how well, and what that is worth.
//
// Owns name resolving, a prober and a judge for each endpoint, the weighers, and the readers of
// mail queues. Writes its verdicts into balance::EndpointState (health, weight_ratio,
// is_above_hard, average_us, facts), and publishes a HealthReport every interval and after every
// change. What it knows of an endpoint is kept by backend name and protocol over reloads; so is
// what an operator has said.
// An endpoint in several pools is checked and weighed as in the one with the most members.
// Owner:    the process.   Thread: the health loop's, but for the methods that say otherwise.
// Tests:    test/health/monitor_test.cc, test/e2e/test_health.py
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "conf/config.h"
#include "conf/own_listener.h"
#include "health/delivery_plan.h"
#include "health/event.h"
#include "health/report.h"
#include "lb/balance/endpoint.h"
#include "lb/base/rng.h"
#include "lb/io/dialer.h"
#include "lb/io/loop.h"
#include "lb/io/resolver.h"
#include "lb/io/stream.h"
#include "metrics/recorder.h"

namespace postern::health {

struct MonitorHooks {
  // Some endpoint's facts have changed: listeners may announce other things.
  std::function<void()> on_news;
  // An endpoint has just gone down: whoever waits there goes elsewhere.
  std::function<void(balance::EndpointState& endpoint)> on_down;
  // Something that operators should hear of; it is in the log already. Called by whichever thread
  // it happens on: the health loop's, or that of SetAdmin and SetWeight.
  EventSink on_event = nullptr;
};

// Of one configuration; each vector may be shorter than its index: nothing is there.
struct MonitorInputs {
  std::shared_ptr<const conf::Config> config;
  std::shared_ptr<const balance::EndpointTable> endpoints;
  std::vector<std::shared_ptr<const io::TlsSettings>> back_tls;   // by EndpointId
  std::vector<std::shared_ptr<const io::TlsSettings>> queue_tls;  // by backend index
  std::vector<std::vector<metrics::CheckSlots>> slots;            // [backend][endpoint]
  std::vector<DeliveryDoor> delivery_doors = {};                  // as Config::probes
  // An endpoint that turns out to be one of these is down, as it would be a loop.
  std::vector<conf::OwnListener> own_listeners = {};
  conf::IsOwnAddress is_own_address = nullptr;
};

class Monitor {
 public:
  // All references outlive it.
  Monitor(io::Loop& loop, io::Dialer& dialer, io::Resolver& resolver, base::Rng& rng,
          metrics::Registry& registry, MonitorHooks hooks);
  ~Monitor();

  // From now on these endpoints; what is known of them already stays.
  void Watch(MonitorInputs inputs);

  // The process ends: no more delivery probes, whose listeners are closed.
  void StopDeliveries();

  // A session has met something there (EndpointState::WantCheck): checks it as soon as may be.
  void LookNow(balance::EndpointState& endpoint);

  // Any thread: an operator's word. It is in force when this returns, and stands over reloads until
  // the next one; ready also overrules what an agent says now.
  void SetAdmin(balance::EndpointState& endpoint, balance::AdminState state);
  // Any thread: in place of the configured weight.
  void SetWeight(balance::EndpointState& endpoint, uint32_t weight);

  // Any thread: the last one published; never null.
  [[nodiscard]] std::shared_ptr<const HealthReport> Report() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace postern::health
