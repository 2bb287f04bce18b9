// proxy_header: the PROXY protocol's header, versions 1 and 2: read from a trusted hop, written to
// a backend.
//
// A listener that expects a header never serves a connection without a valid one: there is no
// guessing, and what is not exactly right is invalid.
// Rules:    the PROXY protocol text, sections 2.1 and 2.2. "UNKNOWN" and LOCAL keep the socket's
// own
//           addresses; so does PROXY with family UNSPEC. UDP and UNIX families are invalid here.
// Limits:   version 1: 107 bytes; version 2: kMaxProxyHeaderBytes, TLVs included.
// Tests:    test/proto/proxy_header_test.cc, test/fuzz/proxy_header_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "lb/base/address.h"
#include "lb/base/bytes.h"

namespace postern::proto {

inline constexpr size_t kMaxProxyHeaderBytes = 4096;

struct ProxyHeader {
  bool has_addresses = false;  // false: the socket's own hold
  base::SocketAddress source;
  base::SocketAddress destination;
};

struct ProxyParse {
  enum class Status : uint8_t { kNeedMore, kDone, kInvalid };
  Status status = Status::kNeedMore;
  size_t size_bytes = 0;  // of the header, if done: what to consume
  ProxyHeader header;
};

// Looks at the first bytes of a connection.
[[nodiscard]] ProxyParse ParseProxyHeader(base::ByteView input);

enum class ProxyVersion : uint8_t { kV1, kV2 };
// For "TCP over IPv4" if both are IPv4, else over IPv6 (an IPv4 address becomes a mapped one).
[[nodiscard]] std::string PrintProxyHeader(ProxyVersion version, const base::SocketAddress& source,
                                           const base::SocketAddress& destination);
// For a connection of our own (a probe): v2 LOCAL, v1 "UNKNOWN".
[[nodiscard]] std::string PrintLocalProxyHeader(ProxyVersion version);

}  // namespace postern::proto
