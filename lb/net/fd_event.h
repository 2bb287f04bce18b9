// fd_event: readiness of one descriptor on one EventLoop: a struct event without its header.
//
// Level-triggered and persistent. Destroyed or set to nothing means never called. It is embedded in
// what it serves (128 bytes), so that a connection costs no allocation for it. Changing the
// interest costs up to two epoll_ctl, so users keep the interest as it is while that does no harm.
// Owner:    the object that is called.   Thread: the loop's.
// Tests:    test/net/event_loop_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

struct event;

namespace postern::net {

class EventLoop;

class FdEvent {
 public:
  // Bits of interest and of what happened; kDeferred is what Defer brings.
  static constexpr uint8_t kRead = 1;
  static constexpr uint8_t kWrite = 2;
  static constexpr uint8_t kDeferred = 4;
  using Function = void (*)(void* context, uint8_t what);

  FdEvent() = default;
  ~FdEvent();
  FdEvent(const FdEvent&) = delete;
  FdEvent& operator=(const FdEvent&) = delete;

  // Before anything else; fd may be -1 for an event that is only ever deferred.
  void Init(EventLoop& loop, int fd, Function function, void* context);
  // Watches for these bits (kRead | kWrite) from now on; 0 stops. Keeps a deferred call.
  void Watch(uint8_t interest);
  [[nodiscard]] uint8_t interest() const { return interest_; }
  // Calls later in this loop iteration, with kDeferred.
  void Defer();
  // Stops everything and forgets the descriptor, so that it may be closed.
  void Clear();
  [[nodiscard]] bool initialised() const { return initialised_; }

 private:
  static void OnEvent(int fd, short what, void* self);
  [[nodiscard]] event* raw();

  static constexpr size_t kEventBytes = 128;
  alignas(8) std::byte storage_[kEventBytes];
  Function function_ = nullptr;
  void* context_ = nullptr;
  uint8_t interest_ = 0;
  bool is_deferred_ = false;
  bool initialised_ = false;
};

}  // namespace postern::net
