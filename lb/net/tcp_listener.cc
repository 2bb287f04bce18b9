// tcp_listener: accepts connections of one address on one loop.
// SPDX-License-Identifier: Apache-2.0
#include "lb/net/tcp_listener.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace postern::net {
namespace {

constexpr int kBacklog = 4096;

base::Error CannotListen(const base::SocketAddress& address) {
  return base::Error{"cannot listen on " + address.ToString() + ": " +
                     std::generic_category().message(errno)};
}

bool SetOption(int fd, int level, int name) {
  const int on = 1;
  return ::setsockopt(fd, level, name, &on, sizeof on) == 0;
}

bool StartListening(int fd) {
  SetOption(fd, IPPROTO_TCP, TCP_NODELAY);  // inherited by what is accepted
  return ::listen(fd, kBacklog) == 0;
}

enum class SharePort : bool { kNo, kYes };

base::Result<OwnedFd> Bind(const base::SocketAddress& address, SharePort share) {
  const int family = address.ip.is_v4() ? AF_INET : AF_INET6;
  OwnedFd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid() || !SetOption(fd.get(), SOL_SOCKET, SO_REUSEADDR) ||
      // [::]:25 and 0.0.0.0:25 are two listeners.
      (family == AF_INET6 && !SetOption(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY)) ||
      (share == SharePort::kYes && !SetOption(fd.get(), SOL_SOCKET, SO_REUSEPORT))) {
    return CannotListen(address);
  }
  sockaddr_storage storage{};
  const unsigned size = address.ToSockaddr(&storage);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), size) != 0) {
    return CannotListen(address);
  }
  return fd;
}

}  // namespace

base::SocketAddress LocalAddressOf(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return {};
  return base::SocketAddress::FromSockaddr(reinterpret_cast<sockaddr*>(&storage))
      .value_or(base::SocketAddress{});
}

base::Result<std::vector<OwnedFd>> BindAll(const base::SocketAddress& address, size_t num_sockets,
                                           PortUse use) {
  base::SocketAddress wanted = address;
  std::vector<OwnedFd> sockets;
  if (use == PortUse::kAlone || address.port == 0) {
    // With SO_REUSEPORT a port on which another of our sockets already is would be given, or even
    // chosen: take it without, then open it to the others.
    base::Result<OwnedFd> first = Bind(address, SharePort::kNo);
    if (!first.ok()) return base::Error{first.error()};
    if (!SetOption(first.value().get(), SOL_SOCKET, SO_REUSEPORT)) return CannotListen(address);
    wanted = LocalAddressOf(first.value().get());
    sockets.push_back(std::move(first).value());
  }
  while (sockets.size() < num_sockets) {
    base::Result<OwnedFd> next = Bind(wanted, SharePort::kYes);
    if (!next.ok()) return base::Error{next.error()};
    sockets.push_back(std::move(next).value());
  }
  return sockets;
}

base::Result<bool> ListenAll(const std::vector<OwnedFd>& sockets) {
  for (const OwnedFd& fd : sockets)
    if (!StartListening(fd.get())) return CannotListen(LocalAddressOf(fd.get()));
  return true;
}

TcpListener::TcpListener(EventLoop& loop, OwnedFd fd, OnAccept on_accept)
    : loop_(loop),
      fd_(std::move(fd)),
      reserve_fd_(::open("/dev/null", O_RDONLY | O_CLOEXEC)),
      on_accept_(std::move(on_accept)),
      address_(LocalAddressOf(fd_.get())),
      rest_timer_(loop.timers(), &io::Timer::Invoke<&TcpListener::OnRestOver, TcpListener>, this) {
  ::fcntl(fd_.get(), F_SETFL, ::fcntl(fd_.get(), F_GETFL) | O_NONBLOCK);
  is_listening_ = StartListening(fd_.get());
  event_.Init(
      loop_, fd_.get(),
      [](void* self, uint8_t) {
        auto* listener = static_cast<TcpListener*>(self);
        for (int i = 0; i < kAcceptsPerWakeup && listener->AcceptOne(); ++i) {
        }
      },
      this);
  UpdateInterest();
}

TcpListener::~TcpListener() {
  Close();
}

bool TcpListener::AcceptOne() {
  if (is_paused_ || is_short_ || !is_listening_) return false;
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  OwnedFd fd(::accept4(fd_.get(), reinterpret_cast<sockaddr*>(&storage), &size,
                       SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd.valid()) {
    switch (errno) {
      case EAGAIN:
        return false;
      case EMFILE:
      case ENFILE:
      case ENOMEM:
      case ENOBUFS:
        Rest();
        return false;
      case EBADF:
      case EINVAL:
      case ENOTSOCK:
        return false;  // not a listening socket any more
      default:
        // ECONNABORTED and the network's own errors (accept(2)) concern one connection that is
        // gone already.
        return true;
    }
  }
  rest_ = kFirstRest;
  const std::optional<base::SocketAddress> peer =
      base::SocketAddress::FromSockaddr(reinterpret_cast<sockaddr*>(&storage));
  on_accept_(std::move(fd), peer.value_or(base::SocketAddress{}));
  return true;
}

void TcpListener::Rest() {
  is_short_ = true;
  reserve_fd_.Reset();
  UpdateInterest();
  rest_timer_.ArmAt(loop_.Now() + rest_);
  rest_ = std::min(rest_ * 2, kLongestRest);
  if (on_shortage_) on_shortage_(true);
}

void TcpListener::OnRestOver() {
  reserve_fd_ = OwnedFd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!reserve_fd_.valid()) {
    // Nothing has become free: an accept could only fail again.
    rest_timer_.ArmAt(loop_.Now() + rest_);
    rest_ = std::min(rest_ * 2, kLongestRest);
    return;
  }
  is_short_ = false;
  UpdateInterest();
  if (on_shortage_) on_shortage_(false);
}

void TcpListener::Pause() {
  is_paused_ = true;
  UpdateInterest();
}

void TcpListener::Resume() {
  is_paused_ = false;
  UpdateInterest();
}

void TcpListener::DrainAccepts() {
  // Bounded: clients that keep coming must not keep it open.
  for (int i = 0; i < kBacklog && AcceptOne(); ++i) {
  }
}

void TcpListener::Close() {
  rest_timer_.Cancel();
  event_.Clear();
  fd_.Reset();
  reserve_fd_.Reset();
  is_listening_ = false;
}

void TcpListener::UpdateInterest() {
  if (!event_.initialised()) return;
  const bool wants = is_listening_ && !is_paused_ && !is_short_;
  event_.Watch(wants ? FdEvent::kRead : 0);
}

}  // namespace postern::net
