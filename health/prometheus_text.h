// prometheus_text: one number out of an exporter's text, read as it arrives.
//
// Takes the text format 0.0.4, OpenMetrics, and names in quotes inside the braces. A metric is
// looked for by the name that its samples bear (x_count, x_bucket, x_total). A line that is not
// about that metric may hold anything; one that is must be well formed.
// Rules:    prometheus.io/docs/instrumenting/exposition_formats, OpenMetrics 1.0.
// Limits:   kMaxLineBytes a line (longer ones are skipped, unless they are about the metric).
// Owner:    one read of a queue source.   Thread: none; pure.
// Tests:    test/health/prometheus_text_test.cc, test/fuzz/prometheus_text_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "lb/base/bytes.h"
#include "lb/base/result.h"

namespace postern::health {

class PrometheusText {
 public:
  static constexpr size_t kMaxLineBytes = 64 << 10;
  enum class Combine : uint8_t { kSum, kMax };

  // A sample counts if it has each of the labels with that very value; "" also stands for a label
  // that is not there. Other labels do not matter.
  PrometheusText(std::string metric, std::map<std::string, std::string> labels, Combine combine);

  void Feed(base::ByteView bytes);
  // After the last byte: the sum or the largest of the samples that count. An error if there is
  // none, or if a line about the metric is not understood. May be NaN or infinite.
  [[nodiscard]] base::Result<double> Finish();

 private:
  enum class LabelsMatch : uint8_t { kYes, kNo, kBroken };

  void TakeLine(std::string_view line);
  [[nodiscard]] LabelsMatch TakeLabels(std::string_view& rest, bool is_named);
  void TakeSample(std::string_view rest);

  std::string metric_;
  std::map<std::string, std::string> labels_;
  Combine combine_;
  std::string line_;  // not ended yet
  bool is_skipping_ = false;
  bool is_broken_ = false;
  uint64_t num_samples_ = 0;
  double value_ = 0;
};

}  // namespace postern::health
