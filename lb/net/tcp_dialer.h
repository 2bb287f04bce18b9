// tcp_dialer: io::Dialer over TCP and local sockets.
//
// Owner:    a worker or the health thread.   Thread: the loop's.
// Tests:    test/net/socket_stream_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "lb/io/dialer.h"
#include "lb/net/event_loop.h"

namespace postern::net {

class TcpDialer final : public io::Dialer {
 public:
  explicit TcpDialer(EventLoop& loop) : loop_(loop) {}
  [[nodiscard]] std::unique_ptr<io::Stream> Connect(const io::DialOptions& options,
                                                    io::Stream::Observer& observer) override;

 private:
  EventLoop& loop_;
};

}  // namespace postern::net
