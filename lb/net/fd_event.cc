// fd_event: readiness of one descriptor on one EventLoop.
// SPDX-License-Identifier: Apache-2.0
#include "lb/net/fd_event.h"

#include <event2/event.h>
#include <event2/event_struct.h>

#include "lb/base/check.h"
#include "lb/net/event_loop.h"

namespace postern::net {

static_assert(sizeof(event) <= 128, "FdEvent::kEventBytes must hold a struct event");

FdEvent::~FdEvent() {
  Clear();
}

event* FdEvent::raw() {
  return reinterpret_cast<event*>(storage_);
}

void FdEvent::Init(EventLoop& loop, int fd, Function function, void* context) {
  POSTERN_CHECK(!initialised_);
  function_ = function;
  context_ = context;
  interest_ = 0;
  is_deferred_ = false;
  POSTERN_CHECK(event_assign(raw(), loop.base(), fd, EV_PERSIST, &FdEvent::OnEvent, this) == 0);
  initialised_ = true;
}

void FdEvent::Watch(uint8_t interest) {
  POSTERN_DCHECK(initialised_);
  if (interest == interest_) return;
  event_del(raw());
  interest_ = interest;
  const short flags = static_cast<short>(((interest & kRead) != 0 ? EV_READ : 0) |
                                         ((interest & kWrite) != 0 ? EV_WRITE : 0) | EV_PERSIST);
  POSTERN_CHECK(event_assign(raw(), event_get_base(raw()), event_get_fd(raw()), flags,
                             &FdEvent::OnEvent, this) == 0);
  if (interest != 0) POSTERN_CHECK(event_add(raw(), nullptr) == 0);
  // event_del took the pending call away too.
  if (is_deferred_) event_active(raw(), EV_TIMEOUT, 1);
}

void FdEvent::Defer() {
  POSTERN_DCHECK(initialised_);
  if (is_deferred_) return;
  is_deferred_ = true;
  event_active(raw(), EV_TIMEOUT, 1);
}

void FdEvent::Clear() {
  if (!initialised_) return;
  event_del(raw());
  initialised_ = false;
  interest_ = 0;
  is_deferred_ = false;
}

void FdEvent::OnEvent(int /*fd*/, short what, void* self) {
  auto* event = static_cast<FdEvent*>(self);
  uint8_t bits = 0;
  // Bits of an interest that was changed between readiness and this call are dropped.
  if ((what & EV_READ) != 0 && (event->interest_ & kRead) != 0) bits |= kRead;
  if ((what & EV_WRITE) != 0 && (event->interest_ & kWrite) != 0) bits |= kWrite;
  if ((what & EV_TIMEOUT) != 0 && event->is_deferred_) {
    bits |= kDeferred;
    event->is_deferred_ = false;
  }
  if (bits != 0) event->function_(event->context_, bits);
}

}  // namespace postern::net
