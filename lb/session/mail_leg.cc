// mail_leg: the backend's side of mail_dialogue: which endpoint, its connection, its ladder.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "lb/session/exclusive.h"
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

bool WantsIdentity(const conf::Endpoint& endpoint) {
  return endpoint.client_address == conf::ClientAddress::kImapId ||
         endpoint.client_address == conf::ClientAddress::kXclient;
}

}  // namespace

const balance::Endpoint* MailDialogue::Choose(std::span<const balance::EndpointId> excluded,
                                              MonoTime now) {
  const bool is_by_client = balance::KeyPartOf(*home_) == balance::KeyPart::kClient;
  return env_.picker.Pick(*home_, is_by_client ? balance::ClientKey(client_.client.ip) : user_key_,
                          excluded, now);
}

const balance::Endpoint* MailDialogue::ChooseForOne(MonoTime now) {
  pin_.reset();
  HeldMember held = PickForOne(env_.host.pins(), *home_, user_key_, tried_,
                               [this, now] { return Choose(tried_, now); });
  pin_ = std::move(held.pin);
  return held.endpoint;
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
  back_machine_.reset();
  leg_ = std::make_unique<BackLeg>(
      BackLeg::Around{env_, listener_, client_, *parts_, accounting_, observer_}, *endpoint);
  TakeLeg(leg_->Start());
}

void MailDialogue::OnBack(io::Stream::Event event) {
  if (leg_ != nullptr) TakeLeg(leg_->OnStream(event));
}

void MailDialogue::TakeLeg(BackLeg::Came came) {
  switch (came) {
    case BackLeg::Came::kNothing:
      return;
    case BackLeg::Came::kUp:
      return LegUp();
    case BackLeg::Came::kTlsUp:
      back_machine_->TlsUp();
      return PumpBack();
    case BackLeg::Came::kBytes:
      return PumpBack();
    case BackLeg::Came::kFailed:
      return LegFailed(leg_->fault());
    case BackLeg::Came::kShort:
      DropLeg(SessionResult::kLimit);
      return Unavailable("no descriptor, port or memory to connect with");
  }
}

void MailDialogue::LegUp() {
  const conf::Endpoint& endpoint = *leg_->endpoint().conf;
  const balance::EndpointFacts* facts = leg_->facts();
  proto::BackPlan plan;
  plan.tls = endpoint.tls;
  if (WantsIdentity(endpoint))
    plan.identity = proto::ClientIdentity{client_.client, client_.local, client_.session_id};
  plan.login = request_;
  plan.user = back_user_;
  if (facts != nullptr && facts->has_capabilities) plan.known = &facts->capabilities;
  plan.max_line_bytes =
      static_cast<size_t>(std::max(listener_.conf.limits.line, listener_.conf.limits.sasl_line));
  plan.max_lines = static_cast<size_t>(listener_.conf.limits.reply_lines);
  back_machine_ = proto::MakeBack(protocol_, plan);
  leg_->SetPhase(Phase::kGreeting);
  PumpBack();
}

void MailDialogue::PumpBack() {
  while (leg_ != nullptr && back_machine_ != nullptr && outcome_ == Outcome::kGoesOn) {
    io::Stream& stream = leg_->stream();
    const proto::BackStep step = back_machine_->Next(stream.Input());
    if (step.consumed > 0) {
      stream.Consume(step.consumed);
      accounting_.Bytes(Side::kBack, Direction::kIn, step.consumed);
    }
    if (leg_->phase() != Phase::kTls || back_machine_->phase() != Phase::kGreeting)
      leg_->SetPhase(back_machine_->phase());
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
          leg_->stream().Write(what.bytes);
          return true;
        } else if constexpr (std::is_same_v<What, proto::StartTls>) {
          TakeLeg(leg_->StartTls());
          return false;
        } else if constexpr (std::is_same_v<What, proto::Challenge>) {
          challenged_ = Challenged::kClientsTurn;
          leg_->set_deadline(kNever);  // it is the client's turn, which has deadlines of its own
          front_machine_->PassChallenge(what.base64);
          PumpFront();
          return false;
        } else if constexpr (std::is_same_v<What, proto::LoggedIn>) {
          LoginDone(what);
          return false;
        } else if constexpr (std::is_same_v<What, proto::Refusal>) {
          const std::string code(what.code), text(what.text);
          const bool is_bad = what.is_bad_credentials;
          leg_->Answered();
          leg_.reset();
          Refuse({code, text, is_bad}, AuthResult::kBadCredentials);
          return false;
        } else if constexpr (std::is_same_v<What, proto::Failed>) {
          LegFailed({what.kind, std::string(what.text)});
          return false;
        } else {
          static_assert(std::is_same_v<What, proto::Ended>);
          return false;  // of a probe; none is made here
        }
      },
      event);
}

BackLeg::Blame MailDialogue::Blame() const {
  return back_machine_ != nullptr && back_machine_->has_sent_client_bytes() ? BackLeg::Blame::kNone
                                                                            : leg_->blame();
}

void MailDialogue::LegFailed(const BackLeg::Fault& fault) {
  // A login that was sent may yet be carried out there.
  const bool may_be_in = home_->is_exclusive && leg_->phase() == Phase::kLogin;
  last_kind_ = fault.kind;
  last_fault_ = leg_->Fail(fault, Blame());
  leg_.reset();
  if (challenged_ == Challenged::kClientsTurn) return;  // told when the client has answered
  if (home_->may_fail_over && challenged_ == Challenged::kNo && !may_be_in) {
    TryNext();
  } else {
    Unavailable(last_fault_);
  }
}

// Where there is another to go to.
void MailDialogue::LeaveEndpoint(const balance::EndpointState& endpoint) {
  if (leg_ == nullptr || leg_->endpoint().state.get() != &endpoint || leg_->deadline() == kNever ||
      !home_->may_fail_over || challenged_ != Challenged::kNo || outcome_ != Outcome::kGoesOn)
    return;
  if (home_->HasAnother(tried_)) LegFailed({FaultKind::kLost, "the endpoint is down"});
}

void MailDialogue::LoginDone(const proto::LoggedIn& answer) {
  BackLeg& leg = *leg_;
  leg.Succeeded();
  env_.host.AuthSucceeded(client_.client.ip, user_key_);
  env_.recorder.Auth(listener_.conf.protocol, MetricOf(request_->mechanism), AuthResult::kOk);
  const proto::Capabilities& learned = back_machine_->capabilities();
  const balance::EndpointFacts* facts = leg.facts();
  const bool is_news =
      facts == nullptr || !facts->has_capabilities || facts->capabilities != learned;
  if (back_machine_->has_learned_capabilities() && is_news)
    env_.host.LearnedCapabilities(leg.endpoint(), learned);
  if (!leg.stream().in_tls()) env_.recorder.PlaintextSession(Side::kBack, listener_.conf.protocol);
  request_ = nullptr;
  last_fault_.clear();
  front_machine_->LoginOk(answer);
  PumpFront();
}

void MailDialogue::DropLeg(SessionResult result) {
  if (leg_ == nullptr) return;
  leg_->Drop(result);
  leg_.reset();
}

}  // namespace postern::session
