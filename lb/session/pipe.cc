// pipe: two streams joined: what one brings is written to the other.
// SPDX-License-Identifier: Apache-2.0
#include "lb/session/pipe.h"

#include <algorithm>
#include <utility>

namespace postern::session {
namespace {

using base::Side;

Side Other(Side side) {
  return side == Side::kFront ? Side::kBack : Side::kFront;
}

}  // namespace

void Pipe::Join(std::unique_ptr<io::Stream> back, size_t buffer_bytes, base::MonoTime now) {
  back_ = std::move(back);
  last_activity_ = now;
  front_->SetLowWater(buffer_bytes / 2);
  back_->SetLowWater(buffer_bytes / 2);
}

size_t Pipe::Move(Side from_side, SessionEnv& env, size_t buffer_bytes) {
  io::Stream& from = Of(from_side);
  io::Stream& to = Of(Other(from_side));
  const size_t num_forwarded = from.TakeForwarded();
  const base::ByteView bytes = from.Input();
  const size_t num_bytes = bytes.size();
  if (num_forwarded + num_bytes == 0) return 0;
  last_activity_ = env.loop.Now();
  if (num_bytes > 0) {
    to.Write(bytes);
    from.Consume(num_bytes);
  }
  if (to.Unsent() > 0 && (num_forwarded > 0 || to.Unsent() > env.host.HighWater(buffer_bytes))) {
    IsPaused(from_side) = true;
    from.PauseReads();
  }
  return num_forwarded + num_bytes;
}

void Pipe::Forward() {
  // Bytes are forwarded only to who has nothing unsent.
  if (front_->ForwardTo(*back_)) back_->SetLowWater(0);
  if (back_->ForwardTo(*front_)) front_->SetLowWater(0);
}

void Pipe::OnDrained(Side side) {
  if (std::exchange(IsPaused(Other(side)), false)) Of(Other(side)).ResumeReads();
}

void Pipe::GoOn(Side side) {
  if (!IsPaused(side)) Of(side).ResumeReads();
}

void Pipe::PassOnEof(Side from) {
  closed_ = from;
  Of(Other(from)).ShutdownWrite();
}

base::MonoTime Pipe::Deadline(base::Duration idle) const {
  return last_activity_ + (closed_ == Side::kNone ? idle : std::min(idle, kHalfClosedIdle));
}

void Pipe::CloseGently() {
  front_->CloseGently();
  if (back_ != nullptr) back_->CloseGently();
}

}  // namespace postern::session
