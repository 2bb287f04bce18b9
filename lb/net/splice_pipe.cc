// splice_pipe: bytes from one socket to another by way of a pipe of the kernel's.
// SPDX-License-Identifier: Apache-2.0
#include "lb/net/splice_pipe.h"

#include <fcntl.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include "lb/base/check.h"

namespace postern::net {
namespace {

// What the system gives to those who have many already may be a page or two: copying is better.
constexpr int kLeastCapacityBytes = 64 << 10;

}  // namespace

std::unique_ptr<SplicePipe> SplicePipe::Make() {
  // splice(2) knows no MSG_NOSIGNAL.
  static const bool is_ignored = ::signal(SIGPIPE, SIG_IGN) != SIG_ERR;
  (void)is_ignored;
  int ends[2];
  if (::pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) return nullptr;
  std::unique_ptr<SplicePipe> pipe(new SplicePipe);
  pipe->read_end_ = OwnedFd(ends[0]);
  pipe->write_end_ = OwnedFd(ends[1]);
  int capacity = ::fcntl(ends[0], F_SETPIPE_SZ, kCapacityBytes);
  if (capacity < 0) capacity = ::fcntl(ends[0], F_GETPIPE_SZ);
  return capacity < kLeastCapacityBytes ? nullptr : std::move(pipe);
}

ssize_t SplicePipe::Fill(int fd, size_t num_bytes) {
  const ssize_t n = ::splice(fd, nullptr, write_end_.get(), nullptr, num_bytes,
                             SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
  if (n > 0) size_bytes_ += static_cast<size_t>(n);
  return n;
}

ssize_t SplicePipe::Send(int fd) {
  const ssize_t n = ::splice(read_end_.get(), nullptr, fd, nullptr, size_bytes_,
                             SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
  if (n > 0) size_bytes_ -= static_cast<size_t>(n);
  return n;
}

void SplicePipe::DrainTo(base::ByteQueue& queue) {
  char bytes[4096];
  while (size_bytes_ > 0) {
    const ssize_t n = ::read(read_end_.get(), bytes, sizeof bytes);
    if (n < 0 && errno == EINTR) continue;
    POSTERN_CHECK(n > 0);  // we hold both ends, and know what is in it
    queue.Append({bytes, static_cast<size_t>(n)});
    size_bytes_ -= static_cast<size_t>(n);
  }
}

SplicePipes::Lent SplicePipes::Lend() {
  if (is_disabled_ || num_lent_ == kMaxLent) return {};
  std::unique_ptr<SplicePipe> pipe;
  if (free_.empty()) {
    pipe = SplicePipe::Make();
    if (pipe == nullptr) return {};
  } else {
    pipe = std::move(free_.back());
    free_.pop_back();
  }
  ++num_lent_;
  return Lent(pipe.release(), Return{this});
}

void SplicePipes::Take(SplicePipe* pipe) {
  std::unique_ptr<SplicePipe> owned(pipe);
  --num_lent_;
  if (owned->size() == 0 && free_.size() < kMaxFree) free_.push_back(std::move(owned));
}

bool IsSpliceUnknown(int error) {
  return error == EINVAL || error == ENOSYS || error == EOPNOTSUPP;
}

}  // namespace postern::net
