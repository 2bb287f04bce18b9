// xclient: who the client is, told to a backend that takes Postern's word for it.
//
// Rules:    Postfix's XCLIENT_README: announced attributes only; values are xtext; IPv6 addresses
//           have the prefix "IPV6:"; lines of at most 512 octets; the attributes that may cost the
//           right to say more (ADDR, and with it LOGIN) come in the last command. NAME and
//           REVERSE_NAME go with ADDR always, else the backend would keep Postern's own name.
// Owner:    pure functions.
// Tests:    test/proto/xclient_test.cc, test/fuzz/xclient_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lb/base/address.h"
#include "lb/base/bytes.h"
#include "lb/base/peer_name.h"

namespace postern::proto {

enum XclientAttribute : uint8_t {
  kXclientName = 1,
  kXclientReverseName = 2,
  kXclientAddr = 4,
  kXclientPort = 8,
  kXclientProto = 16,
  kXclientHelo = 32,
  kXclientLogin = 64,
  kXclientDestAddr = 128,
};

// Bits of the attributes named in what follows "XCLIENT" in EHLO; unknown ones are left out.
[[nodiscard]] uint8_t ParseXclientAttributes(base::ByteView words);

struct XclientFacts {
  base::SocketAddress client;
  base::SocketAddress local;  // where it connected to, for DESTADDR
  base::PeerName::Kind name_kind = base::PeerName::Kind::kTempUnavailable;
  base::ByteView name;   // forward-confirmed; a value with a forbidden character is not said
  base::ByteView helo;   // as the client gave it; empty: it gave none
  base::ByteView login;  // empty: not logged in
  bool is_esmtp = true;
};

// The commands, each with its line end, in the order to be sent (one reply each). Empty: ADDR is
// not announced, so there is nothing of use to be said.
[[nodiscard]] std::vector<std::string> BuildXclient(const XclientFacts& facts, uint8_t announced);

}  // namespace postern::proto
