// tcp_session: the client's hello, and the relay; what lies between is in tcp_dial.
// SPDX-License-Identifier: Apache-2.0
#include "lb/session/tcp_session.h"

#include <algorithm>
#include <utility>

namespace postern::session {

using base::MonoTime;
using base::Phase;
using base::SessionResult;
using base::Side;
using io::Stream;
using metrics::Direction;

namespace {

// Bytes of a client that nobody takes yet.
constexpr size_t kMaxAheadBytes = 32 << 10;
// Who has closed its side waits for what the other one still has to say, but not for ever.
constexpr base::Duration kHalfClosedIdle = std::chrono::seconds(60);

}  // namespace

TcpSession::TcpSession(SessionEnv& env, std::shared_ptr<const ListenerSettings> listener,
                       ClientFacts client, std::unique_ptr<Stream> front)
    : env_(env),
      listener_(std::move(listener)),
      client_(client),
      front_(std::move(front)),
      setup_(std::make_unique<Setup>()),
      accounting_(env, *listener_),
      timer_(env.loop.timers(), io::Timer::Invoke<&TcpSession::OnTimer, TcpSession>, this) {}

TcpSession::~TcpSession() = default;

void TcpSession::Start() {
  accounting_.Started();
  front_->SetObserver(this);
  if (listener_->conf.tls == conf::TlsMode::kPassthrough) {
    state_ = State::kPeek;
    setup_->hello.emplace();
    Peek();  // the hello may have come behind a PROXY header
  } else {
    if (const io::TlsFacts* tls = front_->tls_facts()) setup_->server_name = tls->server_name;
    FindHome();
  }
  Rearm();
}

void TcpSession::OnStream(Stream& stream, Stream::Event event) {
  const bool is_front = &stream == front_.get();
  switch (state_) {
    case State::kPeek:
    case State::kRoute:
    case State::kDial:
      if (is_front) {
        OnFrontBefore(event);
      } else if (&stream == back_.get()) {
        OnBackBefore(event);
      }
      Rearm();
      return;
    case State::kRelay:
      if (is_front) {
        OnRelay(*front_, *back_, Side::kFront, event);
      } else {
        OnRelay(*back_, *front_, Side::kBack, event);
      }
      return;
    case State::kOver:
      return;
  }
}

void TcpSession::OnFrontBefore(Stream::Event event) {
  switch (event) {
    case Stream::Event::kReadable:
      if (state_ == State::kPeek) return Peek();
      if (front_->Input().size() > kMaxAheadBytes) {
        is_front_paused_ = true;
        front_->PauseReads();
      }
      return;
    case Stream::Event::kEnd:
      if (state_ != State::kPeek && front_->end() == io::StreamEnd::kEof) {
        closed_ = Closed::kFront;  // passed on when the backend is up
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
  const Status status = setup_->hello->Read(front_->Input());
  if (status == Status::kNeedMore) return;
  if (status == Status::kDone) {
    setup_->server_name = setup_->hello->server_name();
    setup_->hello.reset();
    return FindHome();
  }
  Finish({SessionResult::kProtocolError, Side::kFront, Phase::kTls, std::string(Name(status))});
}

// --- relay ------------------------------------------------------------------------------------

void TcpSession::StartRelay() {
  setup_.reset();
  state_ = State::kRelay;
  last_activity_ = env_.loop.Now();
  const auto low_water = static_cast<size_t>(listener_->conf.limits.buffer / 2);
  front_->SetLowWater(low_water);
  back_->SetLowWater(low_water);
  const bool was_paused = std::exchange(is_front_paused_, false);
  // What has come meanwhile, on either side.
  Pump(*back_, *front_, Side::kBack);
  Pump(*front_, *back_, Side::kFront);
  if (closed_ == Closed::kFront) back_->ShutdownWrite();
  if (was_paused && !is_front_paused_) front_->ResumeReads();
}

void TcpSession::OnRelay(Stream& from, Stream& to, Side side, Stream::Event event) {
  switch (event) {
    case Stream::Event::kReadable:
      Pump(from, to, side);
      return;
    case Stream::Event::kDrained:
      // `from` has taken what it was sent: the other side may go on.
      if (std::exchange(side == Side::kFront ? is_back_paused_ : is_front_paused_, false))
        to.ResumeReads();
      return;
    case Stream::Event::kEnd:
      Pump(from, to, side);
      OnRelayEnd(from, to, side);
      return;
    case Stream::Event::kConnected:
    case Stream::Event::kTlsUp:
      return;
  }
}

void TcpSession::Pump(Stream& from, Stream& to, Side side) {
  const base::ByteView bytes = from.Input();
  if (bytes.empty()) return;
  last_activity_ = env_.loop.Now();
  const Side other = side == Side::kFront ? Side::kBack : Side::kFront;
  accounting_.Bytes(side, Direction::kIn, bytes.size());
  accounting_.Bytes(other, Direction::kOut, bytes.size());
  to.Write(bytes);
  from.Consume(bytes.size());
  if (to.Unsent() > 0 && to.Unsent() > env_.host.HighWater(listener_->conf.limits.buffer)) {
    (side == Side::kFront ? is_front_paused_ : is_back_paused_) = true;
    from.PauseReads();
  }
}

void TcpSession::OnRelayEnd(Stream& from, Stream& to, Side side) {
  const Closed its = side == Side::kFront ? Closed::kFront : Closed::kBack;
  const std::string who = side == Side::kFront ? "client" : "backend";
  if (from.end() == io::StreamEnd::kEof) {
    if (closed_ != Closed::kNone)
      return Finish({SessionResult::kClientQuit, side, Phase::kRelay, "closed by both"});
    closed_ = its;
    to.ShutdownWrite();
    return Rearm();
  }
  // Who has closed already may refuse what is sent to it: that is how most sessions end whose
  // server speaks last.
  if (closed_ == its)
    return Finish({SessionResult::kClientQuit, side, Phase::kRelay, "closed by the " + who});
  Finish({side == Side::kFront ? SessionResult::kClientLost : SessionResult::kBackendLost, side,
          Phase::kRelay, who + "'s connection broke"});
}

// --- ends ---------------------------------------------------------------------------------------

void TcpSession::LeaveEndpoint(const balance::EndpointState& endpoint) {
  if (state_ != State::kDial || setup_->endpoint == nullptr ||
      setup_->endpoint->state.get() != &endpoint || !setup_->home->HasAnother(setup_->tried))
    return;
  Failed(base::FaultKind::kLost, "the endpoint is down");
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
    case State::kDial: {
      const MonoTime all = client_.accepted + its.Login(listener_->conf.protocol);
      if (setup_->endpoint == nullptr) return all;
      return std::min({all, setup_->deadline, Patience()});
    }
    case State::kRelay:
      return last_activity_ + (closed_ == Closed::kNone
                                   ? base::Duration(its.idle)
                                   : std::min(base::Duration(its.idle), kHalfClosedIdle));
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
      if (client_.accepted + listener_->conf.timeouts.Login(listener_->conf.protocol) <= now)
        return Finish(
            {SessionResult::kIdle, Side::kBack, Phase::kConnect, "no backend was up in time"});
      if (setup_->deadline > now) {
        // It may yet come up; but somebody should look at it, and others are better off elsewhere.
        setup_->is_suspected = true;
        setup_->endpoint->state->WantCheck();
        if (MayBlame()) env_.picker.Hangs(*setup_->endpoint, now);
      } else if (setup_->phase == Phase::kConnect &&
                 setup_->num_dialled < setup_->addresses.size()) {
        TryAddress();
      } else {
        Failed(base::FaultKind::kTimeout, "timeout");
      }
      return Rearm();
    case State::kRelay:
      return Finish({SessionResult::kIdle, Side::kFront, Phase::kRelay, "idle for too long"});
    case State::kOver:
      return;
  }
}

void TcpSession::Finish(base::EndCause cause) {
  if (state_ == State::kOver) return;
  accounting_.Finished(client_, *front_, /*num_commands=*/0, std::move(cause));
  state_ = State::kOver;
  timer_.Cancel();
  front_->CloseGently();
  if (setup_ != nullptr) {
    setup_->query.reset();
    if (back_ != nullptr) back_->Close();
  } else {
    // What each has sent is delivered.
    back_->CloseGently();
  }
  env_.host.Retire(*this);
}

}  // namespace postern::session
