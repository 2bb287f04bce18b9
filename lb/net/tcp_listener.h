// tcp_listener: accepts connections of one address on one loop.
//
// Every worker has its own socket on the same address (SO_REUSEPORT), so the kernel spreads
// connections and no worker wakes another. Binding is apart from listening: all sockets of an
// address are bound in one place, and may come from an older process.
// Shortage: out of descriptors or memory, accepting rests for a moment and is tried again, slower
//           each time; connections wait in the kernel's queue. Meanwhile a reserve descriptor is
//           given back, so that the sessions that run can still open something.
// Owner:    a worker.   Thread: the loop's.
// Tests:    test/net/tcp_listener_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "lb/base/address.h"
#include "lb/base/result.h"
#include "lb/io/timer.h"
#include "lb/net/event_loop.h"
#include "lb/net/fd_event.h"
#include "lb/net/owned_fd.h"

namespace postern::net {

// May sockets of this user be on the port already (our own, from before a reload)? Another process
// that was started twice would share the port, and take its half of the clients, without a word.
enum class PortUse : uint8_t { kAlone, kBeside };

// Sockets of one address, bound and not yet listening: one per worker, all on the same port even if
// the address asks for port 0. An error names the address and why.
[[nodiscard]] base::Result<std::vector<OwnedFd>> BindAll(const base::SocketAddress& address,
                                                         size_t num_sockets,
                                                         PortUse use = PortUse::kAlone);
// From now on the kernel takes connections for these sockets, before a TcpListener has them too. An
// error is as BindAll's: somebody else may be listening there by now.
[[nodiscard]] base::Result<bool> ListenAll(const std::vector<OwnedFd>& sockets);
// Where a bound socket is; port 0 replaced by the real one.
[[nodiscard]] base::SocketAddress LocalAddressOf(int fd);

class TcpListener {
 public:
  // A non-blocking socket and where it comes from (zero for a Unix socket). May create, pause or
  // close anything, but not delete the listener.
  using OnAccept = std::function<void(OwnedFd fd, const base::SocketAddress& peer)>;
  // Accepting rests (true) or goes on (false): for the log and for problems.
  using OnShortage = std::function<void(bool is_short)>;

  // Adopts a bound socket, or one that listens already (of an older process), and listens.
  TcpListener(EventLoop& loop, OwnedFd fd, OnAccept on_accept);
  ~TcpListener();
  TcpListener(const TcpListener&) = delete;
  TcpListener& operator=(const TcpListener&) = delete;

  // False if listening failed (the port was taken in between).
  [[nodiscard]] bool is_listening() const { return is_listening_; }
  [[nodiscard]] base::SocketAddress address() const { return address_; }
  [[nodiscard]] int fd() const { return fd_.get(); }  // to be passed on
  void SetOnShortage(OnShortage on_shortage) { on_shortage_ = std::move(on_shortage); }

  // Connections wait in the kernel meanwhile.
  void Pause();
  void Resume();
  // Accepts what the kernel has completed already. Before Close: what waits in the queue of a
  // closing socket is reset.
  void DrainAccepts();
  void Close();

 private:
  static constexpr int kAcceptsPerWakeup = 64;
  static constexpr base::Duration kFirstRest = std::chrono::milliseconds(20);
  static constexpr base::Duration kLongestRest = std::chrono::seconds(1);

  // False when there is nothing more to accept now.
  [[nodiscard]] bool AcceptOne();
  void Rest();
  void OnRestOver();
  void UpdateInterest();

  EventLoop& loop_;
  OwnedFd fd_;
  OwnedFd reserve_fd_;
  OnAccept on_accept_;
  OnShortage on_shortage_;
  base::SocketAddress address_;
  FdEvent event_;
  io::Timer rest_timer_;
  base::Duration rest_ = kFirstRest;
  bool is_listening_ = false;
  bool is_paused_ = false;
  bool is_short_ = false;
};

}  // namespace postern::net
