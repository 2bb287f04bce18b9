// mail_leg: the backend's side of mail_dialogue: which endpoint, its connection, its ladder.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "lb/base/log.h"
#include "lb/io/stream_end.h"
#include "lb/proto/proxy_header.h"
#include "lb/session/mail_dialogue.h"

namespace postern::session {

using base::FaultKind;
using base::MonoTime;
using base::Phase;
using base::SessionResult;
using base::Side;
using metrics::AuthResult;
using metrics::Direction;

namespace {

bool WantsProxyHeader(const conf::Endpoint& endpoint) {
  return endpoint.client_address == conf::ClientAddress::kProxyV1 ||
         endpoint.client_address == conf::ClientAddress::kProxyV2;
}

bool WantsIdentity(const conf::Endpoint& endpoint) {
  return endpoint.client_address == conf::ClientAddress::kImapId ||
         endpoint.client_address == conf::ClientAddress::kXclient;
}

}  // namespace

const metrics::EndpointSlots& MailDialogue::SlotsOf(const balance::Endpoint& endpoint) const {
  return parts_->endpoint_slots[endpoint.backend_index][endpoint.endpoint_index];
}

const balance::Endpoint* MailDialogue::Choose(std::span<const balance::EndpointId> excluded,
                                              MonoTime now) {
  const bool is_by_client = balance::KeyPartOf(*home_) == balance::KeyPart::kClient;
  return env_.picker.Pick(*home_, is_by_client ? balance::ClientKey(client_.client.ip) : user_key_,
                          excluded, now);
}

// In an exclusive pool: where the user is, as long as that member is not down; who comes first
// decides for the others.
const balance::Endpoint* MailDialogue::ChooseForOne(MonoTime now) {
  constexpr int kMostRaces = 8;
  pin_.reset();
  for (int race = 0; race < kMostRaces; ++race) {
    const std::string holder = env_.host.pins().HolderOf(home_->name, user_key_);
    const auto held = std::find_if(
        home_->members.begin(), home_->members.end(),
        [&](const balance::Endpoint* member) { return member->backend->name == holder; });
    const bool is_held =
        held != home_->members.end() && (*held)->state->health.load() != balance::Health::kDown;
    const balance::Endpoint* endpoint = nullptr;
    if (!is_held) {
      endpoint = Choose(tried_, now);
    } else if ((*held)->state->admin.load() != balance::AdminState::kMaintenance &&
               std::find(tried_.begin(), tried_.end(), (*held)->id) == tried_.end()) {
      endpoint = *held;  // draining or full: its sessions are there, and no other may have it
    }
    if (endpoint == nullptr) return nullptr;
    pin_ = env_.host.pins().Take(home_->name, user_key_, endpoint->backend->name,
                                 is_held ? std::string_view() : holder);
    if (pin_ != nullptr) return endpoint;  // else another session of the user was quicker
  }
  return nullptr;
}

void MailDialogue::TryNext() {
  const MonoTime now = env_.loop.Now();
  const balance::Endpoint* endpoint = home_->is_exclusive ? ChooseForOne(now) : Choose(tried_, now);
  if (endpoint == nullptr) {
    Unavailable(last_fault_.empty() ? "no endpoint can take it now" : last_fault_);
    return;
  }
  if (last_kind_) env_.recorder.Retry(listener_.conf.protocol, *last_kind_);
  tried_.push_back(endpoint->id);
  leg_ = std::make_unique<Leg>();
  leg_->endpoint = endpoint;
  leg_->facts = endpoint->state->facts();
  if (leg_->facts != nullptr) leg_->addresses = leg_->facts->addresses;
  if (const auto ip = base::IpAddress::Parse(endpoint->backend->host);
      ip && leg_->addresses.empty())
    leg_->addresses = {*ip};
  leg_->connect_deadline = now + listener_.conf.timeouts.connect;
  leg_->phase_began = now;
  accounting_.LegStarted(*endpoint, SlotsOf(*endpoint));
  if (leg_->addresses.empty()) {
    LegFailed(FaultKind::kRefused, "the host has no address (yet)");
    return;
  }
  TryAddress();
}

// The time for connecting is shared by the addresses that are left.
void MailDialogue::TryAddress() {
  Leg& leg = *leg_;
  const MonoTime now = env_.loop.Now();
  const auto num_left = static_cast<int64_t>(leg.addresses.size() - leg.num_dialled);
  leg.deadline = now + (leg.connect_deadline - now) / num_left;
  io::DialOptions options;
  options.address = {leg.addresses[leg.num_dialled++], leg.endpoint->conf->port};
  const auto& sources = leg.endpoint->backend->source_addresses;
  const size_t start = sources.empty() ? 0 : env_.rng.Below(sources.size());
  for (size_t i = 0; i < sources.size() && !options.source; ++i) {
    const base::IpAddress& source = sources[(start + i) % sources.size()];
    if (source.family() == options.address.ip.family()) options.source = source;
  }
  if (leg.stream != nullptr) CloseLater(std::move(leg.stream));
  leg.stream = env_.dialer.Connect(options, observer_);
}

// A stream may be in the middle of telling us something: it is closed now and deleted later.
void MailDialogue::CloseLater(std::unique_ptr<io::Stream> stream) {
  stream->Close();
  env_.loop.Post([dead = std::shared_ptr<io::Stream>(std::move(stream))] {});
}

void MailDialogue::OnBack(io::Stream::Event event) {
  if (leg_ == nullptr) return;
  switch (event) {
    case io::Stream::Event::kConnected:
      LegConnected();
      return;
    case io::Stream::Event::kTlsUp:
      LegTlsUp();
      return;
    case io::Stream::Event::kReadable:
      PumpBack();
      return;
    case io::Stream::Event::kEnd:
      LegLost();
      return;
    case io::Stream::Event::kDrained:
      return;
  }
}

void MailDialogue::SetPhase(Phase phase) {
  Leg& leg = *leg_;
  const MonoTime now = env_.loop.Now();
  if (leg.phase == phase) return;
  accounting_.PhaseDone(leg.phase, now - leg.phase_began);
  leg.phase = phase;
  leg.phase_began = now;
  leg.is_suspected = false;
  if (phase == Phase::kLogin) leg.deadline = now + listener_.conf.timeouts.auth;
}

void MailDialogue::LegConnected() {
  Leg& leg = *leg_;
  const conf::Endpoint& endpoint = *leg.endpoint->conf;
  leg.deadline = env_.loop.Now() + listener_.conf.timeouts.greeting;
  if (WantsProxyHeader(endpoint)) {
    const auto version = endpoint.client_address == conf::ClientAddress::kProxyV1
                             ? proto::ProxyVersion::kV1
                             : proto::ProxyVersion::kV2;
    const std::string header = proto::PrintProxyHeader(version, client_.client, client_.local);
    accounting_.Bytes(Side::kBack, Direction::kOut, header.size());
    leg.stream->Write(header);
    leg.has_sent_client_bytes = true;
  }
  proto::BackPlan plan;
  plan.tls = endpoint.tls;
  if (WantsIdentity(endpoint))
    plan.identity = proto::ClientIdentity{client_.client, client_.local, client_.session_id};
  plan.login = request_;
  plan.user = back_user_;
  if (leg.facts != nullptr && leg.facts->has_capabilities) plan.known = &leg.facts->capabilities;
  plan.max_line_bytes =
      static_cast<size_t>(std::max(listener_.conf.limits.line, listener_.conf.limits.sasl_line));
  plan.max_lines = static_cast<size_t>(listener_.conf.limits.reply_lines);
  leg.machine = proto::MakeBack(protocol_, plan);
  if (plan.tls == conf::TlsMode::kImplicit) {
    StartBackTls();
  } else {
    SetPhase(Phase::kGreeting);
  }
}

void MailDialogue::StartBackTls() {
  Leg& leg = *leg_;
  SetPhase(Phase::kTls);
  io::TlsRequest request;
  request.role = io::TlsRole::kClient;
  request.settings = parts_->back_tls[leg.endpoint->id].get();
  const conf::Backend& backend = *leg.endpoint->backend;
  request.server_name = backend.verify.name.empty() ? backend.host : backend.verify.name;
  if (request.settings == nullptr || !leg.stream->Input().empty()) {
    LegFailed(FaultKind::kProtocol, "no TLS, or bytes before TLS");
    return;
  }
  leg.stream->StartTls(request);
}

void MailDialogue::LegTlsUp() {
  Leg& leg = *leg_;
  const io::TlsFacts& facts = *leg.stream->tls_facts();
  env_.recorder.Handshake(Side::kBack, facts.version, facts.group, facts.is_resumed,
                          /*is_ok=*/true);
  if (leg.endpoint->conf->tls == conf::TlsMode::kImplicit) {
    SetPhase(Phase::kGreeting);
  } else {
    leg.machine->TlsUp();
  }
  PumpBack();
}

void MailDialogue::PumpBack() {
  while (leg_ != nullptr && leg_->machine != nullptr && outcome_ == Outcome::kGoesOn) {
    Leg& leg = *leg_;
    const proto::BackStep step = leg.machine->Next(leg.stream->Input());
    if (step.consumed > 0) {
      leg.stream->Consume(step.consumed);
      accounting_.Bytes(Side::kBack, Direction::kIn, step.consumed);
    }
    if (leg.phase != Phase::kTls || leg.machine->phase() != Phase::kGreeting)
      SetPhase(leg.machine->phase());
    if (!TakeBackEvent(step.event)) return;
  }
}

bool MailDialogue::TakeBackEvent(const proto::BackEvent& event) {
  return std::visit(
      [this](const auto& what) {
        using What = std::decay_t<decltype(what)>;
        if constexpr (std::is_same_v<What, proto::NeedBytes> || std::is_same_v<What, proto::Wait>) {
          return false;
        } else if constexpr (std::is_same_v<What, proto::Send>) {
          accounting_.Bytes(Side::kBack, Direction::kOut, what.bytes.size());
          leg_->stream->Write(what.bytes);
          return true;
        } else if constexpr (std::is_same_v<What, proto::StartTls>) {
          StartBackTls();
          return false;
        } else if constexpr (std::is_same_v<What, proto::Challenge>) {
          challenged_ = Challenged::kClientsTurn;
          leg_->deadline = kNever;  // it is the client's turn, which has deadlines of its own
          front_machine_->PassChallenge(what.base64);
          PumpFront();
          return false;
        } else if constexpr (std::is_same_v<What, proto::LoggedIn>) {
          LoginDone(what);
          return false;
        } else if constexpr (std::is_same_v<What, proto::Refusal>) {
          const std::string code(what.code), text(what.text);
          const bool is_bad = what.is_bad_credentials;
          env_.picker.Succeeded(*leg_->endpoint);
          accounting_.PhaseDone(leg_->phase, env_.loop.Now() - leg_->phase_began);
          DropLeg();
          accounting_.LegEnded(SessionResult::kClientQuit);
          Refuse({code, text, is_bad}, AuthResult::kBadCredentials);
          return false;
        } else if constexpr (std::is_same_v<What, proto::Failed>) {
          LegFailed(what.kind, std::string(what.text));
          return false;
        } else {
          static_assert(std::is_same_v<What, proto::Ended>);
          return false;  // of a probe; none is made here
        }
      },
      event);
}

void MailDialogue::LegLost() {
  Leg& leg = *leg_;
  const io::StreamEnd end = leg.stream->end();
  if (end == io::StreamEnd::kLocal) {
    // Nothing about the backend: no blame, no failure of its.
    DropLeg();
    accounting_.LegEnded(SessionResult::kLimit);
    Unavailable("no descriptor, port or memory to connect with");
    return;
  }
  if (leg.phase == Phase::kConnect) {
    if (leg.num_dialled < leg.addresses.size() && leg.connect_deadline > env_.loop.Now()) {
      TryAddress();
    } else {
      LegFailed(FaultKind::kRefused, io::EndInWords(*leg.stream));
    }
    return;
  }
  if (leg.phase == Phase::kTls)
    env_.recorder.Handshake(Side::kBack, "", "", /*is_resumed=*/false, /*is_ok=*/false);
  LegFailed(io::FaultOf(end), io::EndInWords(*leg.stream));
}

bool MailDialogue::MayBlame() const {
  if (leg_->has_sent_client_bytes && leg_->phase != Phase::kConnect) return false;
  return leg_->machine == nullptr || !leg_->machine->has_sent_client_bytes();
}

void MailDialogue::LegFailed(FaultKind kind, std::string why) {
  const balance::Endpoint& endpoint = *leg_->endpoint;
  const Phase phase = leg_->phase;
  const auto blame = MayBlame() ? balance::Picker::Blame::kPassive : balance::Picker::Blame::kNone;
  if (base::log::Enabled(base::log::Level::kWarn))
    base::log::Warn("backend_failed",
                    {{"backend", endpoint.backend->name},
                     {"protocol", std::string(conf::Name(endpoint.conf->protocol))},
                     {"phase", std::string(base::Name(phase))},
                     {"kind", std::string(base::Name(kind))},
                     {"why", why}});
  last_fault_ = endpoint.backend->name;
  last_fault_ += ' ';
  last_fault_ += base::Name(phase);
  last_fault_ += ' ';
  last_fault_ += base::Name(kind);
  if (!why.empty()) {
    last_fault_ += ": ";
    last_fault_ += why;
  }
  last_kind_ = kind;
  accounting_.LegFailed(phase, kind);
  DropLeg();
  accounting_.LegEnded(SessionResult::kBackendLost);
  env_.picker.Failed(endpoint, blame, env_.loop.Now());
  if (challenged_ == Challenged::kClientsTurn) return;  // told when the client has answered
  // A login that was sent may yet be carried out there.
  const bool may_be_in = home_->is_exclusive && phase == Phase::kLogin;
  if (home_->may_fail_over && challenged_ == Challenged::kNo && !may_be_in) {
    TryNext();
  } else {
    Unavailable(last_fault_);
  }
}

// When the answer that is due has been due for too long; never once that has been told.
MonoTime MailDialogue::Patience() const {
  const Leg& leg = *leg_;
  const bool is_clients_turn = challenged_ == Challenged::kClientsTurn;
  if (leg.is_suspected || leg.deadline == kNever || is_clients_turn) return kNever;
  const base::Duration patience = leg.endpoint->state->PatienceFor(leg.phase);
  return patience == base::Duration::max() ? kNever : leg.phase_began + patience;
}

// It may yet answer; but somebody should look at it, and whoever comes now is better off elsewhere.
void MailDialogue::Suspect() {
  Leg& leg = *leg_;
  leg.is_suspected = true;
  leg.endpoint->state->WantCheck();
  // Half a greeting is a server that lets its clients wait.
  const bool has_begun = leg.phase == Phase::kGreeting && !leg.stream->Input().empty();
  if (MayBlame() && !has_begun) env_.picker.Hangs(*leg.endpoint, env_.loop.Now());
}

// Where there is another to go to.
void MailDialogue::LeaveEndpoint(const balance::EndpointState& endpoint) {
  if (leg_ == nullptr || leg_->endpoint->state.get() != &endpoint || leg_->deadline == kNever ||
      !home_->may_fail_over || challenged_ != Challenged::kNo || outcome_ != Outcome::kGoesOn)
    return;
  if (home_->HasAnother(tried_)) LegFailed(FaultKind::kLost, "the endpoint is down");
}

void MailDialogue::LoginDone(const proto::LoggedIn& answer) {
  Leg& leg = *leg_;
  leg.deadline = kNever;
  accounting_.PhaseDone(leg.phase, env_.loop.Now() - leg.phase_began);
  accounting_.LoggedIn();
  env_.picker.Succeeded(*leg.endpoint);
  env_.host.AuthSucceeded(client_.client.ip, user_key_);
  env_.recorder.Auth(listener_.conf.protocol, MetricOf(request_->mechanism), AuthResult::kOk);
  const proto::Capabilities& learned = leg.machine->capabilities();
  const bool is_news =
      leg.facts == nullptr || !leg.facts->has_capabilities || leg.facts->capabilities != learned;
  if (leg.machine->has_learned_capabilities() && is_news)
    env_.host.LearnedCapabilities(*leg.endpoint, learned);
  if (!leg.stream->in_tls()) env_.recorder.PlaintextSession(Side::kBack, listener_.conf.protocol);
  request_ = nullptr;
  last_fault_.clear();
  front_machine_->LoginOk(answer);
  PumpFront();
}

void MailDialogue::DropLeg() {
  if (leg_ == nullptr) return;
  if (leg_->stream != nullptr) CloseLater(std::move(leg_->stream));
  leg_.reset();
}

}  // namespace postern::session
