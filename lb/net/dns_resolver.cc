// dns_resolver: io::Resolver by c-ares on one loop.
// SPDX-License-Identifier: Apache-2.0
#include "lb/net/dns_resolver.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "lb/base/bytes.h"
#include "lb/base/check.h"
#include "lb/net/fd_event.h"

namespace postern::net {
namespace {

using std::chrono::seconds;

constexpr base::Duration kMinTtl = seconds(5);
constexpr base::Duration kMaxTtl = std::chrono::hours(1);
constexpr base::Duration kHostsFileTtl = seconds(60);
constexpr base::Duration kPeerTtl = std::chrono::minutes(10);
constexpr base::Duration kPeerFailureTtl = seconds(30);
constexpr base::Duration kCheckEvery = seconds(30);
// An address with more names than this is no mail server's.
constexpr size_t kMaxPtrNames = 4;

bool IsAnswer(int status) {
  return status == ARES_ENOTFOUND || status == ARES_ENODATA;
}

std::string TextOf(int status) {
  if (IsAnswer(status)) return "the name has no address";
  return std::string("DNS: ") + ares_strerror(status);
}

// Changes whenever the file does.
int64_t StampOf(const char* path) {
  struct stat info {};
  if (::stat(path, &info) != 0) return 0;
  return int64_t{info.st_mtim.tv_sec} * 1000000000 + info.st_mtim.tv_nsec;
}

// RFC 1035 3.5, RFC 3596 2.5.
std::string ReverseName(const base::IpAddress& address) {
  std::string name;
  const std::array<uint8_t, 16>& bytes = address.bytes();
  if (address.is_v4()) {
    for (int i = 3; i >= 0; --i) name += std::to_string(bytes[static_cast<size_t>(i)]) + ".";
    return name + "in-addr.arpa";
  }
  constexpr std::string_view kHex = "0123456789abcdef";
  for (auto byte = bytes.rbegin(); byte != bytes.rend(); ++byte) {
    name += {kHex[*byte & 15], '.', kHex[*byte >> 4], '.'};
  }
  return name + "ip6.arpa";
}

io::ResolvedName FromAres(int status, const ares_addrinfo* found) {
  io::ResolvedName result;
  if (status != ARES_SUCCESS) {
    result.error = TextOf(status);
    return result;
  }
  base::Duration ttl = kMaxTtl;
  for (const ares_addrinfo_node* node = found->nodes; node != nullptr; node = node->ai_next) {
    const std::optional<base::SocketAddress> address =
        base::SocketAddress::FromSockaddr(node->ai_addr);
    if (!address) continue;
    if (std::find(result.addresses.begin(), result.addresses.end(), address->ip) ==
        result.addresses.end()) {
      result.addresses.push_back(address->ip);
    }
    ttl = std::min<base::Duration>(ttl, node->ai_ttl > 0 ? seconds(node->ai_ttl) : kHostsFileTtl);
  }
  if (result.addresses.empty()) {
    result.error = TextOf(ARES_ENODATA);
  } else {
    result.ttl = std::max(ttl, kMinTtl);
  }
  return result;
}

}  // namespace

std::string PlainHostName(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.empty() || name.size() > 253 || base::IpAddress::Parse(name)) return {};
  size_t label_bytes = 0;
  for (const char c : name) {
    if (c == '.') {
      if (label_bytes == 0) return {};
      label_bytes = 0;
      continue;
    }
    const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || c == '-' || c == '_';
    if (!is_plain || ++label_bytes > 63) return {};
  }
  return label_bytes == 0 ? std::string() : base::ToLower(name);
}

// --- the channel ----------------------------------------------------------------------------

class DnsResolver::Channel {
 public:
  using AddressCallback = std::function<void(int status, const ares_addrinfo* found)>;
  using NameCallback = std::function<void(int status, const hostent* found)>;

  Channel(EventLoop& loop, const DnsOptions& options)
      : loop_(loop),
        stamp_(Stamp()),
        timer_(loop.timers(), &io::Timer::Invoke<&Channel::OnTimer, Channel>, this) {
    static const bool is_library_ready = ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS;
    POSTERN_CHECK(is_library_ready);
    ares_options raw{};
    raw.timeout = static_cast<int>(
        std::chrono::duration_cast<std::chrono::milliseconds>(options.timeout).count());
    raw.tries = options.tries;
    raw.sock_state_cb = &Channel::OnSocketState;
    raw.sock_state_cb_data = this;
    const int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
    if (ares_init_options(&channel_, &raw, mask) != ARES_SUCCESS) {
      channel_ = nullptr;  // an unreadable resolv.conf, or no memory: every question fails
      return;
    }
    ares_options files{};
    char only_files[] = "f";
    files.lookups = only_files;
    if (ares_init_options(&file_channel_, &files, ARES_OPT_LOOKUPS) != ARES_SUCCESS) {
      file_channel_ = nullptr;
    }
    if (!options.servers.empty()) ares_set_servers_ports_csv(channel_, options.servers.c_str());
  }
  ~Channel() {
    if (file_channel_ != nullptr) ares_destroy(file_channel_);
    if (channel_ != nullptr) ares_destroy(channel_);  // answers all with ARES_EDESTRUCTION
  }

  void FindAddresses(const std::string& host, AddressCallback done) {
    if (channel_ == nullptr) return done(ARES_ENOTINITIALIZED, nullptr);
    ares_addrinfo_hints hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = ARES_AI_NOSORT;
    ++num_pending_;
    auto* context = new Question<AddressCallback>{this, std::move(done)};
    ares_getaddrinfo(
        channel_, host.c_str(), nullptr, &hints,
        [](void* raw, int status, int /*timeouts*/, ares_addrinfo* found) {
          const std::unique_ptr<Question<AddressCallback>> question(
              static_cast<Question<AddressCallback>*>(raw));
          --question->channel->num_pending_;
          if (status != ARES_EDESTRUCTION) question->done(status, found);
          if (found != nullptr) ares_freeaddrinfo(found);
        },
        context);
    Rearm();
  }

  void FindNames(const base::IpAddress& address, NameCallback done) {
    if (channel_ == nullptr) return done(ARES_ENOTINITIALIZED, nullptr);
    if (FindNamesInFile(address, done)) return;
    // Not by ares_gethostbyaddr: that one takes a failing server for a missing name.
    ++num_pending_;
    auto* context = new PtrQuestion{{this, std::move(done)}, address};
    ares_query(
        channel_, ReverseName(address).c_str(), ns_c_in, ns_t_ptr,
        [](void* raw, int status, int /*timeouts*/, unsigned char* reply, int reply_bytes) {
          const std::unique_ptr<PtrQuestion> question(static_cast<PtrQuestion*>(raw));
          --question->channel->num_pending_;
          if (status == ARES_EDESTRUCTION) return;
          hostent* found = nullptr;
          if (status == ARES_SUCCESS) {
            const base::IpAddress& asked = question->address;
            status = ares_parse_ptr_reply(reply, reply_bytes, asked.bytes().data(),
                                          asked.is_v4() ? 4 : 16,
                                          asked.is_v4() ? AF_INET : AF_INET6, &found);
            // Names that are no names: as if there were none.
            if (status != ARES_SUCCESS && status != ARES_ENOMEM) status = ARES_ENODATA;
          }
          question->done(status, found);
          if (found != nullptr) ares_free_hostent(found);
        },
        context);
    Rearm();
  }

  [[nodiscard]] bool IsIdle() const { return num_pending_ == 0; }
  [[nodiscard]] bool IsOutdated() const { return stamp_ != Stamp(); }

 private:
  template <typename Callback>
  struct Question {
    Channel* channel;
    Callback done;
  };
  struct PtrQuestion : Question<NameCallback> {
    base::IpAddress address;
  };
  struct Socket {
    Channel* channel = nullptr;
    ares_socket_t fd = ARES_SOCKET_BAD;
    FdEvent event;
  };

  // /etc/hosts, by a channel that knows nothing else and so answers at once. False: not there.
  bool FindNamesInFile(const base::IpAddress& address, const NameCallback& done) {
    struct Lookup {
      const NameCallback& done;
      bool is_found = false;
    } lookup{done};
    if (file_channel_ == nullptr) return false;
    ares_gethostbyaddr(
        file_channel_, address.bytes().data(), address.is_v4() ? 4 : 16,
        address.is_v4() ? AF_INET : AF_INET6,
        [](void* raw, int status, int /*timeouts*/, hostent* found) {
          auto* self = static_cast<Lookup*>(raw);
          self->is_found = status == ARES_SUCCESS;
          if (self->is_found) self->done(status, found);
        },
        &lookup);
    return lookup.is_found;
  }

  static int64_t Stamp() { return StampOf("/etc/resolv.conf"); }

  static void OnSocketState(void* self, ares_socket_t fd, int wants_read, int wants_write) {
    auto* channel = static_cast<Channel*>(self);
    if (wants_read == 0 && wants_write == 0) {
      channel->sockets_.erase(fd);
      return;
    }
    Socket& socket = channel->sockets_[fd];
    if (!socket.event.initialised()) {
      socket.channel = channel;
      socket.fd = fd;
      socket.event.Init(channel->loop_, fd, &Channel::OnSocket, &socket);
    }
    socket.event.Watch(static_cast<uint8_t>((wants_read != 0 ? FdEvent::kRead : 0) |
                                            (wants_write != 0 ? FdEvent::kWrite : 0)));
  }

  static void OnSocket(void* context, uint8_t what) {
    // The socket's entry may go while its answer is read.
    const auto* socket = static_cast<Socket*>(context);
    Channel* channel = socket->channel;
    const ares_socket_t fd = socket->fd;
    ares_process_fd(channel->channel_, (what & FdEvent::kRead) != 0 ? fd : ARES_SOCKET_BAD,
                    (what & FdEvent::kWrite) != 0 ? fd : ARES_SOCKET_BAD);
    channel->Rearm();
  }

  void OnTimer() {
    ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    Rearm();
  }

  void Rearm() {
    timeval wait{};
    if (ares_timeout(channel_, nullptr, &wait) == nullptr) return timer_.Cancel();
    timer_.ArmAt(loop_.Now() + seconds(wait.tv_sec) + std::chrono::microseconds(wait.tv_usec));
  }

  EventLoop& loop_;
  int64_t stamp_;
  ares_channel channel_ = nullptr;
  ares_channel file_channel_ = nullptr;
  std::map<ares_socket_t, Socket> sockets_;
  size_t num_pending_ = 0;
  io::Timer timer_;
};

// --- DnsResolver ----------------------------------------------------------------------------

DnsResolver::DnsResolver(EventLoop& loop, DnsOptions options)
    : loop_(loop), options_(std::move(options)) {}

DnsResolver::~DnsResolver() {
  *is_alive_ = false;
}

DnsResolver::Channel& DnsResolver::CurrentChannel() {
  const base::MonoTime now = loop_.Now();
  if (old_channel_ != nullptr && old_channel_->IsIdle()) old_channel_.reset();
  if (channel_ != nullptr && now - checked_at_ >= kCheckEvery) {
    checked_at_ = now;
    if (old_channel_ == nullptr && channel_->IsOutdated()) old_channel_ = std::move(channel_);
  }
  if (channel_ == nullptr) {
    channel_ = std::make_unique<Channel>(loop_, options_);
    checked_at_ = now;
  }
  return *channel_;
}

void DnsResolver::Resolve(const std::string& host,
                          std::function<void(const io::ResolvedName&)> done) {
  // Always later, also where the answer is known at once: c-ares itself may call back from within.
  const auto answer = [this, is_alive = is_alive_,
                       done = std::move(done)](const io::ResolvedName& result) {
    loop_.Post([is_alive, done, result] {
      if (*is_alive) done(result);
    });
  };
  io::ResolvedName literal;
  if (const std::optional<base::IpAddress> address = base::IpAddress::Parse(host)) {
    literal.addresses.push_back(*address);
    literal.ttl = kMaxTtl;
    return answer(literal);
  }
  if (PlainHostName(host).empty()) {
    literal.error = "not a host name";
    return answer(literal);
  }
  CurrentChannel().FindAddresses(
      host, [answer](int status, const ares_addrinfo* found) { answer(FromAres(status, found)); });
}

void DnsResolver::FindPeerName(const base::IpAddress& address, PeerCallback done) {
  const auto [entry, is_new] = peers_.try_emplace(address);
  CachedPeer& peer = entry->second;
  if (!is_new && peer.waiting.empty() && loop_.Now() < peer.expires) {
    loop_.Post([is_alive = is_alive_, done = std::move(done), name = peer.name] {
      if (*is_alive) done(name);
    });
    return;
  }
  peer.waiting.push_back(std::move(done));
  if (peer.waiting.size() > 1) return;  // asked already
  if (peers_.size() > options_.max_cached) MakeRoom();
  CurrentChannel().FindNames(address, [this, address](int status, const hostent* found) {
    if (status != ARES_SUCCESS) {
      const auto kind = IsAnswer(status) ? io::PeerName::Kind::kUnavailable
                                         : io::PeerName::Kind::kTempUnavailable;
      return FinishPeer(address, {kind, {}});
    }
    std::vector<std::string> names;
    const auto add = [&names](const char* raw) {
      std::string name = PlainHostName(raw);
      if (name.empty() || names.size() >= kMaxPtrNames) return;
      if (std::find(names.begin(), names.end(), name) == names.end()) {
        names.push_back(std::move(name));
      }
    };
    if (found->h_name != nullptr) add(found->h_name);
    for (char** alias = found->h_aliases; alias != nullptr && *alias != nullptr; ++alias) {
      add(*alias);
    }
    ConfirmPeer(address, names, 0);
  });
}

// Anybody can name his address after somebody else: the name has to point back.
void DnsResolver::ConfirmPeer(const base::IpAddress& address, const std::vector<std::string>& names,
                              size_t index) {
  if (index == names.size()) return FinishPeer(address, {io::PeerName::Kind::kUnavailable, {}});
  // The dot keeps the search list of resolv.conf out of it; /etc/hosts knows names without one.
  const bool is_local = names[index].find('.') == std::string::npos;
  const std::string absolute = is_local ? names[index] : names[index] + ".";
  CurrentChannel().FindAddresses(
      absolute, [this, address, names, index](int status, const ares_addrinfo* found) {
        const io::ResolvedName result = FromAres(status, found);
        if (std::find(result.addresses.begin(), result.addresses.end(), address) !=
            result.addresses.end()) {
          return FinishPeer(address, {io::PeerName::Kind::kName, names[index]});
        }
        if (status != ARES_SUCCESS && !IsAnswer(status)) {
          return FinishPeer(address, {io::PeerName::Kind::kTempUnavailable, {}});
        }
        ConfirmPeer(address, names, index + 1);
      });
}

void DnsResolver::FinishPeer(const base::IpAddress& address, io::PeerName name) {
  CachedPeer& peer = peers_[address];
  const bool is_failure = name.kind == io::PeerName::Kind::kTempUnavailable;
  peer.expires = loop_.Now() + (is_failure ? kPeerFailureTtl : kPeerTtl);
  peer.name = std::move(name);
  for (PeerCallback& done : std::exchange(peer.waiting, {})) {
    loop_.Post([is_alive = is_alive_, done = std::move(done), found = peer.name] {
      if (*is_alive) done(found);
    });
  }
}

// Forgets what is old; if that is not enough, everything that nobody waits for.
void DnsResolver::MakeRoom() {
  const base::MonoTime now = loop_.Now();
  std::erase_if(peers_, [now](const auto& entry) {
    return entry.second.waiting.empty() && entry.second.expires <= now;
  });
  if (peers_.size() <= options_.max_cached) return;
  std::erase_if(peers_, [](const auto& entry) { return entry.second.waiting.empty(); });
}

}  // namespace postern::net
