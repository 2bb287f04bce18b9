// conf_fuzz: any bytes as a configuration: no crash, every problem has its place, the same twice.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "conf/json.h"
#include "conf/load.h"
#include "conf/shown.h"
#include "lb/base/check.h"

namespace {

constexpr char kName[] = "/nonexistent/postern.json";

void CheckPlaces(const std::vector<postern::conf::Problem>& problems, std::string_view text) {
  const auto num_lines = 1 + std::count(text.begin(), text.end(), '\n');
  for (const postern::conf::Problem& problem : problems) {
    if (problem.file != kName) continue;
    POSTERN_CHECK(problem.line >= 1 && problem.line <= num_lines);
    POSTERN_CHECK(problem.column >= 1 && static_cast<size_t>(problem.column) <= text.size() + 1);
    POSTERN_CHECK(!problem.message.empty());
    const std::string shown = problem.ToString();
    POSTERN_CHECK(std::none_of(shown.begin(), shown.end(), [](char c) {
      return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    }));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  postern::conf::FileChecks checks;
  checks.knows_group = [](const std::string& group) { return group == "X25519"; };
  checks.is_own_address = [](const postern::base::IpAddress& ip) { return ip.is_v4(); };
  const postern::conf::LoadResult result = postern::conf::LoadText(text, kName, checks);
  POSTERN_CHECK(result.config.has_value() == result.errors.empty());
  if (result.config) {
    // What may be shown is a configuration that reads as it was, and differs in nothing.
    const postern::conf::json::Parsed written = postern::conf::json::Parse(text);
    const postern::conf::json::Parsed shown = postern::conf::json::Parse(result.shown);
    POSTERN_CHECK(shown.root.has_value() && shown.faults.empty());
    POSTERN_CHECK(postern::conf::Compare(*written.root, *shown.root).empty());
  }
  CheckPlaces(result.errors, text);
  CheckPlaces(result.warnings, text);
  const postern::conf::LoadResult again = postern::conf::LoadText(text, kName, checks);
  POSTERN_CHECK(again.errors.size() == result.errors.size());
  POSTERN_CHECK(again.warnings.size() == result.warnings.size());
  return 0;
}
