// delivery_message: the messages of delivery probes: their text, and how they are known again.
//
// One header line, "X-Postern-Probe: OWNER ID". OWNER names node and probe and is the same for all
// messages of one probe on one node, ID is new for each. A message is ours if it has exactly one
// such line whose owner is ours to the letter: nothing else is ever deleted.
// Rules:    RFC 5322; RFC 3834 (Auto-Submitted: nobody's holiday answers).
// Thread:   none; pure.
// Tests:    test/health/delivery_message_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "lb/base/bytes.h"
#include "lb/base/clock.h"
#include "lb/base/rng.h"

namespace postern::health {

inline constexpr std::string_view kDeliveryHeader = "X-Postern-Probe";

// Letters, digits, ".", "_", "-" and one "/": fit for a header and for IMAP without quoting; 100
// bytes at most, and different for different names.
[[nodiscard]] std::string DeliveryOwner(std::string_view node, std::string_view probe);

// 32 hex digits.
[[nodiscard]] std::string MakeDeliveryId(base::Rng& rng);

// The ID of a message of this owner; nothing: it is not ours. header: the fields of that name.
[[nodiscard]] std::optional<std::string> DeliveryIdOf(base::ByteView header,
                                                      std::string_view owner);

struct DeliveryMessage {
  std::string owner, id;
  std::string from, to;  // without brackets
  std::string hostname;
  base::WallTime date{};
};
// Lines end with CRLF; none begins with a dot.
[[nodiscard]] std::string PrintDeliveryMessage(const DeliveryMessage& message);

}  // namespace postern::health
