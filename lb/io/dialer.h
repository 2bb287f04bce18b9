// dialer: opens a connection to a backend, or to a local service; never blocks.
// Implementations: net::TcpDialer; test/support/sim_net.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "lb/base/address.h"
#include "lb/io/stream.h"

namespace postern::io {

struct DialOptions {
  base::SocketAddress address{};
  std::optional<base::IpAddress> source{};  // the system's choice if none
  std::string unix_path{};  // if not empty, this local socket instead of the address
};

class Dialer {
 public:
  virtual ~Dialer() = default;
  // The stream reports kConnected or kEnd later, never from within. Deadlines are the caller's.
  [[nodiscard]] virtual std::unique_ptr<Stream> Connect(const DialOptions& options,
                                                        Stream::Observer& observer) = 0;
};

}  // namespace postern::io
