// servers: the servers of one directory: where they are, and which of them is asked first.
//
// Rules:    server_order.h.
// Logs:     one line when a server starts to fail, one when it is back.
// Owner:    a directory over the network.   Thread: its loop's.
// Tests:    test/directory/servers_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lb/base/address.h"
#include "lb/base/clock.h"
#include "lb/directory/server_order.h"
#include "lb/io/dialer.h"
#include "lb/io/host_names.h"
#include "lb/io/loop.h"
#include "lb/io/resolver.h"

namespace postern::directory {

// Where a server listens: a local socket, or a host (a name or an address) and a port.
struct ServerPlace {
  std::string host{};
  uint16_t port = 0;
  std::string unix_path{};

  // "name:389", "192.0.2.1:389", "[2001:db8::1]:389", "unix:/run/x"; nothing for anything else.
  [[nodiscard]] static std::optional<ServerPlace> Parse(std::string_view text);
  [[nodiscard]] std::string ToString() const;
};

// Who is to blame for a question without an answer.
enum class Blame : uint8_t {
  kServer,
  kQuestion,  // the server works
  kUs,        // no descriptor, no memory, too many questions: nothing is said of the server
};

class Servers {
 public:
  // Who waits for a server's first addresses; told once, from the loop.
  class Waiter {
   public:
    virtual void OnResolved() = 0;

   protected:
    ~Waiter() = default;
  };

  // directory: its name, for the log.
  Servers(io::Loop& loop, io::Resolver& resolver, std::string directory,
          std::vector<ServerPlace> places);

  [[nodiscard]] uint32_t size() const { return static_cast<uint32_t>(servers_.size()); }
  [[nodiscard]] const std::string& name(uint32_t server) const { return servers_[server].name; }

  [[nodiscard]] std::vector<uint32_t> Order() const { return order_.Get(loop_.Now()); }
  void OnAsked(uint32_t server) { order_.OnAsked(server, loop_.Now()); }
  void OnAnswered(uint32_t server);
  // why: printable.
  void OnFailed(uint32_t server, std::string_view why);

  // How many addresses it has; 0: its name is not resolved yet, and a Waiter will hear of it.
  [[nodiscard]] size_t CountAddresses(uint32_t server) const;
  // The one that worked last, or comes after one that did not. There must be one.
  [[nodiscard]] io::DialOptions Address(uint32_t server) const;
  // From now on the next one.
  void LeaveAddress(uint32_t server) { ++servers_[server].next_address; }
  void Wait(uint32_t server, Waiter& waiter);
  void StopWaiting(uint32_t server, Waiter& waiter);

 private:
  struct Server {
    ServerPlace place;
    std::string name;
    std::vector<io::DialOptions> addresses;
    size_t next_address = 0;
    std::vector<Waiter*> waiters;
  };
  void OnResolved(const std::string& host, const std::vector<base::IpAddress>& addresses);

  io::Loop& loop_;
  const std::string directory_;
  std::vector<Server> servers_;
  ServerOrder order_;
  io::HostNames names_;
};

}  // namespace postern::directory
