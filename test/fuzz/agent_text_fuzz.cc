// agent_text_fuzz: any bytes as an agent's line: no crash, and only what makes sense comes out.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "health/agent_text.h"
#include "health/depth.h"
#include "lb/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto line = postern::health::ParseAgentLine(text);
  if (!line) {
    POSTERN_CHECK(!line.error().empty());
    return 0;
  }
  POSTERN_CHECK(!line->percent || *line->percent <= 25600);
  POSTERN_CHECK(!line->weight || *line->weight <= 256);
  POSTERN_CHECK(!line->percent || !line->weight);
  POSTERN_CHECK(!line->queue || postern::health::IsDepth(*line->queue));
  POSTERN_CHECK(!line->queue || !line->has_bad_queue);
  POSTERN_CHECK(line->said.size() <= 500);
  POSTERN_CHECK(std::none_of(line->said.begin(), line->said.end(),
                             [](char c) { return static_cast<unsigned char>(c) < 0x20; }));
  return 0;
}
