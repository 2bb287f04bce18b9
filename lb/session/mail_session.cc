// mail_session: one session of IMAP or POP3: dialogue, login at its home, relay.
// SPDX-License-Identifier: Apache-2.0
#include "lb/session/mail_session.h"

#include <algorithm>
#include <array>
#include <utility>

#include "lb/session/mail_dialogue.h"

namespace postern::session {

using base::MonoTime;
using base::Phase;
using base::SessionResult;
using base::Side;
using io::Stream;
using metrics::Direction;

namespace {

// A client that has closed its side waits for what its last commands bring, but not for ever.
constexpr base::Duration kHalfClosedIdle = std::chrono::seconds(60);

proto::MailProtocol ProtocolOf(const ListenerSettings& listener) {
  return listener.conf.protocol == conf::Protocol::kPop3 ? proto::MailProtocol::kPop3
                                                         : proto::MailProtocol::kImap;
}

metrics::Command MetricOf(proto::FlowCommand command) {
  using Flow = proto::FlowCommand;
  using metrics::Command;
  switch (command) {
    case Flow::kNoop:
      return Command::kNoop;
    case Flow::kSelect:
      return Command::kSelect;
    case Flow::kFetch:
      return Command::kFetch;
    case Flow::kStore:
      return Command::kStore;
    case Flow::kSearch:
      return Command::kSearch;
    case Flow::kAppend:
      return Command::kAppend;
    case Flow::kIdle:
      return Command::kIdle;
    case Flow::kUid:
      return Command::kUid;
    case Flow::kList:
      return Command::kList;
    case Flow::kStatus:
      return Command::kStatus;
    case Flow::kStat:
      return Command::kStat;
    case Flow::kRetr:
      return Command::kRetr;
    case Flow::kTop:
      return Command::kTop;
    case Flow::kDele:
      return Command::kDele;
    case Flow::kUidl:
      return Command::kUidl;
    case Flow::kQuit:
      return Command::kQuit;
    case Flow::kOther:
      break;
  }
  return Command::kOther;
}

}  // namespace

MailSession::MailSession(SessionEnv& env, std::shared_ptr<const ListenerSettings> listener,
                         ClientFacts client, std::unique_ptr<Stream> front)
    : env_(env),
      listener_(std::move(listener)),
      client_(client),
      front_(std::move(front)),
      accounting_(env, *listener_),
      timer_(env.loop.timers(), io::Timer::Invoke<&MailSession::OnTimer, MailSession>, this),
      flow_(ProtocolOf(*listener_)) {}

MailSession::~MailSession() = default;

void MailSession::Start() {
  accounting_.Started();
  front_->SetObserver(this);
  Stream::Observer& observer = *this;
  dialogue_ = std::make_unique<MailDialogue>(env_, *listener_, client_, *front_, observer,
                                             accounting_, [this] { FollowDialogue(); });
  dialogue_->Start();
  FollowDialogue();
}

void MailSession::OnStream(Stream& stream, Stream::Event event) {
  const bool is_front = &stream == front_.get();
  switch (state_) {
    case State::kDialogue:
      if (is_front) {
        dialogue_->OnFront(event);
      } else {
        dialogue_->OnBack(event);
      }
      FollowDialogue();
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

void MailSession::FollowDialogue() {
  switch (dialogue_->outcome()) {
    case MailDialogue::Outcome::kGoesOn:
      Rearm();
      return;
    case MailDialogue::Outcome::kHandOver:
      StartRelay();
      return;
    case MailDialogue::Outcome::kEnded:
      Finish(dialogue_->cause());
      return;
  }
}

void MailSession::StartRelay() {
  back_ = dialogue_->TakeBack();
  pin_ = dialogue_->TakePin();
  num_commands_ = static_cast<uint32_t>(dialogue_->num_commands());
  is_front_at_eof_ = dialogue_->is_front_at_eof();
  is_draining_ |= dialogue_->is_draining();
  dialogue_.reset();
  state_ = State::kRelay;
  last_activity_ = env_.loop.Now();
  const auto low_water = static_cast<size_t>(listener_->conf.limits.buffer / 2);
  front_->SetLowWater(low_water);
  back_->SetLowWater(low_water);
  // What came behind the login, on either side; and what was paused goes on.
  if (!Pump(*back_, *front_, Side::kBack) || !Pump(*front_, *back_, Side::kFront)) return;
  if (is_front_at_eof_) back_->ShutdownWrite();
  if (!is_front_paused_) front_->ResumeReads();
  Rearm();
  DrainIfSafe();
}

void MailSession::OnRelay(Stream& from, Stream& to, Side side, Stream::Event event) {
  switch (event) {
    case Stream::Event::kReadable:
      if (Pump(from, to, side)) DrainIfSafe();
      return;
    case Stream::Event::kDrained:
      // `from` has taken what it was sent: the other side may go on.
      if (std::exchange(side == Side::kFront ? is_back_paused_ : is_front_paused_, false))
        to.ResumeReads();
      return;
    case Stream::Event::kEnd:
      if (Pump(from, to, side)) OnRelayEnd(side);
      return;
    case Stream::Event::kConnected:
    case Stream::Event::kTlsUp:
      return;
  }
}

bool MailSession::Pump(Stream& from, Stream& to, Side side) {
  const base::ByteView bytes = from.Input();
  if (bytes.empty()) return true;
  const MonoTime now = env_.loop.Now();
  last_activity_ = now;
  if (side == Side::kFront) {
    const uint64_t num_commands = flow_.num_commands();
    if (flow_.FromClient(bytes) == proto::FlowVerdict::kForbidden) {
      EndRelay(proto::Farewell::kForbidden, {SessionResult::kProtocolError, Side::kFront,
                                             Phase::kRelay, "command not allowed here"});
      return false;
    }
    if (flow_.num_commands() != num_commands) command_began_ = now;
  } else {
    flow_.FromBackend(bytes);
    if (const auto command = flow_.TakeCompleted())
      env_.recorder.CommandDone(listener_->conf.protocol, MetricOf(*command), now - command_began_);
  }
  const Side other = side == Side::kFront ? Side::kBack : Side::kFront;
  accounting_.Bytes(side, Direction::kIn, bytes.size());
  accounting_.Bytes(other, Direction::kOut, bytes.size());
  to.Write(bytes);
  from.Consume(bytes.size());
  if (to.Unsent() > 0 && to.Unsent() > env_.host.HighWater(listener_->conf.limits.buffer)) {
    (side == Side::kFront ? is_front_paused_ : is_back_paused_) = true;
    from.PauseReads();
  }
  return true;
}

void MailSession::OnRelayEnd(Side side) {
  if (side == Side::kFront) {
    if (front_->end() == io::StreamEnd::kEof) {
      // Only its side is closed: the answers to what it has said are still on their way.
      is_front_at_eof_ = true;
      back_->ShutdownWrite();
      Rearm();
      return;
    }
    Finish({flow_.has_quit() ? SessionResult::kClientQuit : SessionResult::kClientLost,
            Side::kFront, Phase::kRelay, "client's connection broke"});
    return;
  }
  if (flow_.has_quit()) {
    Finish({SessionResult::kClientQuit, Side::kFront, Phase::kRelay, "logout"});
  } else if (is_front_at_eof_) {
    Finish(
        {SessionResult::kClientLost, Side::kFront, Phase::kRelay, "client closed the connection"});
  } else {
    EndRelay(proto::Farewell::kBackendLost,
             {SessionResult::kBackendLost, Side::kBack, Phase::kRelay,
              back_->end() == io::StreamEnd::kEof ? "backend closed the connection"
                                                  : "backend's connection broke"});
  }
}

void MailSession::DrainIfSafe() {
  if (!is_draining_ || state_ != State::kRelay || !flow_.is_safe()) return;
  EndRelay(proto::Farewell::kDrain, {SessionResult::kDrained, Side::kNone, Phase::kRelay, "drain"});
}

void MailSession::EndRelay(proto::Farewell farewell, base::EndCause cause) {
  const std::string goodbye = flow_.Goodbye(farewell);
  if (!goodbye.empty()) {
    accounting_.Bytes(Side::kFront, Direction::kOut, goodbye.size());
    front_->Write(goodbye);
  }
  Finish(std::move(cause));
}

void MailSession::BeginDrain() {
  if (state_ == State::kOver) return;
  is_draining_ = true;
  if (state_ == State::kRelay) {
    DrainIfSafe();
    return;
  }
  dialogue_->BeginDrain();
  FollowDialogue();
}

void MailSession::LeaveEndpoint(const balance::EndpointState& endpoint) {
  if (state_ != State::kDialogue) return;
  dialogue_->LeaveEndpoint(endpoint);
  FollowDialogue();
}

void MailSession::Kill(SessionResult why) {
  switch (state_) {
    case State::kDialogue:
      dialogue_->Kill(why);
      FollowDialogue();
      return;
    case State::kRelay:
      EndRelay(why == SessionResult::kKicked    ? proto::Farewell::kKicked
               : why == SessionResult::kDrained ? proto::Farewell::kDrain
                                                : proto::Farewell::kShutdown,
               {why, Side::kNone, Phase::kRelay, ""});
      return;
    case State::kOver:
      return;
  }
}

MonoTime MailSession::RelayDeadline() const {
  const base::Duration idle = listener_->conf.timeouts.idle;
  return last_activity_ + (is_front_at_eof_ ? std::min(idle, kHalfClosedIdle) : idle);
}

void MailSession::OnTimer() {
  switch (state_) {
    case State::kDialogue:
      dialogue_->OnTimer();
      FollowDialogue();
      return;
    case State::kRelay:
      if (RelayDeadline() > env_.loop.Now()) {
        Rearm();
        return;
      }
      EndRelay(proto::Farewell::kTimeout,
               {SessionResult::kIdle, Side::kFront, Phase::kRelay, "idle for too long"});
      return;
    case State::kOver:
      return;
  }
}

// A deadline that moves away is found out when the timer fires; only one that comes nearer is
// armed.
void MailSession::Rearm() {
  if (state_ == State::kOver) return;
  const MonoTime next = state_ == State::kDialogue ? dialogue_->NextDeadline() : RelayDeadline();
  if (!timer_.armed() || next < timer_.when()) timer_.ArmAt(next);
}

void MailSession::Finish(base::EndCause cause) {
  pin_.reset();
  if (state_ == State::kOver) return;
  const uint64_t num_commands =
      dialogue_ != nullptr ? dialogue_->num_commands() : num_commands_ + flow_.num_commands();
  accounting_.Finished(client_, *front_, num_commands, std::move(cause));
  state_ = State::kOver;
  timer_.Cancel();
  front_->CloseGently();
  // What the client has sent is delivered; nothing is made up behind it.
  if (back_ != nullptr) back_->CloseGently();
  env_.host.Retire(*this);
}

}  // namespace postern::session
