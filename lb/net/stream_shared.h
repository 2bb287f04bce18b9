// stream_shared: what the streams of one loop have in common: scratch buffers and lingering
// sockets.
//
// Why so:   an idle stream owns no buffer; one read of one stream is finished before the next
//           stream reads, so one set of buffers per loop is enough.
// Owner:    the EventLoop.   Thread: its loop's.
// Tests:    test/net/socket_stream_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <list>
#include <memory>

#include "lb/base/clock.h"
#include "lb/io/timer.h"
#include "lb/net/fd_event.h"
#include "lb/net/owned_fd.h"
#include "lb/net/splice_pipe.h"
#include "lb/net/tls_facts_pool.h"
#include "lb/net/unsent_queue.h"
#include "lb/tls/tls_engine.h"

namespace postern::net {

class Lingerer;

struct StreamShared {
  static constexpr size_t kReceiveBytes = tls::TlsBuffers::kMaxFeedBytes;

  explicit StreamShared(EventLoop& owner);
  ~StreamShared();

  // Takes over a socket whose stream was closed gently: sends the rest, says FIN, waits for the
  // peer's, closes.
  void Linger(OwnedFd fd, std::unique_ptr<UnsentQueue> unsent);

  EventLoop& loop;
  std::unique_ptr<char[]> receive;
  tls::TlsBuffers tls;
  TlsFactsPool facts;
  SplicePipes pipes;
  size_t unsent_bytes = 0;  // queued in all streams of this loop, and in lingerers
  std::list<Lingerer> lingerers;
};

// One socket on its way out. Reads on, and throws away, what the peer still sends: closing with
// unread bytes would make the kernel send RST, which can overtake our last reply.
class Lingerer {
 public:
  static constexpr base::Duration kAfterLastByte = std::chrono::seconds(2);
  static constexpr base::Duration kWithoutProgress = std::chrono::seconds(10);
  static constexpr base::Duration kAtMost = std::chrono::seconds(60);
  static constexpr size_t kMaxDiscardBytes = 1 << 20;

  Lingerer(StreamShared& shared, OwnedFd fd, std::unique_ptr<UnsentQueue> unsent);

 private:
  friend struct StreamShared;
  void OnEvent(uint8_t what);
  void OnDeadline();
  // Each returns false when the socket is of no more use.
  [[nodiscard]] bool Send();
  [[nodiscard]] bool Discard();
  void Rearm(base::Duration wait);
  void Finish();

  StreamShared& shared_;
  std::list<Lingerer>::iterator self_;
  OwnedFd fd_;
  std::unique_ptr<UnsentQueue> unsent_;
  base::MonoTime latest_;
  size_t num_discarded_bytes_ = 0;
  bool has_peer_closed_ = false;
  FdEvent event_;
  io::Timer timer_;
};

}  // namespace postern::net
