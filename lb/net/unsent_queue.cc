// unsent_queue: bytes that a socket has not taken yet.
// SPDX-License-Identifier: Apache-2.0
#include "lb/net/unsent_queue.h"

#include <sys/socket.h>

#include <utility>

#include "lb/base/check.h"

namespace postern::net {

void UnsentQueue::Append(base::ByteView bytes) {
  if (pipe_ != nullptr) {
    pipe_->DrainTo(queue_);  // it stands before them
    pipe_.reset();
  }
  queue_.Append(bytes);
  total_bytes_ += bytes.size();
}

void UnsentQueue::Hold(SplicePipes::Lent pipe) {
  POSTERN_DCHECK(empty());
  pipe_ = std::move(pipe);
  total_bytes_ += pipe_->size();
}

ssize_t UnsentQueue::Send(int fd) {
  const bool is_copied = !queue_.empty();
  const ssize_t n =
      is_copied ? ::send(fd, queue_.View().data(), queue_.size(), MSG_NOSIGNAL) : pipe_->Send(fd);
  if (n <= 0) return n;
  if (is_copied) queue_.Consume(static_cast<size_t>(n));
  if (pipe_ != nullptr && pipe_->size() == 0) pipe_.reset();
  total_bytes_ -= static_cast<size_t>(n);
  return n;
}

}  // namespace postern::net
