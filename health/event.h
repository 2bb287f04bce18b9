// event: something that an operator should hear of, beside the log: for /api/v1/events.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

namespace postern::health {

struct Event {
  std::string kind;    // as the log has it: "delivery_probe_failed"
  std::string object;  // the name of a probe, of a backend (its queue), "backend/protocol"
  std::string text;    // printable
};
using EventSink = std::function<void(const Event& event)>;

}  // namespace postern::health
