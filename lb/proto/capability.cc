// capability: what servers say they can do, and what a listener may say in their name.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/capability.h"

#include <algorithm>
#include <array>
#include <utility>

namespace postern::proto {
namespace {

using base::ByteView;

constexpr size_t kMaxAtomBytes = 255;

enum class Rule : uint8_t {
  kAlways,    // Postern's own doing before login: announced whatever the endpoints say
  kAll,       // if every endpoint has it
  kAllKnown,  // likewise, and an endpoint of which nothing is known has it not
  kSize,      // SMTP SIZE: the smallest
};
struct Row {
  std::string_view name;
  Rule rule;
};

// What Postern can parse (before login, or in the whole session for SMTP) or relay.
constexpr std::array kSmtp = {Row{"PIPELINING", Rule::kAll}, Row{"SIZE", Rule::kSize},
                              Row{"8BITMIME", Rule::kAll}, Row{"ENHANCEDSTATUSCODES", Rule::kAll},
                              Row{"DSN", Rule::kAllKnown}, Row{"SMTPUTF8", Rule::kAllKnown},
                              // Where a server lacks it, the text goes there by DATA.
                              Row{"CHUNKING", Rule::kAlways}, Row{"BINARYMIME", Rule::kAllKnown}};
// After login everything is relayed, so whatever all endpoints have could be named; these are the
// ones that clients look for before they log in. LITERAL+ holds after login too, hence "all".
constexpr std::array kImap = {
    Row{"IMAP4rev1", Rule::kAlways},   Row{"SASL-IR", Rule::kAlways},
    Row{"ID", Rule::kAlways},          Row{"LITERAL+", Rule::kAllKnown},
    Row{"LITERAL-", Rule::kAllKnown},  Row{"IMAP4rev2", Rule::kAllKnown},
    Row{"ENABLE", Rule::kAllKnown},    Row{"IDLE", Rule::kAllKnown},
    Row{"UIDPLUS", Rule::kAllKnown},   Row{"MOVE", Rule::kAllKnown},
    Row{"NAMESPACE", Rule::kAllKnown}, Row{"CONDSTORE", Rule::kAllKnown},
    Row{"QRESYNC", Rule::kAllKnown},   Row{"UTF8=ACCEPT", Rule::kAllKnown}};
constexpr std::array kPop3 = {Row{"TOP", Rule::kAll}, Row{"UIDL", Rule::kAll},
                              Row{"RESP-CODES", Rule::kAll}, Row{"AUTH-RESP-CODE", Rule::kAll},
                              Row{"PIPELINING", Rule::kAllKnown}};

std::span<const Row> TableOf(CapabilityKind kind) {
  switch (kind) {
    case CapabilityKind::kSmtp:
      return kSmtp;
    case CapabilityKind::kImap:
      return kImap;
    case CapabilityKind::kPop3:
      return kPop3;
  }
  return {};
}

ByteView FirstWord(ByteView text) {
  return text.substr(0, std::min(text.find(' '), text.size()));
}

void AddMechanisms(ByteView words, MechanismSet& set) {
  for (const std::string& word : SplitAtoms(words))
    if (const auto mechanism = FindMechanism(word)) set.Add(*mechanism);
}

// SIZE without a number, or 0, is no limit.
uint64_t SmallerLimit(uint64_t a, uint64_t b) {
  if (a == 0 || b == 0) return std::max(a, b);
  return std::min(a, b);
}

std::optional<std::string> AnnounceSize(std::span<const Capabilities* const> endpoints,
                                        uint64_t limit) {
  for (const Capabilities* endpoint : endpoints) {
    if (endpoint == nullptr) continue;
    const auto size = AnnouncedSize(*endpoint);
    if (!size) return std::nullopt;
    limit = SmallerLimit(limit, *size);
  }
  return limit == 0 ? "SIZE" : "SIZE " + std::to_string(limit);
}

bool AllHave(std::span<const Capabilities* const> endpoints, const Row& row) {
  return std::all_of(endpoints.begin(), endpoints.end(), [&row](const Capabilities* endpoint) {
    return endpoint == nullptr ? row.rule == Rule::kAll : HasCapability(*endpoint, row.name);
  });
}

}  // namespace

const std::string* FindCapability(std::span<const std::string> capabilities,
                                  std::string_view name) {
  const auto found = std::find_if(
      capabilities.begin(), capabilities.end(),
      [name](const std::string& each) { return base::EqualsIgnoreCase(FirstWord(each), name); });
  return found == capabilities.end() ? nullptr : &*found;
}

MechanismSet OfferedMechanisms(CapabilityKind kind, std::span<const std::string> capabilities) {
  MechanismSet set;
  for (const std::string& each : capabilities) {
    const ByteView text(each);
    if (kind != CapabilityKind::kPop3 && base::StartsWithIgnoreCase(text, "AUTH=")) {
      // Of SMTP the old form "AUTH=LOGIN PLAIN", which some servers still send beside the new.
      AddMechanisms(text.substr(5), set);
    } else if (kind == CapabilityKind::kSmtp && base::StartsWithIgnoreCase(text, "AUTH ")) {
      AddMechanisms(text.substr(5), set);
    } else if (kind == CapabilityKind::kPop3 && base::StartsWithIgnoreCase(text, "SASL ")) {
      AddMechanisms(text.substr(5), set);
    }
  }
  return set;
}

std::optional<uint64_t> AnnouncedSize(std::span<const std::string> capabilities) {
  const std::string* size = FindCapability(capabilities, "SIZE");
  if (size == nullptr) return std::nullopt;
  uint64_t value = 0;
  for (size_t i = 5; i < size->size(); ++i) {
    const char c = (*size)[i];
    // Not a number, or too big for one: as good as no limit.
    if (c < '0' || c > '9' || value > (UINT64_MAX - 9) / 10) return 0;
    value = value * 10 + static_cast<uint64_t>(c - '0');
  }
  return value;
}

Capabilities SplitAtoms(ByteView line, size_t max_count) {
  Capabilities atoms;
  while (!line.empty() && atoms.size() < max_count) {
    const ByteView word = FirstWord(line);
    line.remove_prefix(std::min(word.size() + 1, line.size()));
    if (word.empty() || word.size() > kMaxAtomBytes) continue;
    const bool is_printable = std::all_of(word.begin(), word.end(), [](char c) {
      return static_cast<unsigned char>(c) > 0x20 && static_cast<unsigned char>(c) < 0x7f;
    });
    if (is_printable) atoms.emplace_back(word);
  }
  return atoms;
}

Capabilities AnnounceFor(CapabilityKind kind, std::span<const Capabilities* const> endpoints,
                         uint64_t max_message_bytes) {
  Capabilities announced;
  for (const Row& row : TableOf(kind)) {
    if (row.rule == Rule::kSize) {
      if (auto size = AnnounceSize(endpoints, max_message_bytes))
        announced.push_back(std::move(*size));
    } else if (row.rule == Rule::kAlways || AllHave(endpoints, row)) {
      // No endpoint at all: nobody is there to promise more than the usual set.
      if (endpoints.empty() && row.rule == Rule::kAllKnown) continue;
      announced.emplace_back(row.name);
    }
  }
  return announced;
}

Capabilities AnnounceOverride(CapabilityKind kind, std::span<const std::string> wanted) {
  constexpr std::array<std::string_view, 9> kByState = {
      "STARTTLS", "STLS", "AUTH", "LOGINDISABLED", "USER", "SASL", "XCLIENT", "XFORWARD", "APOP"};
  const auto table = TableOf(kind);
  Capabilities announced;
  for (const std::string& each : wanted) {
    const ByteView name = FirstWord(each);
    if (base::StartsWithIgnoreCase(name, "AUTH=")) continue;
    if (std::any_of(kByState.begin(), kByState.end(),
                    [name](std::string_view own) { return base::EqualsIgnoreCase(own, name); }))
      continue;
    // SMTP is parsed to its end: a keyword unknown here would be a promise that nobody keeps.
    if (kind == CapabilityKind::kSmtp &&
        std::none_of(table.begin(), table.end(),
                     [name](const Row& row) { return base::EqualsIgnoreCase(row.name, name); }))
      continue;
    announced.push_back(each);
  }
  return announced;
}

}  // namespace postern::proto
