// unsent_queue: bytes that a socket has not taken yet, counted over all sockets of a loop.
//
// Owner:    a stream, then whoever lingers for it.   Thread: the loop's. The total outlives it.
// Tests:    test/net/socket_stream_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "lb/base/bytes.h"

namespace postern::net {

class UnsentQueue {
 public:
  explicit UnsentQueue(size_t& total_bytes) : total_bytes_(total_bytes) {}
  ~UnsentQueue() { total_bytes_ -= queue_.size(); }
  UnsentQueue(const UnsentQueue&) = delete;
  UnsentQueue& operator=(const UnsentQueue&) = delete;

  [[nodiscard]] base::ByteView View() const { return queue_.View(); }
  [[nodiscard]] size_t size() const { return queue_.size(); }
  [[nodiscard]] bool empty() const { return queue_.empty(); }
  void Append(base::ByteView bytes) {
    queue_.Append(bytes);
    total_bytes_ += bytes.size();
  }
  void Consume(size_t num_bytes) {
    queue_.Consume(num_bytes);
    total_bytes_ -= num_bytes;
  }

 private:
  base::ByteQueue queue_;
  size_t& total_bytes_;
};

}  // namespace postern::net
