// mail_session: the driver.
// SPDX-License-Identifier: Apache-2.0
#include "lb/session/mail_session.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "lb/base/check.h"
#include "lb/base/escape.h"
#include "lb/base/log.h"
#include "lb/proto/proxy_header.h"

namespace postern::session {
namespace {

using io::Stream;

constexpr base::Duration kDrainLook = std::chrono::seconds(1);

proto::MailProtocol MachineOf(conf::Protocol protocol) {
  return protocol == conf::Protocol::kPop3 ? proto::MailProtocol::kPop3
                                           : proto::MailProtocol::kImap;
}

proto::BackTls TlsOf(conf::TlsMode mode) {
  switch (mode) {
    case conf::TlsMode::kStartTls: return proto::BackTls::kStartTls;
    case conf::TlsMode::kImplicit: return proto::BackTls::kImplicit;
    case conf::TlsMode::kNone:
    case conf::TlsMode::kPassthrough: break;
  }
  return proto::BackTls::kNone;
}

bool EndsWithGoodbye(base::ByteView bytes) {
  if (bytes.size() > 80) bytes.remove_prefix(bytes.size() - 80);
  return bytes.size() >= 6 && (base::EqualsIgnoreCase(bytes.substr(bytes.size() - 6), "QUIT\r\n") ||
                               (bytes.size() >= 8 && base::EqualsIgnoreCase(
                                                         bytes.substr(bytes.size() - 8), "LOGOUT\r\n")));
}

}  // namespace

struct MailSession::Dialogue {
  std::unique_ptr<proto::FrontMachine> front;
  std::unique_ptr<proto::BackMachine> back;
  std::shared_ptr<const Parts> parts;  // of the login that is under way
  const balance::Home* home = nullptr;
  const balance::Endpoint* endpoint = nullptr;
  std::shared_ptr<const balance::EndpointFacts> facts;
  size_t address = 0;  // of facts->addresses
  std::vector<balance::EndpointId> tried;
  const proto::LoginRequest* request = nullptr;
  std::string user_key, user_for_backend;
  std::string refusal_code, refusal_text;
  bool is_refusal_of_credentials = true;
  base::MonoTime asked_at{};       // when the client's credentials were complete
  base::MonoTime phase_began{};
  base::MonoTime back_deadline = base::MonoTime::max();
  base::MonoTime greeting_deadline = base::MonoTime::max();
  base::MonoTime command_deadline = base::MonoTime::max();
  base::Phase phase = base::Phase::kConnect;
  ClientFacts client;
};

MailSession::MailSession(SessionEnv& env, std::shared_ptr<const ListenerSettings> listener,
                         ClientFacts client, std::unique_ptr<Stream> front)
    : env_(env),
      listener_(std::move(listener)),
      front_(std::move(front)),
      dialogue_(std::make_unique<Dialogue>()),
      account_(std::make_unique<metrics::SessionAccount>()),
      accepted_(client.accepted),
      last_activity_(env.loop.Now()),
      timer_(env.loop.timers(), io::Timer::Invoke<&MailSession::OnTimer, MailSession>, this) {
  dialogue_->client = client;
  account_->session = client.session_id;
  account_->listener = listener_->conf.name;
  account_->protocol = listener_->conf.protocol;
  account_->client = client.client;
}

MailSession::~MailSession() = default;

void MailSession::Start() {
  env_.recorder.SessionStarted(listener_->slots);
  proto::FrontPlan plan;
  plan.hostname = listener_->hostname;
  plan.capabilities = listener_->capabilities;
  plan.offers_xoauth2 = listener_->offers_xoauth2;
  plan.offers_oauthbearer = listener_->offers_oauthbearer;
  plan.has_starttls = listener_->conf.tls == conf::TlsMode::kStartTls;
  plan.is_in_tls = front_->in_tls();
  plan.auth_requires_tls = listener_->conf.auth_requires_tls;
  plan.pass_refusal_text = listener_->conf.pass_refusal_text;
  const conf::Limits& limits = listener_->conf.limits;
  plan.limits = {limits.line, limits.sasl_line, limits.literal, limits.bad_commands,
                 limits.auth_failures};
  dialogue_->front = proto::MakeFront(MachineOf(listener_->conf.protocol), plan);
  dialogue_->command_deadline = env_.loop.Now() + listener_->conf.timeouts.command;
  front_->SetObserver(this);
  DriveFront();
}

void MailSession::OnStream(Stream& stream, Stream::Event event) {
  if (state_ == State::kEnded) return;
  if (&stream == front_.get()) {
    OnFront(event);
  } else if (&stream == back_.get()) {
    OnBack(event);
  }
}

// --- the client -------------------------------------------------------------------------------

void MailSession::OnFront(Stream::Event event) {
  switch (event) {
    case Stream::Event::kReadable:
      if (state_ == State::kRelay) {
        Pump(*front_, *back_, base::Side::kFront);
      } else if (state_ == State::kDialogue) {
        DriveFront();
      }
      return;
    case Stream::Event::kDrained:
      if (state_ == State::kRelay) back_->ResumeReads();
      return;
    case Stream::Event::kTlsUp: {
      const io::TlsFacts& facts = *front_->tls_facts();
      env_.recorder.Handshake(base::Side::kFront, facts.version, facts.group, facts.is_resumed,
                              true);
      state_ = State::kDialogue;
      dialogue_->front->TlsUp();
      DriveFront();
      return;
    }
    case Stream::Event::kEnd:
      if (state_ == State::kRelay && front_->end() == io::StreamEnd::kEof) {
        has_front_eof_ = true;
        OnRelayEof(*front_, *back_);
        return;
      }
      if (state_ == State::kFrontTls)
        env_.recorder.Handshake(base::Side::kFront, "", "", false, false);
      End({base::SessionResult::kClientLost, base::Side::kFront,
           state_ == State::kRelay      ? base::Phase::kRelay
           : state_ == State::kFrontTls ? base::Phase::kTls
                                        : dialogue_->front->phase(),
           front_->tls_error()});
      return;
    case Stream::Event::kConnected: return;
  }
}

void MailSession::DriveFront() {
  while (state_ == State::kDialogue) {
    proto::FrontStep step = dialogue_->front->Next(front_->Input());
    front_->Consume(step.consumed);
    account_->bytes_in += step.consumed;
    if (std::holds_alternative<proto::NeedBytes>(step.event)) {
      front_->ResumeReads();
      break;
    }
    if (std::holds_alternative<proto::Wait>(step.event)) {
      front_->PauseReads();
      break;
    }
    if (const auto* send = std::get_if<proto::Send>(&step.event)) {
      account_->bytes_out += send->bytes.size();
      front_->Write(send->bytes);
      // A line was answered: the next one has its own time.
      dialogue_->command_deadline = env_.loop.Now() + listener_->conf.timeouts.command;
    } else if (std::holds_alternative<proto::StartTls>(step.event)) {
      state_ = State::kFrontTls;
      dialogue_->command_deadline = env_.loop.Now() + listener_->conf.timeouts.tls;
      io::TlsRequest request;
      request.settings = listener_->tls.get();
      front_->StartTls(request);
    } else if (const auto* login = std::get_if<proto::Login>(&step.event)) {
      front_->PauseReads();
      BeginLogin(*login->request);
    } else if (const auto* response = std::get_if<proto::SaslResponse>(&step.event)) {
      state_ = State::kLogin;
      front_->PauseReads();
      dialogue_->back->Respond(*response->line);
      DriveBack();
    } else if (std::holds_alternative<proto::HandOver>(step.event)) {
      StartRelay();
      return;
    } else if (const auto* ended = std::get_if<proto::Ended>(&step.event)) {
      End(ended->cause);
      return;
    }
  }
  if (state_ != State::kEnded) Rearm();
}

// --- the login --------------------------------------------------------------------------------

void MailSession::BeginLogin(const proto::LoginRequest& request) {
  Dialogue& d = *dialogue_;
  state_ = State::kLogin;
  d.parts = env_.parts;
  d.request = &request;
  d.asked_at = env_.loop.Now();
  d.tried.clear();
  d.endpoint = nullptr;
  d.home = nullptr;
  d.user_key = d.parts->user_key->Key(request.user);
  d.user_for_backend = d.parts->user_key->ForBackend(request.user);
  account_->user = request.user;
  if (env_.host.AuthBlocked(d.client.client.ip, d.user_key)) {
    env_.recorder.Auth(listener_->conf.protocol,
                       static_cast<metrics::Mechanism>(request.mechanism),
                       metrics::AuthResult::kBlocked);
    d.is_refusal_of_credentials = false;
    return Refuse({});
  }
  const std::optional<uint32_t> route = d.parts->router->FindRoute(listener_->conf.route);
  if (!route) return Unavailable();  // gone by a reload; new sessions have the new route
  route::Facts facts;
  facts.listener = listener_->conf.name;
  facts.client = d.client.client.ip;
  if (front_->tls_facts() != nullptr) facts.sni = front_->tls_facts()->server_name;
  facts.user_key = d.user_key;
  const route::Decision decision = d.parts->router->Decide(*route, facts);
  if (decision.kind != route::Decision::Kind::kUnknown)
    env_.recorder.RouteDecision(d.parts->rule_slots[decision.route][decision.rule]);
  switch (decision.kind) {
    case route::Decision::Kind::kPool:
      d.home = d.parts->endpoints->PoolHome(decision.index, listener_->conf.protocol);
      break;
    case route::Decision::Kind::kBackend:
      d.home = d.parts->endpoints->BackendHome(decision.index, listener_->conf.protocol);
      break;
    case route::Decision::Kind::kTempFail: return Unavailable();
    case route::Decision::Kind::kReject:
    case route::Decision::Kind::kUnknown:
      // Reads like a wrong password, and counts like one.
      d.is_refusal_of_credentials = true;
      return Refuse({});
  }
  TryNextEndpoint();
}

void MailSession::TryNextEndpoint() {
  Dialogue& d = *dialogue_;
  const bool may_go_on = d.tried.empty() || d.home->may_fail_over;
  const base::MonoTime now = env_.loop.Now();
  while (may_go_on) {
    d.endpoint = env_.picker.Pick(*d.home, d.user_key, d.tried, now);
    if (d.endpoint == nullptr) break;
    d.tried.push_back(d.endpoint->id);
    d.facts = d.endpoint->state->facts();
    if (d.facts == nullptr || d.facts->addresses.empty()) continue;  // its name is not resolved
    d.address = 0;
    endpoint_ = d.endpoint->state;
    endpoint_slots_ =
        d.parts->endpoint_slots[d.endpoint->backend_index][d.endpoint->endpoint_index];
    env_.picker.Started(*endpoint_);
    env_.recorder.BackendSessionStarted(endpoint_slots_);
    account_->backend = d.endpoint->backend->name;
    d.greeting_deadline = now + listener_->conf.timeouts.greeting;
    Dial();
    return;
  }
  Unavailable();
}

void MailSession::Dial() {
  Dialogue& d = *dialogue_;
  io::DialOptions dial;
  dial.address = {d.facts->addresses[d.address], d.endpoint->conf->port};
  const auto& sources = d.endpoint->backend->source_addresses;
  if (!sources.empty()) {
    const base::IpAddress& source = sources[env_.rng.Below(sources.size())];
    if (source.is_v4() == dial.address.ip.is_v4()) dial.source = source;
  }
  d.phase = base::Phase::kConnect;
  d.phase_began = env_.loop.Now();
  d.back_deadline = d.phase_began + listener_->conf.timeouts.connect;
  d.back.reset();
  back_ = env_.dialer.Connect(dial, *this);
  Rearm();
}

void MailSession::OnBack(Stream::Event event) {
  switch (event) {
    case Stream::Event::kConnected: {
      Dialogue& d = *dialogue_;
      EndPhase(base::Phase::kConnect);
      const conf::ClientAddress mode = d.endpoint->conf->client_address;
      if (mode == conf::ClientAddress::kProxyV1 || mode == conf::ClientAddress::kProxyV2)
        back_->Write(proto::PrintProxyHeader(mode == conf::ClientAddress::kProxyV1
                                                 ? proto::ProxyVersion::kV1
                                                 : proto::ProxyVersion::kV2,
                                             d.client.client, d.client.local));
      proto::BackPlan plan;
      plan.tls = TlsOf(d.endpoint->conf->tls);
      if (mode == conf::ClientAddress::kImapId || mode == conf::ClientAddress::kXclient)
        plan.identity = {d.client.client, d.client.local, d.client.session_id};
      plan.login = d.request;
      plan.user = d.user_for_backend;
      if (d.facts->has_capabilities) plan.known = &d.facts->capabilities;
      plan.max_lines = listener_->conf.limits.reply_lines;
      d.back = proto::MakeBack(MachineOf(listener_->conf.protocol), plan);
      d.back_deadline = d.greeting_deadline;
      d.phase = base::Phase::kGreeting;
      if (d.endpoint->conf->tls == conf::TlsMode::kImplicit) {
        StartBackTls();
      } else {
        Rearm();
      }
      return;
    }
    case Stream::Event::kTlsUp: {
      const io::TlsFacts& facts = *back_->tls_facts();
      env_.recorder.Handshake(base::Side::kBack, facts.version, facts.group, facts.is_resumed,
                              true);
      EndPhase(base::Phase::kTls);
      if (dialogue_->endpoint->conf->tls == conf::TlsMode::kStartTls) dialogue_->back->TlsUp();
      dialogue_->phase = dialogue_->back->phase();
      DriveBack();
      return;
    }
    case Stream::Event::kReadable:
      if (state_ == State::kRelay) {
        Pump(*back_, *front_, base::Side::kBack);
      } else {
        DriveBack();
      }
      return;
    case Stream::Event::kDrained:
      if (state_ == State::kRelay) front_->ResumeReads();
      return;
    case Stream::Event::kEnd:
      if (state_ == State::kRelay) {
        has_back_eof_ = true;
        OnRelayEof(*back_, *front_);
        return;
      }
      if (dialogue_->phase == base::Phase::kTls)
        env_.recorder.Handshake(base::Side::kBack, "", "", false, false);
      switch (back_->end()) {
        case io::StreamEnd::kTlsVerify:
          return FailBack(base::FaultKind::kTlsVerify, base::Phase::kTls, back_->tls_error());
        case io::StreamEnd::kTlsFailed:
          return FailBack(base::FaultKind::kProtocol, base::Phase::kTls, back_->tls_error());
        case io::StreamEnd::kRefused:
          return FailBack(base::FaultKind::kRefused, base::Phase::kConnect, "connection refused");
        default:
          return FailBack(base::FaultKind::kLost, dialogue_->phase, "connection lost");
      }
  }
}

void MailSession::StartBackTls() {
  Dialogue& d = *dialogue_;
  d.phase = base::Phase::kTls;
  d.phase_began = env_.loop.Now();
  io::TlsRequest request;
  request.role = io::TlsRole::kClient;
  request.settings = d.parts->back_tls[d.endpoint->id].get();
  request.server_name = d.endpoint->backend->verify.name.empty()
                            ? d.endpoint->backend->host
                            : d.endpoint->backend->verify.name;
  back_->StartTls(request);
  Rearm();
}

void MailSession::DriveBack() {
  while (state_ == State::kLogin && back_ != nullptr && dialogue_->back != nullptr) {
    Dialogue& d = *dialogue_;
    proto::BackStep step = d.back->Next(back_->Input());
    back_->Consume(step.consumed);
    if (const base::Phase phase = d.back->phase(); phase != d.phase) {
      EndPhase(d.phase);
      d.phase = phase;
      if (phase == base::Phase::kLogin)
        d.back_deadline = env_.loop.Now() + listener_->conf.timeouts.auth;
    }
    if (std::holds_alternative<proto::NeedBytes>(step.event) ||
        std::holds_alternative<proto::Wait>(step.event))
      break;
    if (const auto* send = std::get_if<proto::Send>(&step.event)) {
      back_->Write(send->bytes);
    } else if (std::holds_alternative<proto::StartTls>(step.event)) {
      StartBackTls();
      return;
    } else if (const auto* challenge = std::get_if<proto::Challenge>(&step.event)) {
      state_ = State::kDialogue;
      d.front->PassChallenge(challenge->base64);
      DriveFront();
      return;
    } else if (const auto* in = std::get_if<proto::LoggedIn>(&step.event)) {
      return LoginDone(*in);
    } else if (const auto* refusal = std::get_if<proto::Refusal>(&step.event)) {
      EndPhase(base::Phase::kLogin);
      d.is_refusal_of_credentials = refusal->is_bad_credentials;
      env_.picker.Succeeded(*d.endpoint);
      return Refuse(*refusal);
    } else if (const auto* failed = std::get_if<proto::Failed>(&step.event)) {
      return FailBack(failed->kind, failed->phase, base::Printable(failed->text, 200));
    } else {
      return FailBack(base::FaultKind::kProtocol, d.phase, "ended before the login");
    }
  }
  if (state_ != State::kEnded) Rearm();
}

void MailSession::EndPhase(base::Phase phase) {
  Dialogue& d = *dialogue_;
  const base::Duration took = env_.loop.Now() - d.phase_began;
  d.phase_began = env_.loop.Now();
  account_->phases_ms[static_cast<size_t>(phase)] = base::Seconds(took) * 1000;
  env_.recorder.BackendPhase(endpoint_slots_, phase, took);
}

void MailSession::FailBack(base::FaultKind kind, base::Phase phase, std::string why) {
  Dialogue& d = *dialogue_;
  env_.recorder.BackendFailure(endpoint_slots_, phase, kind);
  base::log::Warn("backend_failed", {{"backend", d.endpoint->backend->name},
                                     {"protocol", std::string(conf::Name(listener_->conf.protocol))},
                                     {"phase", std::string(base::Name(phase))},
                                     {"kind", std::string(base::Name(kind))},
                                     {"why", why}});
  account_->cause.why = std::move(why);
  // Another address of the same name may answer.
  if (phase == base::Phase::kConnect && d.address + 1 < d.facts->addresses.size()) {
    ++d.address;
    back_->Close();
    env_.loop.Post([stream = std::shared_ptr<Stream>(std::move(back_))] {});
    return Dial();
  }
  // Only what came before any byte that the client chose may keep later sessions away.
  const conf::ClientAddress mode = d.endpoint->conf->client_address;
  const bool has_header = mode == conf::ClientAddress::kProxyV1 || mode == conf::ClientAddress::kProxyV2;
  const bool is_passive =
      phase == base::Phase::kConnect || phase == base::Phase::kTls ||
      (!has_header && (d.back == nullptr || !d.back->has_sent_client_bytes()));
  ReleaseBack(base::SessionResult::kBackendLost);
  env_.picker.Failed(*d.endpoint,
                     is_passive ? balance::Picker::Blame::kPassive : balance::Picker::Blame::kNone,
                     env_.loop.Now());
  if (d.home->may_fail_over && d.tried.size() < d.home->members.size())
    env_.recorder.Retry(listener_->conf.protocol, kind);
  TryNextEndpoint();
}

void MailSession::LoginDone(const proto::LoggedIn& answer) {
  Dialogue& d = *dialogue_;
  EndPhase(base::Phase::kLogin);
  env_.picker.Succeeded(*d.endpoint);
  env_.host.AuthSucceeded(d.client.client.ip, d.user_key);
  env_.recorder.Auth(listener_->conf.protocol,
                     static_cast<metrics::Mechanism>(d.request->mechanism),
                     metrics::AuthResult::kOk);
  if (d.back->has_learned_capabilities() &&
      (!d.facts->has_capabilities || d.facts->capabilities != d.back->capabilities()))
    env_.host.LearnedCapabilities(*d.endpoint, d.back->capabilities());
  if (!back_->in_tls()) env_.recorder.PlaintextSession(base::Side::kBack, listener_->conf.protocol);
  state_ = State::kDialogue;
  d.front->LoginOk(answer);
  DriveFront();
}

void MailSession::Refuse(const proto::Refusal& refusal) {
  Dialogue& d = *dialogue_;
  d.refusal_code = std::string(refusal.code);
  d.refusal_text = std::string(refusal.text);
  ReleaseBack(base::SessionResult::kClientQuit);
  if (d.is_refusal_of_credentials) {
    env_.host.AuthFailed(d.client.client.ip, d.user_key);
    env_.recorder.Auth(listener_->conf.protocol,
                       static_cast<metrics::Mechanism>(d.request->mechanism),
                       metrics::AuthResult::kBadCredentials);
  }
  state_ = State::kRefusing;
  Rearm();
}

void MailSession::SayRefusal() {
  Dialogue& d = *dialogue_;
  state_ = State::kDialogue;
  d.front->LoginRefused({d.refusal_code, d.refusal_text, d.is_refusal_of_credentials});
  DriveFront();
}

void MailSession::Unavailable() {
  Dialogue& d = *dialogue_;
  env_.recorder.Auth(listener_->conf.protocol,
                     static_cast<metrics::Mechanism>(d.request->mechanism),
                     metrics::AuthResult::kTempFailure);
  state_ = State::kDialogue;
  d.front->LoginUnavailable();
  DriveFront();
}

void MailSession::ReleaseBack(base::SessionResult result) {
  if (back_ != nullptr) {
    back_->CloseGently();
    env_.loop.Post([stream = std::shared_ptr<Stream>(std::move(back_))] {});
  }
  if (endpoint_ == nullptr) return;
  env_.picker.Ended(*endpoint_);
  env_.recorder.BackendSessionEnded(endpoint_slots_, result);
  endpoint_ = nullptr;
}

// --- the relay --------------------------------------------------------------------------------

void MailSession::StartRelay() {
  account_->commands = dialogue_->front->num_commands();
  if (const io::TlsFacts* facts = front_->tls_facts()) {
    account_->tls_version = facts->version;
    account_->tls_cipher = facts->cipher;
    account_->tls_group = facts->group;
  }
  // The machines may be on the stack of this call: they go when it has returned.
  env_.loop.Post([dialogue = std::shared_ptr<Dialogue>(std::move(dialogue_))] {});
  state_ = State::kRelay;
  last_activity_ = env_.loop.Now();
  const size_t low = listener_->conf.limits.buffer / 2;
  front_->SetLowWater(low);
  back_->SetLowWater(low);
  Rearm();
  if (!back_->Input().empty()) Pump(*back_, *front_, base::Side::kBack);
  if (state_ == State::kRelay && !front_->Input().empty())
    Pump(*front_, *back_, base::Side::kFront);
  if (state_ != State::kRelay) return;
  front_->ResumeReads();
  back_->ResumeReads();
}

void MailSession::Pump(Stream& from, Stream& to, base::Side from_side) {
  const base::ByteView bytes = from.Input();
  if (bytes.empty()) return;
  last_activity_ = env_.loop.Now();
  if (from_side == base::Side::kFront) {
    account_->bytes_in += bytes.size();
    has_said_quit_ = EndsWithGoodbye(bytes);
  } else {
    account_->bytes_out += bytes.size();
    is_back_at_line_start_ = bytes.back() == '\n';
  }
  to.Write(bytes);
  from.Consume(bytes.size());
  if (to.Unsent() > listener_->conf.limits.buffer) from.PauseReads();
}

void MailSession::OnRelayEof(Stream& from, Stream& to) {
  const bool is_back = &from == back_.get();
  if (is_back) {
    // Whatever it sent is delivered, then the client is told by the end.
    const bool is_clean = has_said_quit_ || has_front_eof_;
    return End({is_clean ? base::SessionResult::kClientQuit : base::SessionResult::kBackendLost,
                base::Side::kBack, base::Phase::kRelay, ""});
  }
  to.ShutdownWrite();
}

// --- time and ends ----------------------------------------------------------------------------

void MailSession::Rearm() {
  base::MonoTime next = base::MonoTime::max();
  const conf::Timeouts& timeouts = listener_->conf.timeouts;
  switch (state_) {
    case State::kDialogue:
    case State::kFrontTls:
      next = std::min(accepted_ + timeouts.Login(listener_->conf.protocol),
                      dialogue_->command_deadline);
      break;
    case State::kLogin:
      next = std::min(dialogue_->back_deadline,
                      accepted_ + timeouts.Login(listener_->conf.protocol) +
                          (timeouts.greeting + timeouts.auth) * 4);
      break;
    case State::kRefusing: next = dialogue_->asked_at + timeouts.auth_failure_delay; break;
    case State::kRelay:
      next = last_activity_ + timeouts.idle;
      if (wants_drain_) next = std::min(next, env_.loop.Now() + kDrainLook);
      break;
    case State::kEnded: return;
  }
  // Time moves on for every chunk of a relay; only a deadline that comes closer needs the heap now.
  if (!timer_.armed() || next < timer_.when() || state_ != State::kRelay) timer_.ArmAt(next);
}

void MailSession::OnTimer() {
  const base::MonoTime now = env_.loop.Now();
  switch (state_) {
    case State::kEnded: return;
    case State::kRefusing: return SayRefusal();
    case State::kLogin:
      if (now >= dialogue_->back_deadline)
        return FailBack(base::FaultKind::kTimeout, dialogue_->phase, "timeout");
      break;
    case State::kFrontTls:
      env_.recorder.Handshake(base::Side::kFront, "", "", false, false);
      return End({base::SessionResult::kClientLost, base::Side::kFront, base::Phase::kTls,
                  "handshake took too long"});
    case State::kDialogue:
      dialogue_->front->Expire();
      return DriveFront();
    case State::kRelay:
      if (wants_drain_) return BeginDrain();
      if (now >= last_activity_ + listener_->conf.timeouts.idle) {
        if (is_imap() && is_back_at_line_start_) front_->Write("* BYE idle for too long\r\n");
        return End({base::SessionResult::kIdle, base::Side::kFront, base::Phase::kRelay, ""});
      }
      break;
  }
  Rearm();
}

void MailSession::BeginDrain() {
  wants_drain_ = true;
  if (state_ == State::kDialogue) {
    dialogue_->front->BeginDrain();
    return DriveFront();
  }
  if (state_ != State::kRelay) return;
  // Quiet for a while, and between two lines.
  const bool is_quiet = env_.loop.Now() - last_activity_ >= kDrainLook && is_back_at_line_start_ &&
                        front_->Unsent() == 0;
  if (is_imap() && is_quiet) {
    front_->Write("* BYE server is going down, connect again\r\n");
    return End({base::SessionResult::kDrained, base::Side::kNone, base::Phase::kRelay, ""});
  }
  Rearm();
}

void MailSession::Kill(base::SessionResult why) {
  if (state_ == State::kEnded) return;
  if (state_ == State::kRelay && is_imap() && is_back_at_line_start_)
    front_->Write("* BYE server is shutting down\r\n");
  End({why, base::Side::kNone, base::Phase::kRelay, ""});
}

void MailSession::End(base::EndCause cause) {
  if (state_ == State::kEnded) return;
  if (state_ != State::kRelay && dialogue_ != nullptr && dialogue_->front != nullptr) {
    account_->commands = dialogue_->front->num_commands();
    if (const io::TlsFacts* facts = front_->tls_facts()) {
      account_->tls_version = facts->version;
      account_->tls_cipher = facts->cipher;
      account_->tls_group = facts->group;
    }
  }
  if (!front_->in_tls()) env_.recorder.PlaintextSession(base::Side::kFront, listener_->conf.protocol);
  state_ = State::kEnded;
  timer_.Cancel();
  if (cause.why.empty()) cause.why = std::move(account_->cause.why);
  account_->cause = std::move(cause);
  account_->time = env_.loop.WallNow();
  ReleaseBack(account_->cause.result);
  front_->CloseGently();
  env_.recorder.Bytes(listener_->slots, base::Side::kFront, metrics::Direction::kIn,
                      account_->bytes_in);
  env_.recorder.Bytes(listener_->slots, base::Side::kFront, metrics::Direction::kOut,
                      account_->bytes_out);
  env_.recorder.SessionEnded(listener_->slots, account_->cause.result,
                             env_.loop.Now() - accepted_);
  env_.accounts.OnSession(*account_);
  env_.host.Retire(*this);
}

}  // namespace postern::session
