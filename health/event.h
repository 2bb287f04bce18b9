// event: something that an operator should hear of, beside the log: for /api/v1/events.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace postern::health {

struct Event {
  std::string kind;    // as the log has it: "delivery_probe_failed"
  std::string object;  // the name of a probe, "backend/protocol"
  std::string text;    // printable
};

}  // namespace postern::health
