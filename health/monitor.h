// monitor: the health thread's whole work, and health's only face to the daemon: where endpoints
// are, whether they serve, how well, and what that is worth.
//
// Owns name resolving, the prober, a judge for each endpoint, the weighers and the readers of mail
// queues. Writes its verdicts into balance::EndpointState (health, weight_ratio, is_above_hard,
// average_us, facts), and publishes a HealthReport every interval. What it knows of an endpoint is
// kept by backend name and protocol over reloads; so is what an operator has said.
// Owner:    the process.   Thread: the health loop's, except Report(), which is any thread's.
// Tests:    test/health/monitor_test.cc, test/integration/health_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "conf/config.h"
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
};

class Monitor {
 public:
  // All references outlive it.
  Monitor(io::Loop& loop, io::Dialer& dialer, io::Resolver& resolver, base::Rng& rng,
          metrics::Registry& registry, MonitorHooks hooks);
  ~Monitor();

  // From now on these endpoints; what is known of them already stays. back_tls by EndpointId.
  void Watch(std::shared_ptr<const conf::Config> config,
             std::shared_ptr<const balance::EndpointTable> endpoints,
             std::vector<std::shared_ptr<const io::TlsSettings>> back_tls);

  // An operator's word; it stands over reloads until the next one. Without a protocol: all of the
  // backend's. The names must be of the configuration in force (false: they are not).
  bool SetAdmin(const std::string& backend, std::optional<conf::Protocol> protocol,
                balance::AdminState state);
  // Overrides the configured weight of a backend.
  bool SetWeight(const std::string& backend, uint32_t weight);

  // A session has met something there (EndpointState::WantCheck): checks it as soon as may be.
  void LookNow(balance::EndpointState& endpoint);

  // The last one published; never null.
  [[nodiscard]] std::shared_ptr<const HealthReport> Report() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace postern::health
