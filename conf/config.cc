// config: the words of the enums, and finding objects by name.
// SPDX-License-Identifier: Apache-2.0
#include "conf/config.h"

namespace postern::conf {
namespace {

template <typename Object>
const Object* FindByName(const std::vector<Object>& objects, std::string_view name) {
  for (const Object& object : objects)
    if (object.name == name) return &object;
  return nullptr;
}

}  // namespace

std::string_view Name(Protocol protocol) {
  switch (protocol) {
    case Protocol::kSmtp:
      return "smtp";
    case Protocol::kSubmission:
      return "submission";
    case Protocol::kImap:
      return "imap";
    case Protocol::kPop3:
      return "pop3";
    case Protocol::kLmtp:
      return "lmtp";
    case Protocol::kSieve:
      return "sieve";
    case Protocol::kTcp:
      return "tcp";
  }
  return "";
}

std::string_view Name(TlsMode mode) {
  switch (mode) {
    case TlsMode::kNone:
      return "none";
    case TlsMode::kStartTls:
      return "starttls";
    case TlsMode::kImplicit:
      return "implicit";
    case TlsMode::kPassthrough:
      return "passthrough";
  }
  return "";
}

std::string_view Name(ClientAddress mode) {
  switch (mode) {
    case ClientAddress::kNone:
      return "none";
    case ClientAddress::kProxyV1:
      return "proxy-v1";
    case ClientAddress::kProxyV2:
      return "proxy-v2";
    case ClientAddress::kXclient:
      return "xclient";
    case ClientAddress::kImapId:
      return "imap-id";
  }
  return "";
}

std::string_view Name(Storage storage) {
  switch (storage) {
    case Storage::kUnset:
      return "unset";
    case Storage::kShared:
      return "shared";
    case Storage::kExclusive:
      return "exclusive";
    case Storage::kSeparate:
      return "separate";
  }
  return "";
}

const Backend* Config::FindBackend(std::string_view name) const {
  return FindByName(backends, name);
}
const Pool* Config::FindPool(std::string_view name) const {
  return FindByName(pools, name);
}
const Route* Config::FindRoute(std::string_view name) const {
  return FindByName(routes, name);
}

}  // namespace postern::conf
