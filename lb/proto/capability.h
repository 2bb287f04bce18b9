// capability: what servers say they can do, and what a listener may say in their name.
//
// A capability is one string: an EHLO keyword with its parameters ("SIZE 1000", "AUTH PLAIN
// LOGIN"), a CAPABILITY atom ("IDLE", "AUTH=PLAIN"), a CAPA line ("SASL PLAIN"). A listener
// announces what every eligible endpoint has and Postern itself can parse or relay; an endpoint of
// which nothing is known counts as one that has the protocol's usual set. Does not: know what
// Postern adds by its state (STARTTLS, STLS, AUTH, LOGINDISABLED, USER, SASL). Tests:
// test/proto/capability_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lb/base/bytes.h"
#include "lb/proto/sasl.h"

namespace postern::proto {

enum class CapabilityKind : uint8_t { kSmtp, kImap, kPop3 };  // kSmtp: submission and lmtp too

using Capabilities = std::vector<std::string>;

// The first whose name (first word; of an atom, all of it) is this, in any case; null if none.
[[nodiscard]] const std::string* FindCapability(std::span<const std::string> capabilities,
                                                std::string_view name);
[[nodiscard]] inline bool HasCapability(std::span<const std::string> capabilities,
                                        std::string_view name) {
  return FindCapability(capabilities, name) != nullptr;
}
// SASL mechanisms offered: "AUTH a b", "AUTH=a" (SMTP too), "SASL a b".
[[nodiscard]] MechanismSet OfferedMechanisms(CapabilityKind kind,
                                             std::span<const std::string> capabilities);
// The number after SIZE; nothing: not announced, 0: announced without a limit.
[[nodiscard]] std::optional<uint64_t> AnnouncedSize(std::span<const std::string> capabilities);

// Words of a line ("IMAP4rev1 IDLE"), each a capability; what is longer than 255 bytes or holds a
// control character is left out, and after max_count the rest.
[[nodiscard]] Capabilities SplitAtoms(base::ByteView line, size_t max_count = 256);

// What a listener may announce for these endpoints (null: not known yet), in the order of the
// protocol's table. max_message_bytes: SIZE is never above it (0: no limit of our own).
[[nodiscard]] Capabilities AnnounceFor(CapabilityKind kind,
                                       std::span<const Capabilities* const> endpoints,
                                       uint64_t max_message_bytes = 0);

// An operator's own list, without what Postern adds by its state and what it cannot parse.
[[nodiscard]] Capabilities AnnounceOverride(CapabilityKind kind,
                                            std::span<const std::string> wanted);

}  // namespace postern::proto
