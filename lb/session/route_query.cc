// route_query: decide, ask, decide again.
// SPDX-License-Identifier: Apache-2.0
#include "lb/session/route_query.h"

#include <utility>

namespace postern::session {
namespace {

metrics::LookupResult ResultOf(const io::LookupAnswer& answer) {
  if (answer.kind == io::LookupAnswer::Kind::kFailed) return metrics::LookupResult::kError;
  if (answer.is_stale) return metrics::LookupResult::kStale;
  if (answer.is_cached) return metrics::LookupResult::kCached;
  return answer.kind == io::LookupAnswer::Kind::kUnknown ? metrics::LookupResult::kMiss
                                                         : metrics::LookupResult::kHit;
}

io::LookupAnswer CannotBeAsked() {
  io::LookupAnswer answer;
  answer.why = "this build cannot ask it";
  answer.was_not_asked = true;
  return answer;
}

// Ends the way whatever the rule's on_error says: who goes on, and where to, nobody can know.
io::LookupAnswer CannotBeAskedYet() {
  io::LookupAnswer answer;
  answer.kind = io::LookupAnswer::Kind::kRefused;
  answer.why = "asked at the login only";
  return answer;
}

}  // namespace

RouteQuery::RouteQuery(std::shared_ptr<const Parts> parts, metrics::Recorder& recorder,
                       io::Loop& loop, uint32_t route, const route::Facts& facts,
                       std::optional<io::LoginFacts> login, std::vector<route::Answered> known)
    : parts_(std::move(parts)),
      recorder_(recorder),
      loop_(loop),
      route_(route),
      listener_(facts.listener),
      sni_(facts.sni),
      user_key_(facts.user_key),
      recipient_key_(facts.recipient_key),
      facts_(facts),
      login_(std::move(login)),
      answers_(std::move(known)) {
  facts_.listener = listener_;
  facts_.sni = sni_;
  facts_.user_key = user_key_;
  facts_.recipient_key = recipient_key_;
}

route::Decision RouteQuery::Decide(std::vector<route::Tried>* explanation) const {
  route::Facts facts = facts_;
  facts.answers = answers_;
  return parts_->router->Decide(route_, facts, explanation);
}

std::vector<route::Tried> RouteQuery::Explain() const {
  std::vector<route::Tried> tried;
  (void)Decide(&tried);
  return tried;
}

std::optional<route::Decision> RouteQuery::Start(Done done) {
  done_ = std::move(done);
  return GoOn();
}

bool RouteQuery::IsNowhere(const route::Decision& decision) const {
  return decision.kind == route::Decision::Kind::kAddress && decision.answer != nullptr &&
         HomeOf(*parts_, decision, facts_.protocol) == nullptr;
}

// A failure of the directory: the rule's on_error says what follows.
void RouteQuery::Void(const route::Answered& answered, std::string_view address) {
  std::string why = "its answer, " + std::string(address) + ", is no endpoint's address";
  for (route::Answered& known : answers_) {
    if (known.directory != answered.directory) continue;
    known.answer.kind = io::LookupAnswer::Kind::kFailed;
    known.answer.why = std::move(why);
    return;
  }
}

// Each directory is asked once: the loop ends when the last has answered.
std::optional<route::Decision> RouteQuery::GoOn() {
  while (true) {
    const route::Decision decision = Decide(nullptr);
    const bool is_nowhere = IsNowhere(decision);
    Count(is_nowhere ? decision.answer : nullptr);
    if (is_nowhere) {
      Void(*decision.answer, decision.text);
      continue;
    }
    if (decision.kind != route::Decision::Kind::kAsk) return decision;
    const uint32_t index = decision.index;
    asked_at_ = loop_.Now();
    if (index >= parts_->directories.size() || parts_->directories[index] == nullptr) {
      Take(index, CannotBeAsked());
      continue;
    }
    // A password is nobody's business who does not judge it.
    const bool is_told =
        parts_->config->directories[index].type == conf::Directory::Type::kAuthHttp;
    if (is_told && !login_) {
      answers_.push_back({index, CannotBeAskedYet()});
      continue;
    }
    const io::LookupQuery query{user_key_.empty() ? recipient_key_ : user_key_,
                                is_told && login_ ? &*login_ : nullptr};
    std::optional<io::LookupAnswer> answer = parts_->directories[index]->Ask(
        query, [this, index](const io::LookupAnswer& late) { OnAnswer(index, late); }, lookup_);
    if (!answer) return std::nullopt;
    Take(index, std::move(*answer));
  }
}

// The question that was answered, and whoever asked it, may go away meanwhile.
void RouteQuery::OnAnswer(uint32_t directory, io::LookupAnswer answer) {
  Take(directory, std::move(answer));
  const std::optional<route::Decision> decision = GoOn();
  if (!decision) return;
  const Done done = std::exchange(done_, nullptr);
  done(*decision);
}

void RouteQuery::Take(uint32_t directory, io::LookupAnswer answer) {
  const bool is_timed = !answer.is_cached && !answer.was_not_asked;
  uncounted_ = {directory, ResultOf(answer),
                is_timed ? std::optional(loop_.Now() - asked_at_) : std::nullopt};
  answers_.push_back({directory, std::move(answer)});
}

void RouteQuery::Count(const route::Answered* useless) {
  if (!uncounted_) return;
  const bool is_useless = useless != nullptr && useless->directory == uncounted_->directory;
  recorder_.DirectoryLookup(parts_->directory_slots[uncounted_->directory],
                            is_useless ? metrics::LookupResult::kError : uncounted_->result,
                            uncounted_->took);
  uncounted_.reset();
}

// LOGIN, USER and PASS are PLAIN by other words.
void SetLogin(io::LoginFacts& facts, const proto::LoginRequest* login) {
  const bool is_token = login != nullptr && proto::IsToken(login->mechanism);
  facts.mechanism = login == nullptr ? "none" : is_token ? proto::Name(login->mechanism) : "plain";
  facts.user = login == nullptr ? std::string_view() : login->user;
  facts.password = login == nullptr ? nullptr : is_token ? &login->message : &login->password;
}

const balance::Home* HomeOf(const Parts& parts, const route::Decision& decision,
                            conf::Protocol listener) {
  switch (decision.kind) {
    case route::Decision::Kind::kPool:
      return parts.endpoints->PoolHome(decision.index, listener);
    case route::Decision::Kind::kBackend:
      return parts.endpoints->BackendHome(decision.index, listener);
    case route::Decision::Kind::kAddress:
      return parts.endpoints->HomeAt(decision.text, listener);
    default:
      return nullptr;
  }
}

void CountDecision(metrics::Recorder& recorder, const Parts& parts, const route::Decision& decision,
                   const balance::Home* home) {
  if (decision.kind == route::Decision::Kind::kUnknown) return;  // by no rule
  const metrics::RuleSlots& rule = parts.rule_slots[decision.route][decision.rule];
  const size_t num_pools = parts.config->pools.size();
  const auto answered = [&rule](size_t index) {
    return rule.answers.empty() ? rule.target : rule.answers[index];
  };
  switch (decision.kind) {
    case route::Decision::Kind::kPool:
      return recorder.RouteDecision(answered(decision.index));
    case route::Decision::Kind::kBackend:
      return recorder.RouteDecision(answered(num_pools + decision.index));
    case route::Decision::Kind::kAddress:
      return recorder.RouteDecision(
          home == nullptr ? rule.none : answered(num_pools + home->members.front()->backend_index));
    case route::Decision::Kind::kReject:
    case route::Decision::Kind::kTempFail:
    case route::Decision::Kind::kRefused:
      return recorder.RouteDecision(rule.none);
    case route::Decision::Kind::kAsk:
    case route::Decision::Kind::kUnknown:
      return;
  }
}

}  // namespace postern::session
