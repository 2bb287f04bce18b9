// tcp_session: one session of a tcp listener: bytes relayed to a backend that a rule names.
//
// Knows no protocol. Where the listener passes TLS on unopened (passthrough), the client's hello is
// looked at for the name that it asks for, and goes to the backend as it came.
// Rules:    an endpoint that refuses, or does not come up in time, TLS towards it included, is left
//           for the next: no byte of the client's has been sent before that. A PROXY header goes
//           first. What one side closes is closed towards the other (half-close). A drain lets
//           sessions run: there is no safe point that could be seen here; what is left at
//           drain.deadline is cut (Kill).
// Limits:   timeouts tls (the client's hello), login (from accept until a backend is up), connect,
//           greeting (TLS towards a backend), idle; what a client sends before a backend is up:
//           32 KiB; then limits.buffer a leg. The session itself holds at most 512 bytes.
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
#include "lb/base/clock.h"
#include "lb/base/end_cause.h"
#include "lb/io/stream.h"
#include "lb/io/timer.h"
#include "lb/proto/client_hello.h"
#include "lb/session/accounting.h"
#include "lb/session/back_leg.h"
#include "lb/session/pipe.h"
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
    std::unique_ptr<BackLeg> leg;  // of the endpoint that is tried now
  };

  void OnStream(io::Stream& stream, io::Stream::Event event) override;
  void OnTimer();
  void OnFrontBefore(io::Stream::Event event);

  // Before the relay.
  void Peek();
  void FindHome();
  void GoBy(const route::Decision& decision);
  void TryNext();
  void TakeLeg(BackLeg::Came came);
  void LegFailed(const BackLeg::Fault& fault);

  // The relay.
  void StartRelay();
  void OnRelay(base::Side side, io::Stream::Event event);
  void Pump(base::Side from);
  void OnRelayEnd(base::Side side);

  // Until when a backend must be up.
  [[nodiscard]] base::MonoTime LoginDeadline() const {
    return client_.accepted + listener_->conf.timeouts.Login(listener_->conf.protocol);
  }
  [[nodiscard]] base::MonoTime NextDeadline() const;
  void Rearm();
  void Finish(base::EndCause cause);

  SessionEnv& env_;
  std::shared_ptr<const ListenerSettings> listener_;
  ClientFacts client_;
  Pipe pipe_;
  std::unique_ptr<Setup> setup_;  // null from the relay on
  Accounting accounting_;
  io::Timer timer_;
  State state_ = State::kRoute;
  bool is_front_at_eof_ = false;  // before the relay
};

static_assert(sizeof(TcpSession) <= 512);

}  // namespace postern::session
