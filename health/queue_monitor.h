// queue_monitor: how long each backend's mail queue is, and what its agent says, read on schedule.
//
// Every backend with a `queue` has one source; each is read at once (spread over its interval, 1 s
// at most) and then every interval +-10 %, one read at a time, 2 s and 4 MiB at most, never
// blocking. A reading counts until it is stale_after old; then, or where a source gave nonsense
// since its last good reading for that long, the backend's queue is unknown: neutral, never zero.
// Agents:   words stay until the agent says otherwise, also while it cannot be reached (as HAProxy
//           has it); its percentage counts as long as a depth does.
// Logs:     one line when a source starts to fail, counts no more, or works again, and when an
//           agent's words change; none per read.
// Metrics:  backend_queue_depth, backend_queue_read_timestamp_seconds,
//           backend_queue_read_errors_total.
// Does not: weigh, or set any endpoint's state; that is the monitor's, which asks Of().
// Owner:    health monitor.   Thread: the health loop's.
// Tests:    test/health/queue_monitor_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "conf/config.h"
#include "health/event.h"
#include "lb/balance/endpoint.h"
#include "lb/base/clock.h"
#include "lb/base/rng.h"
#include "lb/io/dialer.h"
#include "lb/io/loop.h"
#include "lb/io/resolver.h"
#include "lb/io/stream.h"
#include "metrics/recorder.h"

namespace postern::health {

// What an agent has said last, as HAProxy understands it; nothing: it never said a word of that
// kind.
struct AgentStanding {
  // 0.75 of "75%". Never 0: "0%" is `admin` drain, as in HAProxy, until another percentage comes.
  std::optional<double> factor;
  std::optional<balance::Health> state;      // kDown: down, fail, stopped; kUp: up
  std::optional<balance::AdminState> admin;  // ready, drain, maint; an operator's own word wins
  std::string words;  // as it said them, printable: "drain", "down # disk full"; for the reason
};

// What is known of one backend's queue at the moment of asking.
struct QueueStanding {
  std::optional<double> depth;        // nothing: neutral
  std::string_view source;            // "prometheus", "agent", "http_json", "showq"
  std::optional<base::Duration> age;  // of the last good reading; nothing: there was none
  std::string why_neutral;            // in words; empty while `depth` counts
  AgentStanding agent;
};

// What the TLS settings of a source are made of: tls::TlsClientContext::Build(config.tls, verify,
// host, ...). The backend's own `verify` holds for its queue source too, but the name is the URL's
// host unless that is the backend's host.
struct QueueTls {
  conf::Verify verify;
  std::string host;
};
// Nothing where no https:// is read.
[[nodiscard]] std::optional<QueueTls> QueueTlsOf(const conf::Backend& backend);

class QueueMonitor {
 public:
  // on_change: what an agent says of state or admin state has changed, which is to act at once
  // (depths act at the weigher's next interval); the argument is the backend's index in the
  // configuration watched. Called from the loop, may ask Of().
  // on_event: when a source begins to fail, or works again; may be null.
  QueueMonitor(io::Loop& loop, io::Dialer& dialer, io::Resolver& resolver, base::Rng& rng,
               metrics::Registry& registry, metrics::Recorder& recorder,
               std::function<void(uint32_t backend_index)> on_change, EventSink on_event = nullptr);
  ~QueueMonitor();

  // From now on these backends. Sources whose backend and settings did not change keep their
  // readings and their schedule. tls: by backend index, null where QueueTlsOf gives nothing.
  void Watch(std::shared_ptr<const conf::Config> config,
             std::vector<std::shared_ptr<const io::TlsSettings>> tls);

  // By index in the configuration watched; nothing for a backend without a `queue`.
  [[nodiscard]] std::optional<QueueStanding> Of(uint32_t backend_index) const;

 private:
  struct Source;

  io::Loop& loop_;
  io::Dialer& dialer_;
  io::Resolver& resolver_;
  base::Rng& rng_;
  metrics::Registry& registry_;
  metrics::Recorder& recorder_;
  std::function<void(uint32_t)> on_change_;
  const EventSink on_event_;
  std::vector<std::unique_ptr<Source>> sources_;  // by backend index; null: none
};

}  // namespace postern::health
