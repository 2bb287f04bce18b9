// pipe: two streams joined: what one brings is written to the other.
//
// Rules:    a side that does not take what it is sent pauses the other; what one side closes is
//           closed towards the other, once (half-close).
// Limits:   the buffer a side; who has closed its side waits kHalfClosedIdle for what the other
//           still says.
// Owner:    a MailSession or TcpSession, which counts, looks at the bytes, and knows what an end
//           means.
// Thread:   its worker's.
// Why so:   a chunk costs one read and one write, or goes from socket to socket in the kernel where
//           nobody looks at it; no allocation and no system call for time. An idle pipe owns
//           nothing but its streams.
// Tests:    test/session/pipe_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include "lb/base/clock.h"
#include "lb/base/end_cause.h"
#include "lb/io/stream.h"
#include "lb/session/session_env.h"

namespace postern::session {

class Pipe {
 public:
  static constexpr base::Duration kHalfClosedIdle = std::chrono::seconds(60);

  // front: has no back yet.
  explicit Pipe(std::unique_ptr<io::Stream> front) : front_(std::move(front)) {}

  // buffer_bytes: what a side may have queued (limits.buffer).
  void Join(std::unique_ptr<io::Stream> back, size_t buffer_bytes, base::MonoTime now);

  [[nodiscard]] io::Stream& front() const { return *front_; }
  [[nodiscard]] io::Stream& back() const { return *back_; }
  [[nodiscard]] io::Stream& Of(base::Side side) const {
    return side == base::Side::kFront ? *front_ : *back_;
  }
  [[nodiscard]] base::Side SideOf(const io::Stream& stream) const {
    return &stream == front_.get() ? base::Side::kFront : base::Side::kBack;
  }

  // Nobody looks at the bytes: the streams may pass them on by themselves.
  void Forward();
  // Writes to the other side what `from` has brought; how many bytes that were.
  size_t Move(base::Side from, SessionEnv& env, size_t buffer_bytes);
  // `side` has taken what it was sent: the other one may go on.
  void OnDrained(base::Side side);
  // `side`, which may have been paused before the pipe was, goes on, if nothing of its waits.
  void GoOn(base::Side side);
  // `from` has said all that it will: told to the other side.
  void PassOnEof(base::Side from);
  [[nodiscard]] bool is_closed(base::Side side) const { return closed_ == side; }

  // When it has been silent for too long.
  [[nodiscard]] base::MonoTime Deadline(base::Duration idle) const;
  // Each side gets what the other has sent, and an end.
  void CloseGently();

 private:
  [[nodiscard]] bool& IsPaused(base::Side side) {
    return side == base::Side::kFront ? is_front_paused_ : is_back_paused_;
  }

  std::unique_ptr<io::Stream> front_;
  std::unique_ptr<io::Stream> back_;
  base::MonoTime last_activity_{};
  base::Side closed_ = base::Side::kNone;  // who has closed its direction first
  bool is_front_paused_ = false;
  bool is_back_paused_ = false;
};

}  // namespace postern::session
