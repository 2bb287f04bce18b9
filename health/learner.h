// learner: finds out, on the health thread, where endpoints are and what they can do.
//
// Resolves each backend's host, again at its TTL, and learns each endpoint's capabilities once, by
// the same dialogue that sessions have (proto/*_back, without a login), until that has worked. Both
// go into EndpointState::facts. Does not: judge health or weigh; that grows beside it (README.md).
// Limits:   one probe an endpoint at a time, kProbeTimeout each, backoff kFirstRetry to
// kLongestRetry.
// Owner:    the process.   Thread: the health loop's. Tests:
// test/health/learner_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "conf/config.h"
#include "health/probe.h"
#include "lb/balance/endpoint.h"
#include "lb/io/dialer.h"
#include "lb/io/loop.h"
#include "lb/io/resolver.h"
#include "lb/io/stream.h"
#include "lb/io/timer.h"

namespace postern::health {

class Learner {
 public:
  static constexpr base::Duration kShortestTtl = std::chrono::seconds(5);
  static constexpr base::Duration kLongestTtl = std::chrono::hours(1);
  static constexpr base::Duration kFirstRetry = std::chrono::seconds(1);
  static constexpr base::Duration kLongestRetry = std::chrono::seconds(60);

  // on_news: some endpoint's facts have changed.
  Learner(io::Loop& loop, io::Dialer& dialer, io::Resolver& resolver,
          std::function<void()> on_news);
  ~Learner();

  // From now on these endpoints; what is known of them already stays. back_tls by EndpointId.
  void Watch(std::shared_ptr<const conf::Config> config,
             std::shared_ptr<const balance::EndpointTable> endpoints,
             std::vector<std::shared_ptr<const io::TlsSettings>> back_tls);

 private:
  struct Host;
  struct Lesson;

  void Resolve(Host& host);
  void OnResolved(const std::string& name, uint64_t generation, const io::ResolvedName& resolved);
  void StartProbe(Lesson& lesson);
  void OnProbed(Lesson& lesson, const ProbeResult& result);

  io::Loop& loop_;
  io::Dialer& dialer_;
  io::Resolver& resolver_;
  std::function<void()> on_news_;
  uint64_t generation_ = 0;
  std::shared_ptr<const conf::Config> config_;
  std::shared_ptr<const balance::EndpointTable> endpoints_;
  std::vector<std::shared_ptr<const io::TlsSettings>> back_tls_;
  std::map<std::string, std::unique_ptr<Host>> hosts_;
  std::vector<std::unique_ptr<Lesson>> lessons_;
};

}  // namespace postern::health
