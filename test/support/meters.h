// meters: the counters of a simulated world, for itself or shared by worlds of one configuration.
//
// To make them costs as much as a session; a simulation of many sessions makes them once.
// Thread:   the worlds'.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>

#include "metrics/recorder.h"

namespace postern::test {

struct Meters {
  metrics::Registry registry;
  metrics::Recorder recorder{registry};
  std::optional<metrics::Registry::Slots> slots;

  // The slots do not depend on what worlds of one protocol let a test change before they begin.
  const metrics::Registry::Slots& SlotsOf(const conf::Config& config) {
    if (!slots) slots = registry.Configure(config);
    return *slots;
  }
};

}  // namespace postern::test
