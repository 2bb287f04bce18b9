// lmtp_session: one session of an lmtp listener whose recipients may live at several homes.
// SPDX-License-Identifier: Apache-2.0
#include "lb/session/lmtp_session.h"

#include <utility>
#include <variant>

namespace postern::session {
namespace {

bool IsItself(const void* homes, proto::EndpointRef endpoint) {
  return homes == endpoint;
}

const balance::Home* NamedHome(const Parts& parts, const conf::Rule& rule) {
  const conf::Config& config = *parts.config;
  if (const auto* pool = std::get_if<conf::Rule::ToPool>(&rule.action)) {
    for (uint32_t i = 0; i < config.pools.size(); ++i)
      if (config.pools[i].name == pool->name)
        return parts.endpoints->PoolHome(i, conf::Protocol::kLmtp);
  } else if (const auto* backend = std::get_if<conf::Rule::ToBackend>(&rule.action)) {
    for (uint32_t i = 0; i < config.backends.size(); ++i)
      if (config.backends[i].name == backend->name)
        return parts.endpoints->BackendHome(i, conf::Protocol::kLmtp);
  }
  return nullptr;
}

}  // namespace

bool HasSeveralHomes(const Parts& parts, const conf::Listener& listener) {
  const balance::Home* only = nullptr;
  for (const conf::Route& route : parts.config->routes) {
    if (route.name != listener.route) continue;
    for (const conf::Rule& rule : route.rules) {
      if (std::holds_alternative<conf::Rule::DirectoryAnswer>(rule.action)) return true;
      const balance::Home* const home = NamedHome(parts, rule);
      if (home == nullptr) continue;  // it refuses
      if (home->is_exclusive || (only != nullptr && home != only)) return true;
      only = home;
    }
  }
  return false;
}

void LmtpSession::LeaveEndpoint(const balance::EndpointState& endpoint) {
  if (homes_ != nullptr) homes_->LeaveEndpoint(endpoint);
}

KnownHome LmtpSession::HomeOf(std::string_view recipient) const {
  const auto found = homes_of_.find(recipient);
  if (found == homes_of_.end() || parts_ == nullptr) return {};
  return {found->second, parts_, relay_.transaction()};
}

void LmtpSession::FindHome(const proto::AskRoute& action) {
  asked_ = action.name;
  SmtpSession::FindHome(action);
}

// To the client's relay all homes are one.
proto::RouteAnswer LmtpSession::WayTo(const balance::Home& home) {
  if (std::exchange(at_homes_, relay_.transaction()) != relay_.transaction() && homes_ != nullptr)
    homes_->Begin();
  homes_of_[asked_] = &home;
  proto::RouteAnswer answer;
  answer.kind = proto::RouteAnswer::Kind::kHome;
  answer.home = {this, &IsItself};
  answer.is_idle_leg_good = true;
  return answer;
}

void LmtpSession::OpenBack(proto::LegId leg) {
  back_ = Back{};
  back_.leg = leg;
  const LmtpHomes::Client& self = *this;
  homes_ = std::make_unique<LmtpHomes>(env_, listener_, client_, *front_, self);
  back_.stream = homes_->TakeStream();
  back_.stream->SetObserver(this);
  const base::MonoTime now = env_.loop.Now();
  proto::SmtpLegFacts facts;
  facts.endpoint = this;
  facts.is_lmtp = true;
  relay_.OnLegPicked(leg, facts, now);
  relay_.OnLegConnected(leg, now);
}

void LmtpSession::ReleaseBack(proto::DropLeg::How /*how*/, base::SessionResult /*result*/) {
  CloseLater(env_.loop, std::move(back_.stream));
  if (!homes_->AnswersForText()) homes_->Silence();
  homes_.reset();
  back_ = Back{};
}

// What homes have said of it they have written down; what was decided before it came to that, or
// in their place, is written down here.
void LmtpSession::OnTransaction(const proto::SmtpOutcome& outcome) {
  if (homes_ != nullptr && at_homes_ == outcome.number && homes_->AnswersForText()) {
    LeaveOut();
    account_.transactions = outcome.number;
    account_.backend = homes_->backend();
  } else {
    if (homes_ != nullptr) homes_->Silence();
    SmtpSession::OnTransaction(outcome);
  }
  homes_of_.clear();
}

// The client's next transaction may be long in coming: no home is kept waiting for it, and no user
// held there.
void LmtpSession::OnLegIdle(proto::LegId) {
  homes_->GiveUp();
}

}  // namespace postern::session
