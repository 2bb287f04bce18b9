// ldap_main: postern-ldap: asks LDAP servers for postern, in a process of its own, so that libldap,
// its plug-ins and its TLS library stay out of the other.
//
// Started by postern and by nobody else: descriptor 3 is a socket over which postern passes
// connections (ldap_wire.h), one a worker and directory; when it closes, this ends. Signals to the
// whole group are postern's affair: it may have sessions to end first.
// SPDX-License-Identifier: Apache-2.0
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "lb/directory/ldap_passing.h"
#include "lb/directory/ldap_pool.h"
#include "lb/directory/ldap_search.h"
#include "lb/directory/ldap_wire.h"

namespace postern::directory {
namespace {

constexpr time_t kSendTimeoutSeconds = 10;

// A connection to postern: read by its own thread, written by those of a pool.
class Peer {
 public:
  explicit Peer(int fd) : fd_(fd) {
    const timeval timeout{kSendTimeoutSeconds, 0};
    (void)setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
  }
  ~Peer() { close(fd_); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  // Zero: it is over.
  size_t Read(char* bytes, size_t num_bytes) {
    for (;;) {
      const ssize_t num_read = recv(fd_, bytes, num_bytes, 0);
      if (num_read >= 0) return static_cast<size_t>(num_read);
      if (errno != EINTR) return 0;
    }
  }
  void Send(const LdapReply& reply) {
    const std::string frame = ToFrame(reply);
    const std::lock_guard lock(mutex_);
    for (size_t at = 0; at < frame.size();) {
      const ssize_t num_sent = send(fd_, frame.data() + at, frame.size() - at, MSG_NOSIGNAL);
      if (num_sent < 0 && errno == EINTR) continue;
      // A part of a frame would spoil all that follow.
      if (num_sent <= 0) return End();
      at += static_cast<size_t>(num_sent);
    }
  }
  void End() { (void)shutdown(fd_, SHUT_RDWR); }

 private:
  const int fd_;
  std::mutex mutex_;
};

// One pool for all connections with the same settings: a directory's, of every worker.
class Pools {
 public:
  std::shared_ptr<LdapPool> Get(base::ByteView content) {
    auto settings = ParseLdapSettings(content);
    if (!settings) return nullptr;
    const base::Secret key(content);
    const std::lock_guard lock(mutex_);
    std::erase_if(pools_, [](const auto& known) { return known.second.expired(); });
    for (const auto& [known, pool] : pools_)
      if (known == key)
        if (auto shared = pool.lock()) return shared;
    auto made = std::make_shared<LdapPool>(std::move(*settings));
    pools_.emplace_back(key, made);
    return made;
  }

 private:
  std::mutex mutex_;
  std::vector<std::pair<base::Secret, std::weak_ptr<LdapPool>>> pools_;
};

void Serve(Pools& pools, const std::shared_ptr<Peer>& peer) {
  LdapFrames frames;
  std::shared_ptr<LdapPool> pool;
  std::array<char, 16 << 10> bytes{};
  while (const size_t num_bytes = peer->Read(bytes.data(), bytes.size())) {
    frames.Feed({bytes.data(), num_bytes});
    base::WipeBytes(bytes.data(), num_bytes);
    while (const auto content = frames.Next()) {
      if (pool == nullptr) {
        pool = pools.Get(*content);
        if (pool == nullptr) return;
        continue;
      }
      auto question = ParseLdapQuestion(*content);
      if (!question) return;
      pool->Ask(std::move(*question), [peer](const LdapReply& reply) { peer->Send(reply); });
    }
    if (frames.is_broken()) return;
  }
}

int Main() {
  for (const int signal : {SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGPIPE}) {
    if (std::signal(signal, SIG_IGN) == SIG_ERR) return 1;
  }
  // All settings come from postern: none from ldap.conf, .ldaprc or the environment.
  if (setenv("LDAPNOINIT", "1", 1) != 0) return 1;
  int type = 0;
  socklen_t size = sizeof type;
  if (getsockopt(kLdapControl, SOL_SOCKET, SO_TYPE, &type, &size) != 0) {
    std::fprintf(stderr, "postern-ldap: it is started by postern, not by hand\n");
    return 2;
  }
  LdapSearch::SetUp();
  Pools pools;
  while (const auto fd = AwaitDescriptor(kLdapControl))
    std::thread([&pools, peer = std::make_shared<Peer>(*fd)] {
      Serve(pools, peer);
      peer->End();
    }).detach();
  // Whoever asked is gone; what is under way may take its time.
  std::_Exit(0);
}

}  // namespace
}  // namespace postern::directory

int main() {
  return postern::directory::Main();
}
