// peer_name: the outcome of a forward-confirmed reverse lookup, in XCLIENT's words.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace postern::base {

struct PeerName {
  enum class Kind : uint8_t { kName, kUnavailable, kTempUnavailable };
  Kind kind = Kind::kTempUnavailable;
  std::string name;  // lower case, only letters, digits, '-', '_' and '.'
};

}  // namespace postern::base
