// smtp_session_back: routes and endpoints of a SmtpSession.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "lb/base/check.h"
#include "lb/session/exclusive.h"
#include "lb/session/idle_legs.h"
#include "lb/session/smtp_session.h"

namespace postern::session {
namespace {

using base::SessionResult;
using base::Side;

bool ContainsEndpoint(const void* home, proto::EndpointRef endpoint) {
  const auto& members = static_cast<const balance::Home*>(home)->members;
  return std::any_of(members.begin(), members.end(), [endpoint](const balance::Endpoint* member) {
    return member->state.get() == endpoint;
  });
}

bool CanTake(const balance::Endpoint& member, const balance::Admission& admission) {
  const auto facts = member.state->facts();
  return admission.Admits(member) && facts != nullptr && !facts->addresses.empty();
}

bool IsLmtp(const balance::Endpoint& endpoint) {
  return endpoint.conf->protocol == conf::Protocol::kLmtp;
}

// Its text only where the operator wants it; its code always.
std::string RefusalOf(const io::LookupAnswer& answer, const conf::Listener& listener) {
  const bool has_text = listener.pass_refusal_text && !answer.refusal_text.empty();
  if (answer.refusal_code.empty() && !has_text) return "";
  const bool is_login = listener.protocol == conf::Protocol::kSubmission;
  std::string line = answer.refusal_code;
  // The connection goes on.
  if (line.starts_with("421")) line.replace(0, 3, "451");
  if (line.empty()) line = is_login ? "535 5.7.8" : "550 5.7.1";
  line += ' ';
  line += has_text ? answer.refusal_text : is_login ? "Authentication failed" : "Refused";
  return line;
}

}  // namespace

// --- where to --------------------------------------------------------------------------------

void SmtpSession::FindHome(const proto::AskRoute& action) {
  if (parts_ == nullptr) parts_ = env_.parts;
  const Parts& parts = *parts_;
  const bool is_user = action.by == proto::AskRoute::By::kUser;
  const std::string key = parts.user_key->Key(action.name);
  const base::MonoTime now = env_.loop.Now();
  proto::RouteAnswer answer;
  if (is_user && relay_.user().empty() && env_.host.AuthBlocked(client_.client.ip, key)) {
    answer.kind = proto::RouteAnswer::Kind::kBlocked;
    return relay_.OnRoute(answer, now);
  }
  const std::optional<uint32_t> route = parts.router->FindRoute(listener_->conf.route);
  if (!route.has_value()) {  // gone by a reload; new sessions have the new route
    answer.kind = proto::RouteAnswer::Kind::kTempFail;
    return relay_.OnRoute(answer, now);
  }
  route::Facts facts;
  facts.listener = listener_->conf.name;
  facts.protocol = listener_->conf.protocol;
  facts.client = client_.client.ip;
  if (front_->tls_facts() != nullptr) facts.sni = front_->tls_facts()->server_name;
  (is_user ? facts.user_key : facts.recipient_key) = key;
  io::LoginFacts login;
  login.protocol = "smtp";
  const bool has_login = relay_.user().empty() || relay_.has_credentials();
  SetLogin(login, is_user && has_login ? relay_.login() : nullptr);
  login.client = client_.client;
  login.hello = relay_.hello();
  login.from = relay_.reverse_path();
  login.to = is_user ? std::string_view() : action.name;
  login.is_in_tls = front_->in_tls();
  login.attempt = ++num_lookups_;
  // Who has logged in is not judged again with each message.
  const bool is_known = is_user && !relay_.user().empty() && judged_by_.lock() == parts_;
  query_ = std::make_unique<RouteQuery>(parts_, env_.recorder, env_.loop, *route, facts, login,
                                        is_known ? judgements_ : std::vector<route::Answered>());
  const auto decision = query_->Start([this](const route::Decision& late) {
    GoBy(late);
    Drive();
  });
  if (decision) GoBy(*decision);
}

void SmtpSession::GoBy(const route::Decision& decision) {
  // What it points to is kept until here.
  const std::unique_ptr<RouteQuery> query = std::move(query_);
  if (settings_.is_submission) KeepJudgements(query->answers());
  const balance::Home* home = HomeOf(*parts_, decision, listener_->conf.protocol);
  CountDecision(env_.recorder, *parts_, decision, home);
  proto::RouteAnswer answer;
  answer.text = decision.text;
  std::string refusal;
  switch (decision.kind) {
    case route::Decision::Kind::kPool:
    case route::Decision::Kind::kBackend:
    case route::Decision::Kind::kAddress:
      if (home != nullptr && TakeUser(decision)) {
        answer = WayTo(*home);
        if (decision.relay && listener_->conf.protocol == conf::Protocol::kSmtp)
          answer.relay = {parts_->endpoints->PoolHome(*decision.relay, listener_->conf.protocol),
                          &ContainsEndpoint};
      } else {
        answer.kind = proto::RouteAnswer::Kind::kTempFail;
        last_fault_ = home == nullptr ? "the directory names a server that is not configured"
                                      : "the directory's user is unusable";
      }
      answer.text = {};
      break;
    case route::Decision::Kind::kReject:
      answer.kind = proto::RouteAnswer::Kind::kReject;
      break;
    case route::Decision::Kind::kRefused:
      answer.kind = proto::RouteAnswer::Kind::kRefused;
      refusal = RefusalOf(decision.answer->answer, listener_->conf);
      answer.text = refusal;
      answer.refusal_wait = decision.answer->answer.refusal_delay;
      break;
    case route::Decision::Kind::kTempFail:
      answer.kind = proto::RouteAnswer::Kind::kTempFail;
      if (!decision.why.empty()) last_fault_ = "directory: " + std::string(decision.why);
      break;
    case route::Decision::Kind::kUnknown:
      answer.kind = proto::RouteAnswer::Kind::kUnknown;
      break;
    case route::Decision::Kind::kAsk:
      POSTERN_CHECK(false);
  }
  relay_.OnRoute(answer, env_.loop.Now());
}

proto::RouteAnswer SmtpSession::WayTo(const balance::Home& home) {
  proto::RouteAnswer answer;
  answer.kind = proto::RouteAnswer::Kind::kHome;
  answer.home = {&home, &ContainsEndpoint};
  answer.takes_one = home.is_exclusive;  // the next one may be held elsewhere
  answer.has_common = HasCommonEndpoint(home);
  answer.is_idle_leg_good = IsIdleLegGood(home);
  answer.takes_several =
      std::any_of(home.members.begin(), home.members.end(),
                  [](const balance::Endpoint* member) { return !IsLmtp(*member); });
  return answer;
}

// Could a member take work whose mail queue is within its limit? As PickEndpoint chooses.
bool SmtpSession::HasOneBelowHard(const balance::Home& home) const {
  const balance::Admission admission{{}, env_.loop.Now(), true};
  return std::any_of(
      home.members.begin(), home.members.end(),
      [&admission](const balance::Endpoint* member) { return CanTake(*member, admission); });
}

// Could a member take, with this home's recipient, all those of the transaction under way? An LMTP
// endpoint takes one only; from there the transaction may go to another member of the same home.
bool SmtpSession::HasCommonEndpoint(const balance::Home& home) const {
  if (!relay_.has_home()) return false;
  if (relay_.homes().front().home == &home && !relay_.is_leg_lmtp()) return false;
  // Large homes are looked through once each, as each recipient may ask.
  std::vector<size_t> num_homes(parts_->endpoints->endpoints().size());
  for (const proto::HomeRef& each : relay_.homes())
    for (const balance::Endpoint* member : static_cast<const balance::Home*>(each.home)->members)
      ++num_homes[member->id];
  const std::vector<proto::EndpointRef>& tried = relay_.tried();
  const balance::Admission admission{{}, env_.loop.Now(), false};
  return std::any_of(home.members.begin(), home.members.end(),
                     [&](const balance::Endpoint* member) {
                       return num_homes[member->id] == relay_.homes().size() &&
                              std::count(tried.begin(), tried.end(), member->state.get()) == 0 &&
                              !IsLmtp(*member) && CanTake(*member, admission);
                     });
}

// What directories have said that judge logins themselves.
void SmtpSession::KeepJudgements(const std::vector<route::Answered>& answers) {
  judgements_.clear();
  for (const route::Answered& each : answers)
    if (parts_->config->directories[each.directory].type == conf::Directory::Type::kAuthHttp &&
        each.answer.kind == io::LookupAnswer::Kind::kFound)
      judgements_.push_back(each);
  judged_by_ = parts_;
}

// Whom a directory says that the backend is to be told of. False: it cannot be said.
bool SmtpSession::TakeUser(const route::Decision& decision) {
  if (decision.answer == nullptr || !settings_.is_submission) return true;
  back_user_ = decision.answer->answer.user;
  return back_user_.empty() || proto::IsUsableUser(back_user_);
}

// A leg stays with its client as long as the endpoint might have been picked anew.
bool SmtpSession::IsIdleLegGood(const balance::Home& home) const {
  if (back_.leg == 0 || back_.is_busy || back_.parts != env_.parts) return false;
  if (home.is_exclusive) return false;  // the next user may be held elsewhere
  const balance::EndpointState& state = *back_.state;
  if (state.is_above_hard.load(std::memory_order_relaxed) && balance::HeedsHard(home) &&
      HasOneBelowHard(home))
    return false;
  return ContainsEndpoint(&home, &state) &&
         state.admin.load(std::memory_order_relaxed) == balance::AdminState::kReady &&
         state.health.load(std::memory_order_relaxed) != balance::Health::kDown &&
         !state.InCooldown(env_.loop.Now());
}

// The work under way could go there, were it well.
bool SmtpSession::MayTry(const balance::Endpoint& member) const {
  const std::vector<proto::EndpointRef>& tried = relay_.tried();
  return !(IsLmtp(member) && relay_.has_several()) && relay_.MayOpenTo(member.conf->reauth) &&
         std::find(tried.begin(), tried.end(), member.state.get()) == tried.end();
}

// In an exclusive pool (of mailboxes: one recipient) with the pin that holds it there.
HeldMember SmtpSession::PickEndpoint(const balance::Home& home) {
  const std::vector<proto::HomeRef>& homes = relay_.homes();
  std::vector<balance::EndpointId> excluded;
  for (const balance::Endpoint* member : home.members) {
    const proto::EndpointRef ref = member->state.get();
    const bool is_elsewhere =
        std::any_of(homes.begin() + 1, homes.end(),
                    [ref](const proto::HomeRef& other) { return !other.Contains(ref); });
    if (is_elsewhere || !MayTry(*member)) excluded.push_back(member->id);
  }
  if (!home.is_exclusive) return {PickAmong(home, excluded), nullptr};
  return PickForOne(env_.host.pins(), home, parts_->user_key->Key(relay_.pick_key()), excluded,
                    [&] { return PickAmong(home, excluded); });
}

const balance::Endpoint* SmtpSession::PickAmong(const balance::Home& home,
                                                std::vector<balance::EndpointId> excluded) {
  std::string key;
  switch (balance::KeyPartOf(home)) {
    case balance::KeyPart::kNone:
      break;
    case balance::KeyPart::kName:
      key = parts_->user_key->Key(relay_.pick_key());
      break;
    case balance::KeyPart::kClient:
      key = balance::ClientKey(client_.client.ip);
      break;
  }
  while (true) {
    const balance::Endpoint* endpoint = env_.picker.Pick(home, key, excluded, env_.loop.Now());
    if (endpoint == nullptr) return nullptr;
    const auto facts = endpoint->state->facts();
    if (facts != nullptr && !facts->addresses.empty()) return endpoint;
    excluded.push_back(endpoint->id);  // its name is not resolved
  }
}

// Members that could have been asked, were they well.
bool SmtpSession::HasUntried(const balance::Home& home) const {
  const std::vector<proto::EndpointRef>& tried = relay_.tried();
  return std::any_of(
      home.members.begin(), home.members.end(), [&tried](const balance::Endpoint* member) {
        return std::find(tried.begin(), tried.end(), member->state.get()) == tried.end();
      });
}

bool SmtpSession::HasAnotherEndpoint() const {
  if (relay_.homes().empty()) return false;
  const auto& home = *static_cast<const balance::Home*>(relay_.homes().front().home);
  std::vector<balance::EndpointId> excluded;
  for (const balance::Endpoint* member : home.members)
    if (member->state == back_.state || !MayTry(*member)) excluded.push_back(member->id);
  return home.HasAnother(excluded);
}

base::MonoTime SmtpSession::Patience() const {
  constexpr base::MonoTime kNever = base::MonoTime::max();
  if (back_.state == nullptr) return kNever;
  const auto due = relay_.outstanding();
  if (!due || due->since == back_.suspected) return kNever;
  const base::Duration patience = back_.state->PatienceFor(due->phase);
  return patience == base::Duration::max() ? kNever : due->since + patience;
}

// It may yet answer; but somebody should look at it, and whoever comes now is better off elsewhere.
void SmtpSession::Suspect() {
  const auto due = relay_.outstanding();
  if (!due) return;
  back_.suspected = due->since;
  back_.state->WantCheck();
  // Half a greeting is a server that lets its clients wait.
  const bool has_begun = due->phase == base::Phase::kGreeting && back_.stream != nullptr &&
                         !back_.stream->Input().empty();
  if (due->is_passive && !has_begun) env_.picker.Hangs(*back_.endpoint, env_.loop.Now());
}

void SmtpSession::Do(proto::OpenLeg& action) {
  if (action.leg == relay_.leg()) OpenBack(action.leg);  // else not wanted any more
}

void SmtpSession::OpenBack(proto::LegId leg) {
  POSTERN_CHECK(parts_ != nullptr);  // the homes are its objects
  const auto& home = *static_cast<const balance::Home*>(relay_.homes().front().home);
  HeldMember held = PickEndpoint(home);
  const balance::Endpoint* const endpoint = held.endpoint;
  if (endpoint == nullptr) return relay_.OnNobody(leg, HasUntried(home), env_.loop.Now());
  back_ = Back{};
  back_.leg = leg;
  back_.parts = parts_;
  back_.endpoint = endpoint;
  back_.state = endpoint->state;
  back_.pin = std::move(held.pin);
  back_.slots = parts_->endpoint_slots[endpoint->backend_index][endpoint->endpoint_index];
  back_.dial.emplace(*endpoint);
  account_.backend = endpoint->backend->name;
  has_asked_backend_ = true;
  SetBusy();
  if (endpoint->conf->client_address == conf::ClientAddress::kXclient) FindPeerName();
  proto::SmtpLegFacts facts;
  facts.endpoint = back_.state.get();
  facts.is_lmtp = IsLmtp(*endpoint);
  facts.tls = endpoint->conf->tls;
  facts.client_address = endpoint->conf->client_address;
  std::string login_user;
  if (settings_.is_submission)
    login_user = back_user_.empty() ? parts_->user_key->ForBackend(relay_.pick_key()) : back_user_;
  facts.login_user = login_user;
  facts.reauth = endpoint->conf->reauth;
  // For another member that has to be shown them, or a directory that judges logins itself.
  facts.keeps_credentials =
      !judgements_.empty() ||
      std::any_of(home.members.begin(), home.members.end(), [](const balance::Endpoint* member) {
        return member->conf->reauth == conf::Reauth::kReplay;
      });
  if (TakeIdleLeg(facts)) return;
  relay_.OnLegPicked(leg, facts, env_.loop.Now());
  back_.stream = back_.dial->Next(env_, *this);
}

// One that another client has left at the endpoint that was picked.
bool SmtpSession::TakeIdleLeg(const proto::SmtpLegFacts& facts) {
  if (!relay_.MayShare(facts)) return false;
  std::optional<IdleLegs::Leg> taken =
      env_.host.idle_legs()->Take(*back_.state, parts_, relay_, *this);
  if (!taken) return false;
  back_.stream = std::move(taken->stream);
  back_.is_ladder_done = true;
  relay_.OnLegTaken(back_.leg, facts, taken->state, env_.loop.Now());
  return true;
}

// Nobody who comes now can use one of a former snapshot.
proto::DropLeg::How SmtpSession::PassLegOn(proto::SmtpIdleLeg idle) {
  if (back_.parts != env_.parts) {
    WriteBack(proto::kSmtpQuit);
    return proto::DropLeg::How::kGently;
  }
  env_.host.idle_legs()->Put({std::move(back_.stream), back_.state, back_.parts, std::move(idle)});
  return proto::DropLeg::How::kAtOnce;
}

void SmtpSession::StartBackTls() {
  back_.is_handshaking = true;
  back_.stream->StartTls(BackTls(*back_.parts, *back_.endpoint));
}

void SmtpSession::ReleaseBack(proto::DropLeg::How how, SessionResult result) {
  if (back_.blame.has_value()) result = SessionResult::kBackendLost;
  SetFree(result);
  if (back_.is_handshaking) env_.recorder.Handshake(Side::kBack, "", "", false, false);
  if (back_.blame.has_value()) env_.picker.Failed(*back_.endpoint, *back_.blame, env_.loop.Now());
  env_.recorder.Bytes(listener_->slots, Side::kBack, metrics::Direction::kIn, back_.bytes_in);
  env_.recorder.Bytes(listener_->slots, Side::kBack, metrics::Direction::kOut, back_.bytes_out);
  if (how == proto::DropLeg::How::kGently) back_.stream->CloseGently();
  CloseLater(env_.loop, std::move(back_.stream));
  back_ = Back{};
}

}  // namespace postern::session
