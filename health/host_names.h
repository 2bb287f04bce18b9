// host_names: where hosts are, looked up again whenever an answer has run out.
//
// A lookup that fails is repeated soon, and changes nothing: addresses that were good a minute ago
// are better than none.
// Owner:    monitor.   Thread: the health loop's.
// Limits:   one lookup a name at a time, no sooner than kShortestTtl after the last.
// Tests:    test/health/monitor_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "lb/base/address.h"
#include "lb/io/loop.h"
#include "lb/io/resolver.h"
#include "lb/io/timer.h"

namespace postern::health {

class HostNames {
 public:
  static constexpr base::Duration kShortestTtl = std::chrono::seconds(5);
  static constexpr base::Duration kLongestTtl = std::chrono::hours(1);

  // on_resolved: every good answer; the addresses are not empty.
  using OnResolved =
      std::function<void(const std::string& host, const std::vector<base::IpAddress>& addresses)>;

  HostNames(io::Loop& loop, io::Resolver& resolver, OnResolved on_resolved);
  ~HostNames();

  // From now on these; all are asked for at once, as after a reload an operator wants to see his
  // change.
  void Watch(const std::set<std::string>& hosts);

 private:
  struct Host;

  void Ask(Host& host);
  void OnAnswer(const std::string& name, uint64_t generation, const io::ResolvedName& answer);

  io::Loop& loop_;
  io::Resolver& resolver_;
  const OnResolved on_resolved_;
  uint64_t generation_ = 0;
  std::map<std::string, std::unique_ptr<Host>> hosts_;
  // The resolver lives longer, and so may its answers.
  const std::shared_ptr<bool> is_alive_ = std::make_shared<bool>(true);
};

}  // namespace postern::health
