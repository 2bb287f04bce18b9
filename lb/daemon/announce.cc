// announce: from what endpoints have said to what a listener says.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/announce.h"

#include <memory>

#include "lb/proto/capability.h"

namespace postern::daemon {
namespace {

proto::CapabilityKind KindOf(conf::Protocol protocol) {
  switch (protocol) {
    case conf::Protocol::kImap:
      return proto::CapabilityKind::kImap;
    case conf::Protocol::kPop3:
      return proto::CapabilityKind::kPop3;
    case conf::Protocol::kSmtp:
    case conf::Protocol::kSubmission:
    case conf::Protocol::kLmtp:
    case conf::Protocol::kSieve:
    case conf::Protocol::kTcp:
      break;
  }
  return proto::CapabilityKind::kSmtp;
}

}  // namespace

Announcement AnnouncementOf(const conf::Listener& listener,
                            const std::vector<const balance::Endpoint*>& eligible) {
  const proto::CapabilityKind kind = KindOf(listener.protocol);
  std::vector<std::shared_ptr<const balance::EndpointFacts>> facts;  // keeps what is pointed to
  std::vector<const proto::Capabilities*> known;
  Announcement news;
  for (const balance::Endpoint* endpoint : eligible) {
    facts.push_back(endpoint->state->facts());
    const bool is_known = facts.back() != nullptr && facts.back()->has_capabilities;
    known.push_back(is_known ? &facts.back()->capabilities : nullptr);
    if (!is_known) continue;
    const proto::MechanismSet offered = proto::OfferedMechanisms(kind, facts.back()->capabilities);
    news.offers_xoauth2 |= offered.Has(proto::Mechanism::kXoauth2);
    news.offers_oauthbearer |= offered.Has(proto::Mechanism::kOauthBearer);
  }
  news.capabilities = listener.has_capabilities
                          ? proto::AnnounceOverride(kind, listener.capabilities)
                          : proto::AnnounceFor(kind, known, listener.limits.message);
  return news;
}

}  // namespace postern::daemon
