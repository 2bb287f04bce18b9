// xclient: the client's address and names, handed to a backend by Postfix's XCLIENT command.
//
// Rules:    Postfix XCLIENT_README: announced attributes only, values in xtext, commands of at most 512 bytes; ADDR stands in
//           the last one, with LOGIN, since the right to use XCLIENT may end with the new address. NAME and REVERSE_NAME are
//           always sent where announced: a backend that gets ADDR alone would keep our own name.
// Tests:    test/proto/xclient_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lb/base/address.h"
#include "lb/base/peer_name.h"

namespace postern::proto {

// The client as the backend should see it.
struct XclientFacts {
  base::SocketAddress client;
  base::SocketAddress local;
  base::PeerName name;
  std::string helo;        // as the client gave it
  bool is_esmtp = true;
  std::string login;       // empty: nobody logged in
};

// Command lines with CRLF; empty if the backend announces no XCLIENT with ADDR. `announced` is the capability line,
// "XCLIENT NAME ADDR ...".
[[nodiscard]] std::vector<std::string> XclientCommands(std::string_view announced,
                                                       const XclientFacts& facts);

}  // namespace postern::proto
