// registry: the inside of Registry: series by their labels, the slots they own, the values that are
// set.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "metrics/blocks.h"
#include "metrics/catalog.h"

namespace postern::metrics {

using LabelValues = std::vector<std::string>;
using ValueKey = std::pair<Family, LabelValues>;

struct Series {
  Family family;
  LabelValues labels;
  Slot first = 0;              // counters: one; histograms: buckets, +Inf, sum in nanoseconds
  bool is_configured = false;  // belongs to an object of the configuration
  bool is_shown = true;        // its object is still there
  bool is_quiet = false;       // not shown before it is more than 0
};

struct Registry::Impl {
  mutable std::mutex mutex;
  std::map<std::pair<Family, LabelValues>, Series> series;  // guarded by mutex, like all here
  std::map<ValueKey, double> values;                        // what is set rather than counted
  std::vector<Recorder::Block*> blocks;
  std::map<Slot, int64_t> retired;  // of threads that have ended
  Slot next_slot = 1;               // slot 0: nowhere
  double start_time_seconds = 0;

  // Slots of the series, made if need be.
  Slot Get(Family family, LabelValues labels, bool is_configured, bool is_quiet = false);
  // A run of single counters whose last label runs over the words given; the first slot.
  Slot GetRun(Family family, const LabelValues& labels, const std::vector<std::string>& words,
              bool is_configured);
  [[nodiscard]] RuleSlots SlotsOf(const conf::Route& route, const conf::Rule& rule,
                                  const conf::Config& config,
                                  const std::vector<std::vector<std::string>>& answers);
  void AddHandshakes(const conf::Config& config, const std::vector<std::string>& groups);
  // Of an object of the configuration: as it was in `old`, or as it begins.
  void KeepValue(std::map<ValueKey, double>& old, ValueKey key, double initial);
  [[nodiscard]] int64_t Sum(Slot slot) const;
  [[nodiscard]] static uint32_t Width(Family family);
};

// Words of the enums as label values.
[[nodiscard]] const std::vector<std::string>& ResultWords();
[[nodiscard]] const std::vector<std::string>& RejectWords();
[[nodiscard]] const std::vector<std::string>& CopyLossWords();
[[nodiscard]] const std::vector<std::string>& AuthWords();
[[nodiscard]] const std::vector<std::string>& MechanismWords();
[[nodiscard]] const std::vector<std::string>& DeliveryStageWords();
[[nodiscard]] const std::vector<std::string>& DeliveryOutcomeWords();
[[nodiscard]] const std::vector<std::string>& CommandWords();
[[nodiscard]] const std::vector<std::string>& FaultWords();

}  // namespace postern::metrics
