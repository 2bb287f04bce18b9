// validator: what is only wrong, or risky, when keys are seen together.
//
// Values that are already known to be broken are left alone, so that one mistake is one error.
// Rules:    validator.cc: names, references, TLS, listeners, limits; validator_backends.cc:
//           endpoints, pools, loops; validator_routes.cc: who can reach what.
// Tests:    test/conf/validator_test.cc, test/conf/routes_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "conf/build.h"
#include "conf/load.h"
#include "conf/problems.h"

namespace postern::conf {

class Validator {
 public:
  Validator(Built& built, const FileChecks& checks, Problems& problems)
      : built_(built), config_(built.config), checks_(checks), problems_(problems) {}
  void Run();

 private:
  // One thing that a rule can lead to.
  struct Target {
    const Pool* pool = nullptr;        // one of the two
    const Backend* backend = nullptr;  //
    std::string path;                  // of the key that names it
  };
  struct Targets {
    std::vector<Target> list;
    bool may_be_any = false;     // a directory whose answers are only known at run time
    bool is_incomplete = false;  // a reference is broken
  };
  // A rule that sessions of one listener can come to.
  struct Step {
    const Rule* rule = nullptr;
    std::string path;
    Targets targets;
  };

  // validator.cc
  void CheckTls();
  void CheckGroups();
  void CheckListeners();
  void CheckListener(const Listener& listener, const std::string& path);
  void CheckAddresses();
  void CheckAdmin();
  void CheckLimits(const Limits& limits, const std::string& path);
  void CheckNumbers();
  void CheckFile(const std::string& file, const std::string& path,
                 const std::function<std::optional<std::string>(const std::string&)>& check);
  void CheckPair(const std::string& cert, const std::string& key, const std::string& path);
  // Whether the name is one of those known; an error at `path` otherwise. Empty and broken names
  // are somebody else's error, and not known.
  bool IsKnown(std::string_view name, const std::vector<std::string_view>& known,
               std::string_view what, const std::string& path);
  [[nodiscard]] bool IsGiven(const std::string& path, std::string_view key) const;
  // By the indices below; null if there is none.
  [[nodiscard]] const Pool* FindPool(std::string_view name) const;
  [[nodiscard]] const Backend* FindBackend(std::string_view name) const;

  // validator_backends.cc
  void CheckBackends();
  void CheckEndpoint(const Backend& backend, const Endpoint& endpoint, const std::string& path);
  void CheckLoop(const Backend& backend, const Endpoint& endpoint, const std::string& path);
  void CheckVerify(const Backend& backend, const std::string& path);
  void CheckPools();
  void CheckHealth(const Health& health, const std::string& path);
  void CheckQueue(const QueueSource& queue, const std::string& path);

  // validator_routes.cc
  void CheckDirectories();
  void CheckRoutes();
  void CheckRule(const Rule& rule, const std::string& path);
  void CheckRelayPool(const Pool& pool, const std::string& path);
  void CheckPatterns(const std::vector<std::string>& patterns, const std::string& path);
  void CheckProbes();
  void CheckProbeWords(const Probe& probe, const std::string& path);
  void CheckReach();
  void CheckReachOf(const Listener& listener, const std::string& path);
  void CheckMailboxSteps(const Listener& listener, const std::vector<Step>& steps);
  void CheckOpenRelay(const Step& step);
  void WarnUnused();
  [[nodiscard]] std::vector<Step> StepsOf(const Listener& listener);
  [[nodiscard]] Targets TargetsOf(const Rule& rule, const std::string& path, Protocol protocol);
  void AddTarget(std::string_view name, const std::string& path, Targets& targets) const;

  Built& built_;
  Config& config_;
  const FileChecks& checks_;
  Problems& problems_;
  std::vector<std::string_view> listener_names_, backend_names_, pool_names_, route_names_,
      directory_names_;
  std::unordered_map<std::string_view, const Pool*> pools_;
  std::unordered_map<std::string_view, const Backend*> backends_;
  std::map<std::string, std::set<std::string>, std::less<>> map_answers_;  // of file directories
  std::set<std::string> told_;     // errors that several listeners would repeat
  std::set<const Rule*> reached_;  // by any listener
  std::set<std::string> used_pools_, used_backends_;
  bool anything_may_be_used_ = false;
};

}  // namespace postern::conf
