// unsent_queue: bytes that a socket has not taken yet, counted over all sockets of a loop: first
// what was copied, then what is held in a pipe of the kernel's.
//
// Owner:    a stream, then whoever lingers for it.   Thread: the loop's. The total outlives it.
// Tests:    test/net/socket_stream_test.cc, test/net/splice_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstddef>

#include "lb/base/bytes.h"
#include "lb/net/splice_pipe.h"

namespace postern::net {

class UnsentQueue {
 public:
  explicit UnsentQueue(size_t& total_bytes) : total_bytes_(total_bytes) {}
  ~UnsentQueue() { total_bytes_ -= size(); }
  UnsentQueue(const UnsentQueue&) = delete;
  UnsentQueue& operator=(const UnsentQueue&) = delete;

  [[nodiscard]] size_t size() const {
    return queue_.size() + (pipe_ == nullptr ? 0 : pipe_->size());
  }
  [[nodiscard]] bool empty() const { return size() == 0; }
  void Append(base::ByteView bytes);
  // Of an empty queue.
  void Hold(SplicePipes::Lent pipe);
  // What the socket takes now, as send(2) says it; the queue is not empty.
  [[nodiscard]] ssize_t Send(int fd);

 private:
  base::ByteQueue queue_;
  SplicePipes::Lent pipe_;
  size_t& total_bytes_;
};

}  // namespace postern::net
