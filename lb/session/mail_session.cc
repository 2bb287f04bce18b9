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
      pipe_(std::move(front)),
      accounting_(env, *listener_),
      timer_(env.loop.timers(), io::Timer::Invoke<&MailSession::OnTimer, MailSession>, this),
      flow_(*proto::MailProtocolOf(listener_->conf.protocol)) {}

MailSession::~MailSession() = default;

void MailSession::Start() {
  accounting_.Started();
  pipe_.front().SetObserver(this);
  Stream::Observer& observer = *this;
  dialogue_ = std::make_unique<MailDialogue>(env_, *listener_, client_, pipe_.front(), observer,
                                             accounting_, [this] { FollowDialogue(); });
  dialogue_->Start();
  FollowDialogue();
}

void MailSession::OnStream(Stream& stream, Stream::Event event) {
  const Side side = pipe_.SideOf(stream);
  switch (state_) {
    case State::kDialogue:
      if (side == Side::kFront) {
        dialogue_->OnFront(event);
      } else {
        dialogue_->OnBack(event);
      }
      FollowDialogue();
      return;
    case State::kRelay:
      return OnRelay(side, event);
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
  pipe_.Join(dialogue_->TakeBack(), listener_->conf.limits.buffer, env_.loop.Now());
  pin_ = dialogue_->TakePin();
  num_commands_ = static_cast<uint32_t>(dialogue_->num_commands());
  const bool is_front_at_eof = dialogue_->is_front_at_eof();
  is_draining_ |= dialogue_->is_draining();
  dialogue_.reset();
  state_ = State::kRelay;
  // What came behind the login, on either side; and what was paused goes on.
  if (!Pump(Side::kBack) || !Pump(Side::kFront)) return;
  if (is_front_at_eof) pipe_.PassOnEof(Side::kFront);
  pipe_.GoOn(Side::kFront);
  Rearm();
  DrainIfSafe();
}

void MailSession::OnRelay(Side side, Stream::Event event) {
  if (event == Stream::Event::kDrained) return pipe_.OnDrained(side);
  if (!Pump(side)) return;
  if (event == Stream::Event::kEnd) return OnRelayEnd(side);
  DrainIfSafe();
}

bool MailSession::Pump(Side from) {
  const base::ByteView bytes = pipe_.Of(from).Input();
  if (bytes.empty()) return true;
  const MonoTime now = env_.loop.Now();
  if (from == Side::kFront) {
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
  accounting_.Relayed(from, pipe_.Move(from, env_, listener_->conf.limits.buffer));
  return true;
}

void MailSession::OnRelayEnd(Side side) {
  if (side == Side::kFront) {
    if (pipe_.front().end() == io::StreamEnd::kEof) {
      // Only its side is closed: the answers to what it has said are still on their way.
      pipe_.PassOnEof(Side::kFront);
      Rearm();
      return;
    }
    Finish({flow_.has_quit() ? SessionResult::kClientQuit : SessionResult::kClientLost,
            Side::kFront, Phase::kRelay, "client's connection broke"});
    return;
  }
  if (flow_.has_quit()) {
    Finish({SessionResult::kClientQuit, Side::kFront, Phase::kRelay, "logout"});
  } else if (pipe_.is_closed(Side::kFront)) {
    Finish(
        {SessionResult::kClientLost, Side::kFront, Phase::kRelay, "client closed the connection"});
  } else {
    EndRelay(proto::Farewell::kBackendLost,
             {SessionResult::kBackendLost, Side::kBack, Phase::kRelay,
              pipe_.back().end() == io::StreamEnd::kEof ? "backend closed the connection"
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
    pipe_.front().Write(goodbye);
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
  accounting_.Finished(client_, pipe_.front(), num_commands, std::move(cause));
  state_ = State::kOver;
  timer_.Cancel();
  // What the client has sent is delivered; nothing is made up behind it.
  pipe_.CloseGently();
  env_.host.Retire(*this);
}

}  // namespace postern::session
