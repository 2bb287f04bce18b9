// host_names: where hosts are, looked up again whenever an answer has run out.
//
// A lookup that fails is repeated soon, and changes nothing: addresses that were good a minute ago
// are better than none.
// Owner:    whoever connects to them; may die before the resolver.   Thread: its loop's.
// Limits:   one lookup a name at a time, no sooner than kShortestTtl after the last.
// Tests:    test/io/host_names_test.cc
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

namespace postern::io {

class HostNames {
 public:
  static constexpr base::Duration kShortestTtl = std::chrono::seconds(5);
  static constexpr base::Duration kLongestTtl = std::chrono::hours(1);

  // on_resolved: every good answer; the addresses are not empty.
  using OnResolved =
      std::function<void(const std::string& host, const std::vector<base::IpAddress>& addresses)>;

  HostNames(Loop& loop, Resolver& resolver, OnResolved on_resolved);
  ~HostNames();

  // From now on these; all are asked for at once, as after a reload an operator wants to see his
  // change.
  void Watch(const std::set<std::string>& hosts);

 private:
  struct Host;

  void Ask(Host& host);
  void OnAnswer(const std::string& name, const ResolvedName& answer);

  Loop& loop_;
  Resolver& resolver_;
  const OnResolved on_resolved_;
  std::shared_ptr<HostNames*> watch_;  // new for each Watch: answers to an older one are void
  std::map<std::string, std::unique_ptr<Host>> hosts_;
};

}  // namespace postern::io
