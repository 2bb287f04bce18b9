// dns_resolver: io::Resolver by c-ares on one loop: A, AAAA, PTR; /etc/hosts and resolv.conf.
//
// Cache:    answers of FindPeerName, failures too, per address and bounded; those of Resolve are
//           not kept, their TTL is handed on. Equal questions of FindPeerName in flight are one.
// Trust:    a PTR name is a stranger's text: only a plain host name that points back is handed on.
// Changes:  a changed /etc/resolv.conf is read again (looked at every half minute while asked).
// Owner:    a worker, the health or the control thread.   Thread: its loop's.
// Why so:   getaddrinfo blocks, hides TTLs, and may load NSS modules with a TLS library of their
//           own; evdns knows neither /etc/hosts nor TCP.
// Tests:    test/net/dns_resolver_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "lb/io/resolver.h"
#include "lb/io/timer.h"
#include "lb/net/event_loop.h"

struct ares_channeldata;

namespace postern::net {

struct DnsOptions {
  std::string servers{};  // "10.0.0.1,10.0.0.2:5353"; empty: resolv.conf
  // Of the first try; each further one waits longer.
  base::Duration timeout = std::chrono::seconds(2);
  int tries = 2;  // per server
  size_t max_cached = 16384;
};

class DnsResolver final : public io::Resolver {
 public:
  explicit DnsResolver(EventLoop& loop, DnsOptions options = {});
  ~DnsResolver() override;
  DnsResolver(const DnsResolver&) = delete;
  DnsResolver& operator=(const DnsResolver&) = delete;

  void Resolve(const std::string& host, std::function<void(const io::ResolvedName&)> done) override;
  void FindPeerName(const base::IpAddress& address,
                    std::function<void(const io::PeerName&)> done) override;

 private:
  class Channel;  // one c-ares channel with its sockets
  using PeerCallback = std::function<void(const io::PeerName&)>;
  struct CachedPeer {
    io::PeerName name;
    base::MonoTime expires{};
    std::vector<PeerCallback> waiting;  // not empty: the lookup is running
  };

  [[nodiscard]] Channel& CurrentChannel();
  void ConfirmPeer(const base::IpAddress& address, const std::vector<std::string>& names,
                   size_t index);
  void FinishPeer(const base::IpAddress& address, io::PeerName name);
  void MakeRoom();

  EventLoop& loop_;
  DnsOptions options_;
  std::unique_ptr<Channel> channel_;
  std::unique_ptr<Channel> old_channel_;  // of an older resolv.conf, until its questions are over
  base::MonoTime checked_at_{};
  std::unordered_map<base::IpAddress, CachedPeer> peers_;
  std::shared_ptr<bool> is_alive_ = std::make_shared<bool>(true);
};

// Lower case without the last dot, if it is a plain host name; else empty.
[[nodiscard]] std::string PlainHostName(std::string_view name);

}  // namespace postern::net
