// splice_pipe: bytes from one socket to another by way of a pipe of the kernel's, never copied.
//
// Limits:   kCapacityBytes a pipe; kMaxLent pipes of a loop at once, of which the free ones beyond
//           kMaxFree are closed. A pipe is lent only while bytes are on their way: an idle stream
//           holds none.
// Faults:   a kernel that does not splice is asked once; who gets no pipe copies.
// Owner:    the loop's StreamShared; lent to UnsentQueue.   Thread: the loop's.
// Why so:   a tenth to a third less CPU a MiB than copying it in and out, from 64 KiB at a time on;
//           nothing gained below (test/bench/splice_bench.cc).
// Tests:    test/net/splice_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "lb/base/bytes.h"
#include "lb/net/owned_fd.h"

namespace postern::net {

class SplicePipe {
 public:
  static constexpr int kCapacityBytes = 256 << 10;

  // Null: no descriptor, or the kernel has too little memory for pipes of ours.
  [[nodiscard]] static std::unique_ptr<SplicePipe> Make();

  [[nodiscard]] size_t size() const { return size_bytes_; }
  // From a socket, as recv(2) says it; also EAGAIN while the pipe is full.
  [[nodiscard]] ssize_t Fill(int fd, size_t num_bytes);
  // To a socket, as send(2) says it.
  [[nodiscard]] ssize_t Send(int fd);
  // All that is in it, copied.
  void DrainTo(base::ByteQueue& queue);

 private:
  SplicePipe() = default;

  OwnedFd read_end_, write_end_;
  size_t size_bytes_ = 0;
};

class SplicePipes {
 public:
  static constexpr size_t kMaxLent = 64;
  static constexpr size_t kMaxFree = 4;

  struct Return {
    SplicePipes* pipes = nullptr;
    // A pipe with bytes in it is closed.
    void operator()(SplicePipe* pipe) const { pipes->Take(pipe); }
  };
  using Lent = std::unique_ptr<SplicePipe, Return>;

  // Null: none is to be had now.
  [[nodiscard]] Lent Lend();
  // This kernel does not splice what we have: no more of it.
  void Disable() { is_disabled_ = true; }
  [[nodiscard]] size_t num_lent() const { return num_lent_; }

 private:
  void Take(SplicePipe* pipe);

  std::vector<std::unique_ptr<SplicePipe>> free_;
  size_t num_lent_ = 0;
  bool is_disabled_ = false;
};

// Errors that say that two descriptors cannot be spliced, not that one has failed.
[[nodiscard]] bool IsSpliceUnknown(int error);

}  // namespace postern::net
