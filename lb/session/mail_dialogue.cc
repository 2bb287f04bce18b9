// mail_dialogue: a session of IMAP or POP3 from its greeting to its login: the client's side.
// (The backend's side is in mail_leg.cc.)
// SPDX-License-Identifier: Apache-2.0
#include "lb/session/mail_dialogue.h"

#include <algorithm>
#include <type_traits>
#include <utility>
#include <variant>

#include "lb/base/check.h"

namespace postern::session {

using base::MonoTime;
using base::Phase;
using base::SessionResult;
using base::Side;
using metrics::AuthResult;
using metrics::Direction;

namespace {

proto::FrontPlan PlanOf(const ListenerSettings& listener, const io::Stream& front) {
  proto::FrontPlan plan;
  plan.hostname = listener.hostname;
  plan.capabilities = listener.capabilities;
  plan.offers_xoauth2 = listener.offers_xoauth2;
  plan.offers_oauthbearer = listener.offers_oauthbearer;
  plan.has_starttls = listener.conf.tls == conf::TlsMode::kStartTls && listener.tls != nullptr;
  plan.is_in_tls = front.in_tls();
  plan.auth_requires_tls = listener.conf.auth_requires_tls || listener.conf.require_tls;
  plan.pass_refusal_text = listener.conf.pass_refusal_text;
  const conf::Limits& limits = listener.conf.limits;
  plan.limits = {static_cast<size_t>(limits.line), static_cast<size_t>(limits.sasl_line),
                 static_cast<size_t>(limits.literal), limits.bad_commands, limits.auth_failures};
  return plan;
}

}  // namespace

MailDialogue::MailDialogue(SessionEnv& env, const ListenerSettings& listener,
                           const ClientFacts& client, io::Stream& front,
                           io::Stream::Observer& observer, Accounting& accounting,
                           std::function<void()> went_on)
    : env_(env),
      listener_(listener),
      client_(client),
      front_(front),
      observer_(observer),
      accounting_(accounting),
      went_on_(std::move(went_on)),
      protocol_(*proto::MailProtocolOf(listener.conf.protocol)),
      front_machine_(proto::MakeFront(protocol_, PlanOf(listener, front))),
      login_deadline_(client.accepted + listener.conf.timeouts.Login(listener.conf.protocol)) {}

MailDialogue::~MailDialogue() = default;

void MailDialogue::Start() {
  command_deadline_ = env_.loop.Now() + listener_.conf.timeouts.command;
  PumpFront();
}

MonoTime MailDialogue::NextDeadline() const {
  MonoTime next = std::min({login_deadline_, tls_deadline_, release_at_});
  if (!is_waiting_) next = std::min(next, command_deadline_);
  if (leg_ != nullptr) next = std::min(next, leg_->NextDeadline());
  return next;
}

void MailDialogue::OnFront(io::Stream::Event event) {
  switch (event) {
    case io::Stream::Event::kReadable:
      if (is_waiting_ || is_stalled_) {
        // What is pipelined behind a login stays where it is; reading goes on for a while, so that
        // a client that goes away is noticed.
        if (front_.Input().size() > kMaxAhead && !std::exchange(is_front_paused_, true))
          front_.PauseReads();
        return;
      }
      PumpFront();
      return;
    case io::Stream::Event::kDrained:
      if (std::exchange(is_stalled_, false)) PumpFront();
      return;
    case io::Stream::Event::kTlsUp:
      FrontTlsDone();
      return;
    case io::Stream::Event::kEnd:
      if (tls_deadline_ != kNever) {
        FrontTlsFailed(front_.end() == io::StreamEnd::kTlsFailed ? SessionResult::kProtocolError
                                                                 : SessionResult::kClientLost,
                       front_.tls_error());
        return;
      }
      if (front_.end() == io::StreamEnd::kEof) {
        is_front_at_eof_ = true;
        // Commands behind a login, and then a FIN: the answers are still wanted.
        if ((is_waiting_ || is_stalled_) && !front_.Input().empty() && release_at_ == kNever)
          return;
      }
      ClientGone("client closed the connection");
      return;
    case io::Stream::Event::kConnected:
      return;
  }
}

void MailDialogue::PumpFront() {
  while (outcome_ == Outcome::kGoesOn) {
    if (front_.Unsent() > kMaxAhead) {
      is_stalled_ = true;
      return;
    }
    const proto::FrontStep step = front_machine_->Next(front_.Input());
    if (step.consumed > 0) {
      front_.Consume(step.consumed);
      accounting_.Bytes(Side::kFront, Direction::kIn, step.consumed);
    }
    if (!TakeFrontEvent(step.event)) return;
  }
}

bool MailDialogue::TakeFrontEvent(const proto::FrontEvent& event) {
  return std::visit(
      [this](const auto& what) {
        using What = std::decay_t<decltype(what)>;
        if constexpr (std::is_same_v<What, proto::NeedBytes>) {
          is_waiting_ = false;
          if (is_draining_ && front_machine_->drain_point() == proto::DrainPoint::kNow) {
            front_machine_->BeginDrain();
            return true;
          }
          if (is_front_at_eof_) {
            ClientGone("client closed the connection");
            return false;
          }
          const uint64_t num_commands = front_machine_->num_commands();
          if (std::exchange(num_commands_seen_, num_commands) != num_commands)
            command_deadline_ = env_.loop.Now() + listener_.conf.timeouts.command;
          if (std::exchange(is_front_paused_, false)) front_.ResumeReads();
          return false;
        } else if constexpr (std::is_same_v<What, proto::Wait>) {
          is_waiting_ = true;
          return false;
        } else if constexpr (std::is_same_v<What, proto::Send>) {
          accounting_.Bytes(Side::kFront, Direction::kOut, what.bytes.size());
          front_.Write(what.bytes);
          return true;
        } else if constexpr (std::is_same_v<What, proto::StartTls>) {
          StartFrontTls();
          return false;
        } else if constexpr (std::is_same_v<What, proto::Login>) {
          is_waiting_ = true;
          OnLogin(what);
          return false;
        } else if constexpr (std::is_same_v<What, proto::LoginAborted>) {
          env_.recorder.Auth(listener_.conf.protocol, MetricOf(what.mechanism),
                             AuthResult::kAborted);
          return true;
        } else if constexpr (std::is_same_v<What, proto::SaslResponse>) {
          is_waiting_ = true;
          challenged_ = Challenged::kAnswered;
          if (leg_ == nullptr) {  // the backend has gone meanwhile
            Unavailable(last_fault_);
            return false;
          }
          leg_->set_deadline(env_.loop.Now() + listener_.conf.timeouts.auth);
          back_machine_->Respond(*what.line);
          PumpBack();
          return false;
        } else if constexpr (std::is_same_v<What, proto::HandOver>) {
          outcome_ = Outcome::kHandOver;
          return false;
        } else {
          static_assert(std::is_same_v<What, proto::Ended>);
          EndWith(what.cause);
          return false;
        }
      },
      event);
}

void MailDialogue::StartFrontTls() {
  POSTERN_DCHECK(front_.Input().empty());
  is_waiting_ = true;
  tls_deadline_ = env_.loop.Now() + listener_.conf.timeouts.tls;
  io::TlsRequest request;
  request.role = io::TlsRole::kServer;
  request.settings = listener_.tls.get();
  front_.StartTls(request);
}

void MailDialogue::FrontTlsDone() {
  if (std::exchange(tls_deadline_, kNever) == kNever) return;
  const io::TlsFacts& facts = *front_.tls_facts();
  env_.recorder.Handshake(Side::kFront, facts.version, facts.group, facts.is_resumed,
                          /*is_ok=*/true);
  front_machine_->TlsUp();
  PumpFront();
}

void MailDialogue::FrontTlsFailed(SessionResult result, std::string why) {
  tls_deadline_ = kNever;
  env_.recorder.Handshake(Side::kFront, "", "", /*is_resumed=*/false, /*is_ok=*/false);
  front_.Close();
  cause_ = {result, Side::kFront, Phase::kTls, why.empty() ? "TLS handshake" : std::move(why)};
  outcome_ = Outcome::kEnded;
}

void MailDialogue::ClientGone(std::string why) {
  if (request_ != nullptr && release_at_ == kNever)
    env_.recorder.Auth(listener_.conf.protocol, MetricOf(request_->mechanism),
                       AuthResult::kAborted);
  DropLeg(SessionResult::kClientLost);
  EndWith({SessionResult::kClientLost, Side::kFront, front_machine_->phase(), std::move(why)});
}

void MailDialogue::EndWith(base::EndCause cause) {
  query_.reset();
  pin_.reset();
  cause_ = std::move(cause);
  // The log must tell of a refused login or a broken backend, however the session went on.
  if (!last_fault_.empty()) {
    cause_.why += "; ";
    cause_.why += last_fault_;
  }
  outcome_ = Outcome::kEnded;
}

void MailDialogue::OnTimer() {
  const MonoTime now = env_.loop.Now();
  if (tls_deadline_ <= now || (tls_deadline_ != kNever && login_deadline_ <= now)) {
    FrontTlsFailed(SessionResult::kIdle, "TLS handshake took too long");
    return;
  }
  if (release_at_ <= now) Release();
  if (outcome_ != Outcome::kGoesOn) return;
  const bool is_expired = login_deadline_ <= now || (!is_waiting_ && command_deadline_ <= now);
  if (is_expired) {
    release_at_ = kNever;
    DropLeg(SessionResult::kIdle);
    front_machine_->Expire();
    is_stalled_ = false;
    PumpFront();
    // A client that reads nothing hears nothing.
    if (outcome_ == Outcome::kGoesOn)
      EndWith({SessionResult::kIdle, Side::kFront, front_machine_->phase(), "timeout"});
    return;
  }
  if (leg_ != nullptr) TakeLeg(leg_->OnTimer(Blame()));
}

void MailDialogue::BeginDrain() {
  is_draining_ = true;
  if (tls_deadline_ != kNever || is_stalled_) return;
  if (front_machine_->drain_point() != proto::DrainPoint::kNow) return;
  front_machine_->BeginDrain();
  PumpFront();
}

void MailDialogue::Kill(SessionResult why) {
  DropLeg(why);
  if (tls_deadline_ != kNever) {
    FrontTlsFailed(why, "shutdown");
    return;
  }
  release_at_ = kNever;
  is_stalled_ = false;
  front_machine_->Kill(why);
  PumpFront();
  if (outcome_ == Outcome::kGoesOn) EndWith({why, Side::kFront, front_machine_->phase(), ""});
}

// --- login ------------------------------------------------------------------------------------

void MailDialogue::OnLogin(const proto::Login& login) {
  request_ = login.request;
  password_at_ = env_.loop.Now();
  accounting_.user = request_->user;
  last_fault_.clear();
  last_kind_.reset();
  challenged_ = Challenged::kNo;
  if (!login.is_usable) {
    Refuse({}, AuthResult::kBadCredentials);
    return;
  }
  parts_ = env_.parts;
  user_key_ = parts_->user_key->Key(request_->user);
  back_user_ = parts_->user_key->ForBackend(request_->user);
  if (!proto::IsUsableUser(back_user_)) {  // a rewrite rule's doing
    Refuse({}, AuthResult::kBadCredentials);
    return;
  }
  if (env_.host.AuthBlocked(client_.client.ip, user_key_)) {
    Refuse({}, AuthResult::kBlocked);
    return;
  }
  tried_.clear();
  FindHome();
}

void MailDialogue::FindHome() {
  const auto route = parts_->router->FindRoute(listener_.conf.route);
  if (!route) return Unavailable("the route is gone");
  route::Facts facts;
  facts.listener = listener_.conf.name;
  facts.protocol = listener_.conf.protocol;
  facts.client = client_.client.ip;
  if (const io::TlsFacts* tls = front_.tls_facts()) facts.sni = tls->server_name;
  facts.user_key = user_key_;
  io::LoginFacts login;
  login.protocol = conf::Name(listener_.conf.protocol);
  SetLogin(login, request_);
  login.client = client_.client;
  login.is_in_tls = front_.in_tls();
  login.attempt = ++num_lookups_;
  query_ = std::make_unique<RouteQuery>(parts_, env_.recorder, env_.loop, *route, facts, login);
  const auto decision = query_->Start([this](const route::Decision& late) {
    GoBy(late);
    went_on_();
  });
  if (decision) GoBy(*decision);
}

void MailDialogue::GoBy(const route::Decision& decision) {
  // What it points to is kept until here.
  const std::unique_ptr<RouteQuery> query = std::move(query_);
  const balance::Home* home = HomeOf(*parts_, decision, listener_.conf.protocol);
  CountDecision(env_.recorder, *parts_, decision, home);
  switch (decision.kind) {
    case route::Decision::Kind::kPool:
    case route::Decision::Kind::kBackend:
    case route::Decision::Kind::kAddress:
      home_ = home;
      if (home_ == nullptr)
        return Unavailable("the directory names a server that is not configured");
      if (decision.answer != nullptr && !decision.answer->answer.user.empty()) {
        back_user_ = decision.answer->answer.user;
        if (!proto::IsUsableUser(back_user_))
          return Unavailable("the directory's user is unusable");
      }
      return TryNext();
    case route::Decision::Kind::kRefused:
      return RefuseBy(decision.answer->answer);
    case route::Decision::Kind::kReject:
    case route::Decision::Kind::kUnknown:
      // Reads like a wrong password, and takes as long.
      return Refuse({}, AuthResult::kBadCredentials);
    case route::Decision::Kind::kTempFail:
      if (decision.why.empty()) return RefuseForNow("tempfail by rule");
      return Unavailable(std::string(decision.why));
    case route::Decision::Kind::kAsk:
      POSTERN_CHECK(false);
  }
}

// A directory that has judged the password itself.
void MailDialogue::RefuseBy(const io::LookupAnswer& answer) {
  if (answer.refusal_code.starts_with('4'))
    return RefuseForNow("the directory: not now", answer.refusal_delay);
  Refuse({"", listener_.conf.pass_refusal_text ? answer.refusal_text : "", true},
         AuthResult::kBadCredentials, answer.refusal_delay);
}

void MailDialogue::Refuse(const proto::Refusal& refusal, AuthResult result, base::Duration wait) {
  pin_.reset();
  refusal_code_ = refusal.code;
  refusal_text_ = refusal.text;
  env_.recorder.Auth(listener_.conf.protocol, MetricOf(request_->mechanism), result);
  if (result == AuthResult::kBadCredentials && refusal.is_bad_credentials)
    env_.host.AuthFailed(client_.client.ip, user_key_);
  last_fault_ = result == AuthResult::kBlocked ? "login blocked" : "login refused";
  AnswerLater(Late::kRefused, wait);
}

// Nobody is asked whether the password is right: as with a wrong one, guessing is slow.
void MailDialogue::RefuseForNow(std::string why, base::Duration wait) {
  CannotLogIn(std::move(why));
  AnswerLater(Late::kUnavailable, wait);
}

void MailDialogue::Unavailable(std::string why) {
  CannotLogIn(std::move(why));
  late_ = Late::kUnavailable;
  Release();
}

void MailDialogue::CannotLogIn(std::string why) {
  pin_.reset();
  last_fault_ = std::move(why);
  env_.recorder.Auth(listener_.conf.protocol, MetricOf(request_->mechanism),
                     AuthResult::kTempFailure);
}

void MailDialogue::AnswerLater(Late what, base::Duration wait) {
  late_ = what;
  const base::Duration delay = listener_.conf.timeouts.auth_failure_delay;
  release_at_ = std::max(env_.loop.Now(), password_at_ + std::max(delay, wait));
  if (release_at_ <= env_.loop.Now()) Release();
}

void MailDialogue::Release() {
  release_at_ = kNever;
  request_ = nullptr;
  switch (late_) {
    case Late::kRefused:
      front_machine_->LoginRefused({refusal_code_, refusal_text_, true});
      break;
    case Late::kUnavailable:
      front_machine_->LoginUnavailable();
      break;
  }
  PumpFront();
}

std::unique_ptr<io::Stream> MailDialogue::TakeBack() {
  return leg_->TakeStream();
}

}  // namespace postern::session
