// tcp_session: one session of a tcp listener: the client's hello, a backend, the relay.
// SPDX-License-Identifier: Apache-2.0
#include "lb/session/tcp_session.h"

#include <algorithm>
#include <utility>

#include "lb/base/check.h"

namespace postern::session {

using base::MonoTime;
using base::Phase;
using base::SessionResult;
using base::Side;
using io::Stream;

namespace {

// Bytes of a client that nobody takes yet.
constexpr size_t kMaxAheadBytes = 32 << 10;

}  // namespace

TcpSession::TcpSession(SessionEnv& env, std::shared_ptr<const ListenerSettings> listener,
                       ClientFacts client, std::unique_ptr<Stream> front)
    : env_(env),
      listener_(std::move(listener)),
      client_(client),
      pipe_(std::move(front)),
      setup_(std::make_unique<Setup>()),
      accounting_(env, *listener_),
      timer_(env.loop.timers(), io::Timer::Invoke<&TcpSession::OnTimer, TcpSession>, this) {}

TcpSession::~TcpSession() = default;

void TcpSession::Start() {
  accounting_.Started();
  pipe_.front().SetObserver(this);
  if (listener_->conf.tls == conf::TlsMode::kPassthrough) {
    state_ = State::kPeek;
    setup_->hello.emplace();
    Peek();  // the hello may have come behind a PROXY header
  } else {
    if (const io::TlsFacts* tls = pipe_.front().tls_facts()) setup_->server_name = tls->server_name;
    FindHome();
  }
  Rearm();
}

void TcpSession::OnStream(Stream& stream, Stream::Event event) {
  const Side side = pipe_.SideOf(stream);
  switch (state_) {
    case State::kPeek:
    case State::kRoute:
    case State::kDial:
      if (side == Side::kFront) {
        OnFrontBefore(event);
      } else {
        TakeLeg(setup_->leg->OnStream(event));
      }
      return Rearm();
    case State::kRelay:
      return OnRelay(side, event);
    case State::kOver:
      return;
  }
}

void TcpSession::OnFrontBefore(Stream::Event event) {
  switch (event) {
    case Stream::Event::kReadable:
      if (state_ == State::kPeek) return Peek();
      if (pipe_.front().Input().size() > kMaxAheadBytes) pipe_.front().PauseReads();
      return;
    case Stream::Event::kEnd:
      if (state_ != State::kPeek && pipe_.front().end() == io::StreamEnd::kEof) {
        is_front_at_eof_ = true;  // passed on when the backend is up
        return;
      }
      return Finish({SessionResult::kClientLost, Side::kFront,
                     state_ == State::kPeek ? Phase::kTls : Phase::kConnect,
                     state_ == State::kPeek ? "client left before its ClientHello was complete"
                                            : "client's connection broke"});
    case Stream::Event::kConnected:
    case Stream::Event::kDrained:
    case Stream::Event::kTlsUp:
      return;
  }
}

void TcpSession::Peek() {
  using Status = proto::ClientHelloReader::Status;
  const Status status = setup_->hello->Read(pipe_.front().Input());
  if (status == Status::kNeedMore) return;
  if (status == Status::kDone) {
    setup_->server_name = setup_->hello->server_name();
    setup_->hello.reset();
    return FindHome();
  }
  Finish({SessionResult::kProtocolError, Side::kFront, Phase::kTls, std::string(Name(status))});
}

// --- a backend ----------------------------------------------------------------------------------

void TcpSession::FindHome() {
  state_ = State::kRoute;
  Setup& setup = *setup_;
  setup.parts = env_.parts;
  const auto route = setup.parts->router->FindRoute(listener_->conf.route);
  if (!route)
    return Finish({SessionResult::kBackendLost, Side::kNone, Phase::kRoute, "the route is gone"});
  route::Facts facts;
  facts.listener = listener_->conf.name;
  facts.protocol = listener_->conf.protocol;
  facts.client = client_.client.ip;
  facts.sni = setup.server_name;
  setup.query = std::make_unique<RouteQuery>(setup.parts, env_.recorder, env_.loop, *route, facts,
                                             std::nullopt);
  const auto decision = setup.query->Start([this](const route::Decision& late) {
    GoBy(late);
    Rearm();
  });
  if (decision) GoBy(*decision);
}

void TcpSession::GoBy(const route::Decision& decision) {
  Setup& setup = *setup_;
  // What it points to is kept until here.
  const std::unique_ptr<RouteQuery> query = std::move(setup.query);
  setup.home = HomeOf(*setup.parts, decision, listener_->conf.protocol);
  CountDecision(env_.recorder, *setup.parts, decision, setup.home);
  const auto end = [this](SessionResult result, std::string why) {
    Finish({result, Side::kNone, Phase::kRoute, std::move(why)});
  };
  switch (decision.kind) {
    case route::Decision::Kind::kPool:
    case route::Decision::Kind::kBackend:
    case route::Decision::Kind::kAddress:
      if (setup.home == nullptr)
        return end(SessionResult::kBackendLost, "the directory names no server that is configured");
      state_ = State::kDial;
      return TryNext();
    case route::Decision::Kind::kReject:
    case route::Decision::Kind::kRefused:
      return end(SessionResult::kProtocolError, "refused by rule");
    case route::Decision::Kind::kUnknown:
      return end(SessionResult::kProtocolError, "no rule holds");
    case route::Decision::Kind::kTempFail:
      return end(SessionResult::kBackendLost,
                 decision.why.empty() ? "tempfail by rule" : std::string(decision.why));
    case route::Decision::Kind::kAsk:
      POSTERN_CHECK(false);
  }
}

// A pool that is spread by a key has the client's address for one: there is no user.
void TcpSession::TryNext() {
  Setup& setup = *setup_;
  const balance::Endpoint* endpoint = env_.picker.Pick(
      *setup.home, balance::ClientKey(client_.client.ip), setup.tried, env_.loop.Now());
  if (endpoint == nullptr) {
    return Finish({SessionResult::kBackendLost, Side::kBack, Phase::kConnect,
                   setup.last_fault.empty() ? "no endpoint can take it now" : setup.last_fault});
  }
  if (setup.last_kind) env_.recorder.Retry(listener_->conf.protocol, *setup.last_kind);
  setup.tried.push_back(endpoint->id);
  setup.leg = std::make_unique<BackLeg>(
      BackLeg::Around{env_, *listener_, client_, *setup.parts, accounting_, *this}, *endpoint);
  TakeLeg(setup.leg->Start());
}

void TcpSession::TakeLeg(BackLeg::Came came) {
  switch (came) {
    case BackLeg::Came::kUp:
      return StartRelay();
    case BackLeg::Came::kFailed:
      return LegFailed(setup_->leg->fault());
    case BackLeg::Came::kShort:
      return Finish({SessionResult::kLimit, Side::kBack, Phase::kConnect,
                     "no descriptor, port or memory to connect with"});
    case BackLeg::Came::kNothing:
    case BackLeg::Came::kTlsUp:
    case BackLeg::Came::kBytes:  // the relay's
      return;
  }
}

void TcpSession::LegFailed(const BackLeg::Fault& fault) {
  Setup& setup = *setup_;
  setup.last_kind = fault.kind;
  setup.last_fault = setup.leg->Fail(fault, setup.leg->blame());
  setup.leg.reset();
  TryNext();
}

// --- relay ------------------------------------------------------------------------------------

void TcpSession::StartRelay() {
  const std::unique_ptr<Setup> setup = std::move(setup_);
  setup->leg->Succeeded();
  pipe_.Join(setup->leg->TakeStream(), listener_->conf.limits.buffer, env_.loop.Now());
  pipe_.Forward();
  // A client that is in TLS with the backend itself sends nothing in clear.
  if (!pipe_.back().in_tls() && listener_->conf.tls != conf::TlsMode::kPassthrough)
    env_.recorder.PlaintextSession(Side::kBack, listener_->conf.protocol);
  state_ = State::kRelay;
  // What has come meanwhile, on either side.
  Pump(Side::kBack);
  Pump(Side::kFront);
  if (is_front_at_eof_) pipe_.PassOnEof(Side::kFront);
  pipe_.GoOn(Side::kFront);
}

void TcpSession::OnRelay(Side side, Stream::Event event) {
  if (event == Stream::Event::kDrained) return pipe_.OnDrained(side);
  Pump(side);
  if (event == Stream::Event::kEnd) OnRelayEnd(side);
}

void TcpSession::Pump(Side from) {
  const size_t num_bytes = pipe_.Move(from, env_, listener_->conf.limits.buffer);
  if (num_bytes > 0) accounting_.Relayed(from, num_bytes);
}

void TcpSession::OnRelayEnd(Side side) {
  const std::string who = side == Side::kFront ? "client" : "backend";
  if (pipe_.Of(side).end() == io::StreamEnd::kEof) {
    if (!pipe_.is_closed(Side::kNone))
      return Finish({SessionResult::kClientQuit, side, Phase::kRelay, "closed by both"});
    pipe_.PassOnEof(side);
    return Rearm();
  }
  // Who has closed already may refuse what is sent to it: that is how most sessions end whose
  // server speaks last.
  if (pipe_.is_closed(side))
    return Finish({SessionResult::kClientQuit, side, Phase::kRelay, "closed by the " + who});
  Finish({side == Side::kFront ? SessionResult::kClientLost : SessionResult::kBackendLost, side,
          Phase::kRelay, who + "'s connection broke"});
}

// --- ends ---------------------------------------------------------------------------------------

void TcpSession::LeaveEndpoint(const balance::EndpointState& endpoint) {
  if (state_ != State::kDial || setup_->leg->endpoint().state.get() != &endpoint ||
      !setup_->home->HasAnother(setup_->tried))
    return;
  LegFailed({base::FaultKind::kLost, "the endpoint is down"});
  Rearm();
}

void TcpSession::Kill(SessionResult why) {
  Finish({why, Side::kNone, state_ == State::kRelay ? Phase::kRelay : Phase::kConnect, ""});
}

MonoTime TcpSession::NextDeadline() const {
  const conf::Timeouts& its = listener_->conf.timeouts;
  switch (state_) {
    case State::kPeek:
      return client_.accepted + its.tls;
    case State::kRoute:
      return LoginDeadline();
    case State::kDial:
      return std::min(LoginDeadline(), setup_->leg->NextDeadline());
    case State::kRelay:
      return pipe_.Deadline(its.idle);
    case State::kOver:
      break;
  }
  return MonoTime::max();
}

// A deadline that moves away is found out when the timer fires; only one that comes nearer is
// armed.
void TcpSession::Rearm() {
  if (state_ == State::kOver) return;
  const MonoTime next = NextDeadline();
  if (!timer_.armed() || next < timer_.when()) timer_.ArmAt(next);
}

void TcpSession::OnTimer() {
  const MonoTime now = env_.loop.Now();
  if (NextDeadline() > now) return Rearm();
  switch (state_) {
    case State::kPeek:
      return Finish({SessionResult::kIdle, Side::kFront, Phase::kTls, "ClientHello took too long"});
    case State::kRoute:
    case State::kDial:
      if (LoginDeadline() <= now)
        return Finish(
            {SessionResult::kIdle, Side::kBack, Phase::kConnect, "no backend was up in time"});
      TakeLeg(setup_->leg->OnTimer(setup_->leg->blame()));
      return Rearm();
    case State::kRelay:
      return Finish({SessionResult::kIdle, Side::kFront, Phase::kRelay, "idle for too long"});
    case State::kOver:
      return;
  }
}

void TcpSession::Finish(base::EndCause cause) {
  if (state_ == State::kOver) return;
  const SessionResult result = cause.result;
  accounting_.Finished(client_, pipe_.front(), /*num_commands=*/0, std::move(cause));
  state_ = State::kOver;
  timer_.Cancel();
  if (setup_ != nullptr) {
    setup_->query.reset();
    if (setup_->leg != nullptr) setup_->leg->Drop(result);
  }
  // What each has sent is delivered.
  pipe_.CloseGently();
  env_.host.Retire(*this);
}

}  // namespace postern::session
