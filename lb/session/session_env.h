// session_env: all that a session needs of the process and of the snapshot, so that it never
// includes daemon/.
//
// One SessionEnv per worker; `parts` is replaced by a reload. A session keeps its listener's
// ListenerSettings (small) and asks the env for the parts when it needs them; it never keeps them
// across an idle time.
// Thread:   its worker's.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "conf/config.h"
#include "lb/balance/endpoint.h"
#include "lb/balance/picker.h"
#include "lb/balance/pins.h"
#include "lb/base/address.h"
#include "lb/base/rng.h"
#include "lb/io/dialer.h"
#include "lb/io/lookup.h"
#include "lb/io/loop.h"
#include "lb/io/resolver.h"
#include "lb/io/spool.h"
#include "lb/io/stream.h"
#include "lb/route/router.h"
#include "lb/route/user_key.h"
#include "metrics/account.h"
#include "metrics/recorder.h"

namespace postern::session {

// Of one listener, as of the snapshot in which the session began. Immutable, shared by its
// sessions.
struct ListenerSettings {
  conf::Listener conf;
  std::string hostname;  // ours, for greetings
  conf::Smtp smtp;
  metrics::ListenerSlots slots;
  uint32_t index = 0;  // Config::listeners
  // Keeps the worker's TLS context alive as long as sessions use it; null: no TLS on this listener.
  std::shared_ptr<const io::TlsSettings> tls;
  // What is announced (EHLO keywords, CAPABILITY atoms, CAPA lines), without what Postern adds by
  // its state (STARTTLS, AUTH, LOGINDISABLED). Replaced by new settings when the endpoints' facts
  // change.
  std::vector<std::string> capabilities;
  // Mechanisms that some eligible endpoint has.
  bool offers_xoauth2 = false;
  bool offers_oauthbearer = false;
  // Some eligible endpoint is told the client's name (XCLIENT): it is looked up at accept.
  bool wants_peer_name = false;
};

// The parts of a snapshot that sessions use. const after it is built.
struct Parts {
  std::shared_ptr<const conf::Config> config;
  std::shared_ptr<const route::Router> router;
  std::shared_ptr<const route::UserKey> user_key;
  std::shared_ptr<const balance::EndpointTable> endpoints;
  std::vector<std::vector<metrics::EndpointSlots>> endpoint_slots;  // [backend][endpoint]
  std::vector<std::vector<metrics::RuleSlots>> rule_slots;          // [route][rule]
  std::vector<metrics::DirectorySlots> directory_slots;             // as Config::directories
  // By EndpointId, per worker: TLS towards it; null where its leg is in clear.
  std::vector<std::shared_ptr<const io::TlsSettings>> back_tls;
  // As Config::directories; the worker's own.
  std::vector<std::shared_ptr<io::Directory>> directories;
};

// The client, as Postern knows it when the session's dialogue begins.
struct ClientFacts {
  uint64_t session_id = 0;
  base::SocketAddress client;  // from the socket, or from the PROXY header of a trusted hop
  base::SocketAddress local;   // where it connected to, likewise
  base::MonoTime accepted;     // absolute deadlines count from here
};

class IdleLegs;
class Session;

// Owner of the sessions of a worker.
class SessionHost {
 public:
  // The session has ended and closed its streams: deletes it, later, never from within.
  virtual void Retire(Session& session) = 0;
  // Per-address and per-user memory, shared by the workers (striped). True: refused.
  [[nodiscard]] virtual bool AuthBlocked(const base::IpAddress& client,
                                         const std::string& user) = 0;
  virtual void AuthFailed(const base::IpAddress& client, const std::string& user) = 0;
  virtual void AuthSucceeded(const base::IpAddress& client, const std::string& user) = 0;
  // Whole-process budgets, in bytes; false: over the cap, do without.
  [[nodiscard]] virtual bool TakeReplayMemory(size_t num_bytes) = 0;
  virtual void ReturnReplayMemory(size_t num_bytes) = 0;
  // Refusals of which their senders have not heard yet, process-wide, by what they are for; each
  // is recalled once. Empty: none.
  virtual void RememberRefusal(const std::string& key, std::string_view reply) = 0;
  [[nodiscard]] virtual std::string RecallRefusal(const std::string& key) = 0;
  // For what is beyond that memory; null: nothing is kept beyond it. Outlives the sessions.
  [[nodiscard]] virtual io::Spool* spool() { return nullptr; }
  // The high-water mark of a leg (limits.buffer), or less while all legs together hold too much.
  [[nodiscard]] virtual size_t HighWater(size_t wanted_bytes) const { return wanted_bytes; }
  // Whose users are where, in exclusive pools.
  [[nodiscard]] virtual balance::Pins& pins() = 0;
  // Where legs wait for the next client; null: each session keeps its own.
  [[nodiscard]] virtual IdleLegs* idle_legs() { return nullptr; }
  // A live back leg has learned what the endpoint can do.
  virtual void LearnedCapabilities(const balance::Endpoint& endpoint,
                                   std::vector<std::string> capabilities) = 0;

 protected:
  ~SessionHost() = default;
};

struct SessionEnv {
  io::Loop& loop;
  io::Dialer& dialer;
  io::Resolver& resolver;
  base::Rng& rng;
  balance::Picker& picker;
  metrics::Recorder& recorder;
  metrics::AccountSink& accounts;
  SessionHost& host;
  std::shared_ptr<const Parts> parts;
};

// One client's life after its connection is ready (PROXY header read, implicit TLS up).
class Session {
 public:
  virtual ~Session() = default;
  // Begins the dialogue: sends the greeting.
  virtual void Start() = 0;
  // Ends at the next safe point, with the protocol's word for it.
  virtual void BeginDrain() = 0;
  // The endpoint takes no work any more: what waits there and can go elsewhere goes, at once.
  virtual void LeaveEndpoint(const balance::EndpointState& endpoint) = 0;
  // Ends now, with the protocol's word where that is possible.
  virtual void Kill(base::SessionResult why) = 0;
  // For the sessions API.
  [[nodiscard]] virtual const std::string& user() const = 0;
  [[nodiscard]] virtual std::string_view backend() const = 0;

  // The host's own: intrusive list, whose session counts for which address, who was told of a
  // drain.
  Session* previous_in_host = nullptr;
  Session* next_in_host = nullptr;
  base::IpAddress client_ip;
  bool is_drain_begun = false;
};

// What a client is told, instead of a greeting, whose address has too many sessions: 421, "* BYE",
// -ERR.
[[nodiscard]] std::string_view RefusalLine(conf::Protocol protocol);

// Whether there is a session for it: other listeners are not opened.
[[nodiscard]] bool IsServed(conf::Protocol protocol);

// Takes over the stream. One factory: the only place that knows which protocol has which session.
[[nodiscard]] std::unique_ptr<Session> MakeSession(SessionEnv& env,
                                                   std::shared_ptr<const ListenerSettings> listener,
                                                   ClientFacts client,
                                                   std::unique_ptr<io::Stream> front);

}  // namespace postern::session
