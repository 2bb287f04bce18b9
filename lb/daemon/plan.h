// plan: whose home would be another one with another configuration, before it is in force.
//
// Each name goes through rules and directories as a session's would (session::RouteQuery), once
// with each configuration. A home is a pool or a backend: which member of a pool takes the work is
// no matter of a plan.
// Does not: know passwords, so that a directory of type auth_http is not asked.
// Limits:   kMaxAsked names at a time, those of conf/name_list.h; totals by pairs of homes: memory
//           does not grow with the number of names.
// Owner:    `postern explain --plan`.   Thread: its loop's.
// Tests:    test/daemon/plan_test.cc, test/integration/plan_test.py
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <istream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "conf/name_list.h"
#include "lb/base/address.h"
#include "lb/io/loop.h"
#include "lb/session/session_env.h"
#include "metrics/recorder.h"

namespace postern::daemon {

// How the names come in: all alike.
struct PlanQuestion {
  std::string listener;
  std::optional<base::IpAddress> client{};
  std::string sni{};
};

// Where one name goes with one configuration.
struct PlannedWay {
  std::string home;    // a pool or a backend; empty: none
  std::string answer;  // without a home: what the client hears
  std::string route;
  std::string rule;      // that decides; empty: none matches
  bool is_known = true;  // false: a directory fails, or is asked with a password only
};

struct PlannedName {
  std::string name;  // as written
  PlannedWay now;
  std::optional<PlannedWay> then;  // with the other configuration, where there is one
  [[nodiscard]] bool is_known() const { return now.is_known && (!then || then->is_known); }
  [[nodiscard]] bool is_moved() const { return is_known() && then && now.home != then->home; }
};

struct PlanTotals {
  uint64_t num_names = 0, num_moved = 0, num_unknown = 0, num_bad_lines = 0;
  // By home now and home then (without another configuration: empty), of those that are known.
  std::map<std::pair<std::string, std::string>, uint64_t> pairs;
};

class Plan {
 public:
  static constexpr size_t kMaxAsked = 256;

  struct Sides {
    std::shared_ptr<const session::Parts> now;
    std::shared_ptr<const session::Parts> then;  // null: none
  };
  // What it tells, in the order of the names; none of them may destroy it but done.
  struct Ear {
    std::function<void(const PlannedName& name)> on_name;
    std::function<void(uint64_t line, const std::string& why)> on_bad_line;
    std::function<void()> on_done;
  };

  // What is passed outlives it. names: as conf/name_list.h reads them.
  Plan(io::Loop& loop, metrics::Recorder& recorder, Sides sides, PlanQuestion question,
       std::istream& names, Ear ear);
  ~Plan();
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  // Empty: both configurations have the listener and its route; else what is wrong. To be asked
  // before Start.
  [[nodiscard]] std::string Fault() const;
  // Goes on by itself from then on.
  void Start();
  [[nodiscard]] const PlanTotals& totals() const { return totals_; }

 private:
  struct Asked;
  // Nothing: it was the last one.
  [[nodiscard]] std::optional<std::string> NextName();
  [[nodiscard]] std::string WhyUnusable(const std::string& name) const;
  void Ask(Asked& asked, const session::Parts& side, bool is_then);
  void Pump();

  io::Loop& loop_;
  metrics::Recorder& recorder_;
  const Sides sides_;
  const PlanQuestion question_;
  conf::NameList names_;
  const Ear ear_;
  std::deque<std::unique_ptr<Asked>> asked_;  // in the order of the names
  bool has_ended_ = false;                    // the names
  bool is_pumping_ = false;
  PlanTotals totals_;
};

}  // namespace postern::daemon
