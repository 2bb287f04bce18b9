// config: the configuration as plain values: what the validator accepted, defaults filled in.
//
// Immutable once built; shared as const. Names are kept as written; references between objects are
// resolved to indices by whoever builds a snapshot. Secrets are Secret. Paths are absolute
// (relative ones were taken relative to the file).
// Tests:    test/conf/config_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "lb/base/address.h"
#include "lb/base/log.h"
#include "lb/base/secret.h"

namespace postern::conf {

using Millis = std::chrono::milliseconds;

enum class Protocol : uint8_t { kSmtp, kSubmission, kImap, kPop3, kLmtp, kSieve, kTcp };
inline constexpr int kNumProtocols = 7;
[[nodiscard]] std::string_view Name(Protocol protocol);  // "smtp", ...

enum class TlsMode : uint8_t { kNone, kStartTls, kImplicit, kPassthrough };
enum class ClientAddress : uint8_t { kNone, kProxyV1, kProxyV2, kXclient, kImapId };
enum class Reauth : uint8_t { kReplay, kXclientLogin, kNever };
enum class Balance : uint8_t { kLeastLoad, kRoundRobin, kHash, kFirst };
enum class HashOn : uint8_t { kUser, kClient };
enum class Storage : uint8_t { kUnset, kShared, kExclusive, kSeparate };
enum class OnDown : uint8_t { kClosed, kOpen };
enum class BareNewline : uint8_t { kReject, kNormalize, kPass };
enum class Commit : uint8_t { kStreaming, kAfterData };
[[nodiscard]] std::string_view Name(TlsMode mode);
[[nodiscard]] std::string_view Name(ClientAddress mode);
[[nodiscard]] std::string_view Name(Storage storage);

struct Certificate {
  std::string cert;  // path, PEM, chain
  std::string key;   // path, PEM
};

struct Tls {
  std::vector<Certificate> certificates;
  uint16_t min_version = 0x0303;    // wire numbers: 0x0303 TLS 1.2, 0x0304 TLS 1.3
  std::vector<std::string> groups;  // empty: the build's own choice
  std::string ticket_keys;          // path; empty: keys of the process's own
};

struct Limits {
  uint64_t sessions = 100000;
  std::optional<uint64_t> sessions_per_address;  // unset: 100 on smtp, 2000 elsewhere
  uint64_t auth_failures_per_address = 10;       // different users within auth_failures_window
  Millis auth_failures_window = std::chrono::minutes(10);
  uint64_t auth_failures = 3;
  uint64_t bad_commands = 10;
  uint64_t line = 8 << 10;  // bytes, as all sizes here
  uint64_t sasl_line = 16 << 10;
  uint64_t literal = 8 << 10;
  uint64_t recipients = 1000;
  uint64_t reply_lines = 128;
  uint64_t message = 50ull << 20;
  uint64_t buffer = 256 << 10;
  uint64_t buffers_total = 1ull << 30;
  std::vector<base::Network> exempt;

  [[nodiscard]] uint64_t SessionsPerAddress(Protocol protocol) const {
    return sessions_per_address.value_or(protocol == Protocol::kSmtp ? 100 : 2000);
  }
};

struct Timeouts {
  // Client side.
  Millis tls = std::chrono::seconds(10);
  std::optional<Millis> login;  // unset: 60 s; 5 m to the first MAIL on smtp
  Millis command = std::chrono::minutes(5);
  Millis data = std::chrono::minutes(5);
  Millis idle = std::chrono::minutes(35);
  Millis auth_failure_delay = std::chrono::seconds(2);
  // Backend side.
  Millis connect = std::chrono::seconds(3);
  Millis greeting = std::chrono::seconds(10);
  Millis auth = std::chrono::seconds(20);
  Millis reply = std::chrono::seconds(90);
  Millis data_start = std::chrono::seconds(30);
  Millis data_block = std::chrono::minutes(3);
  Millis data_done = std::chrono::minutes(10);

  [[nodiscard]] Millis Login(Protocol protocol) const {
    return login.value_or(protocol == Protocol::kSmtp ? Millis(std::chrono::minutes(5))
                                                      : Millis(std::chrono::seconds(60)));
  }
};

struct Listener {
  std::string name;
  Protocol protocol = Protocol::kImap;
  std::vector<base::SocketAddress> addresses;  // port 0: the system's choice
  TlsMode tls = TlsMode::kNone;
  std::string route;
  bool auth_requires_tls = true;
  bool require_tls = false;
  std::vector<base::Network> accept_proxy_from;
  Millis greet_delay{0};
  std::vector<std::string> capabilities;  // override; empty: learned
  bool has_capabilities = false;
  bool pass_refusal_text = false;
  Timeouts timeouts;  // the global ones with the listener's own laid over
  Limits limits;      // likewise
};

struct Verify {
  bool off = false;
  std::string name;  // empty: the host
  std::string ca;    // path; empty: the system's
  std::string cert;  // client certificate, with key; empty: none
  std::string key;
};

struct Endpoint {
  Protocol protocol = Protocol::kImap;
  uint16_t port = 0;
  TlsMode tls = TlsMode::kNone;
  ClientAddress client_address = ClientAddress::kNone;
  Reauth reauth = Reauth::kReplay;
};

struct QueueSource {
  enum class Kind : uint8_t { kPrometheus, kAgent, kHttpJson, kShowq };
  Kind kind = Kind::kPrometheus;
  double soft = 0;
  double hard = 0;
  Millis interval = std::chrono::seconds(15);
  Millis stale_after = std::chrono::minutes(2);
  std::string url;
  std::string metric;
  std::map<std::string, std::string> labels;
  bool combine_max = false;  // else the sum
  std::map<std::string, base::Secret> headers;
  std::string address;
  std::string send;
  std::string pointer;
  std::vector<std::string> queues;
};

struct Backend {
  std::string name;
  std::string host;
  std::string site;
  uint32_t priority = 0;
  uint32_t weight = 100;
  uint64_t max_sessions = 0;
  std::vector<base::IpAddress> source_addresses;
  Verify verify;
  std::optional<QueueSource> queue;
  std::vector<Endpoint> endpoints;  // at most one per protocol, in the order of Protocol

  [[nodiscard]] const Endpoint* Find(Protocol protocol) const {
    for (const Endpoint& endpoint : endpoints)
      if (endpoint.protocol == protocol) return &endpoint;
    return nullptr;
  }
  // The endpoint a listener of this protocol uses: smtp falls back to lmtp.
  [[nodiscard]] const Endpoint* FindFor(Protocol listener) const {
    const Endpoint* endpoint = Find(listener);
    if (endpoint == nullptr && listener == Protocol::kSmtp) endpoint = Find(Protocol::kLmtp);
    return endpoint;
  }
};

struct Credentials {
  std::string user;
  base::Secret password;
};

struct Health {
  Millis interval = std::chrono::seconds(5);
  Millis fast_interval = std::chrono::seconds(1);
  Millis timeout = std::chrono::seconds(10);
  uint32_t rise = 2;
  uint32_t fall = 3;
  Millis slow_start = std::chrono::seconds(30);
  Millis cooldown = std::chrono::seconds(5);
  std::string hello;  // the hostname if not given
  bool relay_check = true;
  bool checks = true;
  std::optional<Credentials> login;
  struct Mail {
    std::string from, to;
  };
  std::optional<Mail> mail;
};

struct Weights {
  bool latency = true;
  bool queue = true;
  double min_factor = 0.05;
  std::optional<Millis> half_life;  // unset: the pool's check interval
};

struct Pool {
  std::string name;
  std::vector<std::string> backends;
  Balance balance = Balance::kLeastLoad;
  HashOn hash_on = HashOn::kUser;
  Storage storage = Storage::kUnset;
  OnDown on_down = OnDown::kClosed;
  double spill_below = 0.5;
  Health health;    // the global one with the pool's own laid over
  Weights weights;  // likewise
};

using Table = std::vector<std::pair<std::string, std::string>>;  // pattern, target; in file order

struct Directory {
  enum class Type : uint8_t { kFile, kAuthHttp, kLdap, kRedis };
  std::string name;
  Type type = Type::kFile;
  Millis timeout = std::chrono::seconds(2);
  Millis cache_hit = std::chrono::seconds(60);
  Millis cache_miss = std::chrono::seconds(10);
  Millis cache_stale = std::chrono::hours(1);
  std::string path;                             // file
  std::vector<std::string> urls;                // auth_http, ldap
  std::map<std::string, base::Secret> headers;  // auth_http
  bool allow_unlisted = false;
  bool starttls = false;  // ldap from here
  std::string ca, bind_dn, base, filter, attribute;
  base::Secret bind_password;
  std::vector<std::string> addresses;  // redis from here
  std::string username, key, field;
  base::Secret password;
  Table table;
  bool operator==(const Directory&) const = default;
};

struct Rule {
  std::string name;  // as given, or "RULE-N" by its place, counted from 1
  std::vector<std::string> listeners;
  std::vector<base::Network> clients;
  std::vector<std::string> snis;
  std::vector<std::string> users;       // patterns with '*'; empty: any
  std::vector<std::string> recipients;  // likewise
  std::optional<double> percent;
  std::string salt;
  std::string directory;
  std::string value;
  bool on_error_next = false;  // else tempfail
  bool migrated = false;
  std::string mixed_relay_pool;  // empty: defer
  struct ToPool {
    std::string name;
  };
  struct ToBackend {
    std::string name;
  };
  struct Reject {
    std::string reply;
  };
  struct TempFail {
    std::string reply;
  };
  struct DirectoryAnswer {};
  std::variant<DirectoryAnswer, ToPool, ToBackend, Reject, TempFail> action;
};

struct Route {
  std::string name;
  std::vector<Rule> rules;
};

struct Users {
  bool lowercase = true;
  std::string strip_extension = "+";
  std::string default_domain;
  struct Rewrite {
    std::string match;  // RE2, found to be valid
    std::string to;     // with \1
    bool operator==(const Rewrite&) const = default;
  };
  std::vector<Rewrite> rewrite;
  bool send_rewritten = false;
  bool operator==(const Users&) const = default;
};

struct Smtp {
  BareNewline bare_newline = BareNewline::kReject;
  uint64_t replay_memory = 256 << 10;
  uint64_t replay_memory_total = 256ull << 20;
  uint64_t replay_limit = 50ull << 20;
  std::string spool_dir = "/var/spool/postern";
  uint64_t spool_total = 4ull << 30;
  uint32_t retries = 2;
  Commit commit = Commit::kStreaming;
  Millis legs_idle = std::chrono::seconds(10);
  uint32_t legs_transactions = 100;
};

struct Drain {
  Millis spread = std::chrono::seconds(30);
  Millis deadline = std::chrono::minutes(10);
  Millis upgrade_deadline = std::chrono::hours(24);
};

struct Admin {
  std::vector<base::SocketAddress> addresses;
  std::string socket;      // path; empty: none
  std::string token_file;  // path; empty: no token, changes only by the socket
};

struct Log {
  base::log::Level level = base::log::Level::kInfo;
  base::log::Format format = base::log::Format::kJson;
  std::string sessions = "stdout";  // "stdout", "off", or a path
};

struct Probe {
  std::string name;
  Millis interval = std::chrono::seconds(60);
  Millis timeout = std::chrono::minutes(2);
  std::string from, to;
  std::string send_listener, send_pool, send_backend;  // one of them
  std::optional<Credentials> login;
  std::string find_pool, find_backend, mailbox;
  Credentials find;
};

struct Config {
  std::string path;  // of the file, absolute
  std::string hostname;
  std::string node_name, node_site;
  uint32_t workers = 0;  // 0: one per CPU
  Tls tls;
  std::vector<Listener> listeners;
  std::vector<Backend> backends;
  std::vector<Pool> pools;
  std::vector<Directory> directories;
  std::vector<Route> routes;
  Users users;
  Limits limits;
  Timeouts timeouts;
  Smtp smtp;
  Drain drain;
  Health health;
  Weights weights;
  bool phase_histograms_by_pool = false;
  std::vector<Probe> probes;
  Admin admin;
  Log log;

  [[nodiscard]] const Backend* FindBackend(std::string_view name) const;
  [[nodiscard]] const Pool* FindPool(std::string_view name) const;
  [[nodiscard]] const Route* FindRoute(std::string_view name) const;
};

}  // namespace postern::conf
