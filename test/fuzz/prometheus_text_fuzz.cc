// prometheus_text_fuzz: any bytes as an exporter's text: no crash, and any cut gives the same.
// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "health/prometheus_text.h"
#include "lb/base/check.h"

namespace {

using postern::health::PrometheusText;

postern::base::Result<double> Read(std::string_view text, size_t piece_bytes, bool is_max) {
  PrometheusText reader("q", {{"a", "1"}, {"b", ""}},
                        is_max ? PrometheusText::Combine::kMax : PrometheusText::Combine::kSum);
  for (size_t at = 0; at < text.size(); at += piece_bytes)
    reader.Feed(text.substr(at, piece_bytes));
  return reader.Finish();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const bool is_max = (data[0] & 1) != 0;
  const auto whole = Read(text, text.size() + 1, is_max);
  const auto cut = Read(text, 1 + data[0] % 64U, is_max);
  POSTERN_CHECK(whole.ok() == cut.ok());
  if (whole.ok()) {
    POSTERN_CHECK(*whole == *cut || (std::isnan(*whole) && std::isnan(*cut)));
  } else {
    POSTERN_CHECK(whole.error() == cut.error());
  }
  return 0;
}
