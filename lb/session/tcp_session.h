// tcp_session: one session of a tcp listener: bytes relayed to a backend that a rule names.
//
// Knows no protocol. Where the listener passes TLS on unopened (passthrough), the client's hello is
// looked at for the name that it asks for, and goes to the backend as it came.
// Rules:    an endpoint that refuses, or does not come up in time, TLS towards it included, is left
// for the next: no byte of the client's has been sent before that. A PROXY header goes first. What
// one side closes is closed towards the other (half-close). A drain lets sessions run: there is no
// safe point that could be seen here; what is left at drain.deadline is cut (Kill).
// Limits:   timeouts tls (the client's hello), login (from accept until a backend is up), connect,
// greeting (TLS towards a backend), idle; what a client sends before a backend is up: 32 KiB; then
// limits.buffer a leg. The session itself holds at most 512 bytes.
// Owner:    the host's list.   Thread: the worker's.
// Tests:    test/session/tcp_session_test.cc, test/integration/tcp_test.py
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lb/balance/endpoint.h"
#include "lb/base/address.h"
#include "lb/base/clock.h"
#include "lb/base/end_cause.h"
#include "lb/io/stream.h"
#include "lb/io/timer.h"
#include "lb/proto/client_hello.h"
#include "lb/session/accounting.h"
#include "lb/session/route_query.h"
#include "lb/session/session_env.h"

namespace postern::session {

class TcpSession final : public Session, private io::Stream::Observer {
 public:
  TcpSession(SessionEnv& env, std::shared_ptr<const ListenerSettings> listener, ClientFacts client,
             std::unique_ptr<io::Stream> front);
  ~TcpSession() override;

  void Start() override;
  void BeginDrain() override {}
  void LeaveEndpoint(const balance::EndpointState& endpoint) override;
  void Kill(base::SessionResult why) override;
  [[nodiscard]] const std::string& user() const override { return accounting_.user; }
  [[nodiscard]] std::string_view backend() const override { return accounting_.backend(); }

 private:
  enum class State : uint8_t {
    kPeek,   // the client's hello is read
    kRoute,  // rules, and a directory
    kDial,   // one endpoint after the other
    kRelay,
    kOver,
  };
  enum class Closed : uint8_t { kNone, kFront, kBack };  // which side has closed its direction

  // All that is needed until a backend is up.
  struct Setup {
    std::optional<proto::ClientHelloReader> hello;
    std::string server_name;
    std::shared_ptr<const Parts> parts;  // keeps home and endpoints alive
    std::unique_ptr<RouteQuery> query;
    const balance::Home* home = nullptr;
    std::vector<balance::EndpointId> tried;
    std::optional<base::FaultKind> last_kind;  // of the last try
    std::string last_fault;
    // Of the endpoint that is tried now; null: none is.
    const balance::Endpoint* endpoint = nullptr;
    std::vector<base::IpAddress> addresses;
    size_t num_dialled = 0;
    base::Phase phase = base::Phase::kConnect;
    base::MonoTime phase_began;
    base::MonoTime connect_deadline;  // of all its addresses
    base::MonoTime deadline;          // of what it does now
    bool has_sent_header = false;     // a PROXY header, which tells of the client
    bool is_suspected = false;        // its hanging has been told
  };

  void OnStream(io::Stream& stream, io::Stream::Event event) override;
  void OnTimer();
  void OnFrontBefore(io::Stream::Event event);

  // Before the relay.
  void Peek();
  void FindHome();
  void GoBy(const route::Decision& decision);
  void TryNext();
  void TryAddress();
  void OnBackBefore(io::Stream::Event event);
  void Connected();
  void StartBackTls();
  void Lost();
  void Failed(base::FaultKind kind, std::string why);
  [[nodiscard]] base::MonoTime Patience() const;
  [[nodiscard]] bool MayBlame() const;
  void SetPhase(base::Phase phase);
  void CloseBackLater();

  // The relay.
  void StartRelay();
  void OnRelay(io::Stream& from, io::Stream& to, base::Side side, io::Stream::Event event);
  void Pump(io::Stream& from, io::Stream& to, base::Side side);
  void OnRelayEnd(io::Stream& from, io::Stream& to, base::Side side);

  [[nodiscard]] base::MonoTime NextDeadline() const;
  void Rearm();
  void Finish(base::EndCause cause);

  SessionEnv& env_;
  std::shared_ptr<const ListenerSettings> listener_;
  ClientFacts client_;
  std::unique_ptr<io::Stream> front_;
  std::unique_ptr<io::Stream> back_;
  std::unique_ptr<Setup> setup_;  // null from the relay on
  Accounting accounting_;
  io::Timer timer_;
  base::MonoTime last_activity_{};
  State state_ = State::kRoute;
  Closed closed_ = Closed::kNone;
  bool is_front_paused_ = false;
  bool is_back_paused_ = false;
};

static_assert(sizeof(TcpSession) <= 512);

}  // namespace postern::session
