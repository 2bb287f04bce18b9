// plan_printer: what a plan says, in words or as JSON, name by name as it goes.
//
// Tests:    test/daemon/staged_introduction_test.cc, test/integration/plan_test.py
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>

#include "lb/daemon/plan.h"

namespace postern::daemon {

class PlanPrinter {
 public:
  enum class Form : uint8_t { kText, kJson };
  using Write = std::function<void(std::string_view text)>;

  // has_other: there is another configuration, so that only who moves, or cannot be known, is said.
  PlanPrinter(Form form, bool has_other, Write write)
      : form_(form), has_other_(has_other), write_(std::move(write)) {}

  void Begin();
  void Say(const PlannedName& name);
  void End(const PlanTotals& totals);

 private:
  void SayAsJson(const PlannedName& name);
  void EndAsJson(const PlanTotals& totals);

  const Form form_;
  const bool has_other_;
  const Write write_;
  bool is_first_ = true;
};

}  // namespace postern::daemon
