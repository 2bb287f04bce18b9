// stream_shared: scratch buffers and lingering sockets of one loop.
// SPDX-License-Identifier: Apache-2.0
#include "lb/net/stream_shared.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "lb/net/event_loop.h"

namespace postern::net {

StreamShared::StreamShared(EventLoop& owner)
    : loop(owner), receive(std::make_unique_for_overwrite<char[]>(kReceiveBytes)) {}

StreamShared::~StreamShared() = default;

void StreamShared::Linger(OwnedFd fd, std::unique_ptr<UnsentQueue> unsent) {
  lingerers.emplace_back(*this, std::move(fd), std::move(unsent));
  lingerers.back().self_ = std::prev(lingerers.end());
}

Lingerer::Lingerer(StreamShared& shared, OwnedFd fd, std::unique_ptr<UnsentQueue> unsent)
    : shared_(shared),
      fd_(std::move(fd)),
      unsent_(std::move(unsent)),
      latest_(shared.loop.Now() + kAtMost),
      timer_(shared.loop.timers(), &io::Timer::Invoke<&Lingerer::OnDeadline, Lingerer>, this) {
  event_.Init(
      shared.loop, fd_.get(),
      [](void* self, uint8_t what) { static_cast<Lingerer*>(self)->OnEvent(what); }, this);
  if (unsent_ != nullptr) {
    event_.Watch(FdEvent::kRead | FdEvent::kWrite);
    Rearm(kWithoutProgress);
  } else {
    ::shutdown(fd_.get(), SHUT_WR);
    event_.Watch(FdEvent::kRead);
    Rearm(kAfterLastByte);
  }
}

void Lingerer::OnEvent(uint8_t what) {
  if ((what & FdEvent::kWrite) != 0 && !Send()) return Finish();
  if ((what & FdEvent::kRead) != 0 && !Discard()) return Finish();
  if (has_peer_closed_ && unsent_ == nullptr) return Finish();
  const bool wants_write = unsent_ != nullptr;
  event_.Watch(static_cast<uint8_t>((has_peer_closed_ ? 0 : FdEvent::kRead) |
                                    (wants_write ? FdEvent::kWrite : 0)));
}

bool Lingerer::Send() {
  while (unsent_ != nullptr) {
    if (unsent_->Send(fd_.get()) < 0) return errno == EAGAIN || errno == EINTR;
    if (unsent_->empty()) {
      unsent_.reset();
      ::shutdown(fd_.get(), SHUT_WR);
      Rearm(kAfterLastByte);
    } else {
      Rearm(kWithoutProgress);
    }
  }
  return true;
}

bool Lingerer::Discard() {
  const ssize_t n =
      ::recv(fd_.get(), shared_.receive.get(), StreamShared::kReceiveBytes, MSG_DONTWAIT);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  if (n == 0) has_peer_closed_ = true;
  num_discarded_bytes_ += static_cast<size_t>(n);
  return num_discarded_bytes_ <= kMaxDiscardBytes;
}

void Lingerer::Rearm(base::Duration wait) {
  timer_.ArmAt(std::min(shared_.loop.Now() + wait, latest_));
}

void Lingerer::OnDeadline() {
  Finish();
}

void Lingerer::Finish() {
  event_.Clear();
  shared_.lingerers.erase(self_);  // *this is gone
}

}  // namespace postern::net
