// tcp_dialer: io::Dialer over TCP and local sockets.
// SPDX-License-Identifier: Apache-2.0
#include "lb/net/tcp_dialer.h"

#include "lb/net/socket_stream.h"

namespace postern::net {

std::unique_ptr<io::Stream> TcpDialer::Connect(const io::DialOptions& options,
                                               io::Stream::Observer& observer) {
  return SocketStream::Dial(loop_, options, observer);
}

}  // namespace postern::net
