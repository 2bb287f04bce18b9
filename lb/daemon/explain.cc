// explain: one question through rules, directories and the picker, in words.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/explain.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "lb/balance/home_view.h"
#include "lb/base/bytes.h"
#include "lb/base/escape.h"
#include "lb/daemon/json_object.h"
#include "lb/proto/smtp_text.h"
#include "lb/session/route_query.h"

namespace postern::daemon {
namespace {

using Kind = route::Decision::Kind;

const conf::Listener* FindListener(const conf::Config& config, std::string_view name) {
  for (const conf::Listener& listener : config.listeners)
    if (listener.name == name) return &listener;
  return nullptr;
}

std::string Or(std::string_view text, std::string_view otherwise) {
  return std::string(text.empty() ? otherwise : text);
}

// Without its line end.
std::string_view WordsOf(proto::SmtpText text) {
  const std::string_view line = proto::Line(text);
  return line.substr(0, line.find('\r'));
}

std::string TempFail(bool is_by_recipient, std::string_view text, std::string_view why) {
  std::string words =
      Or(text, is_by_recipient ? WordsOf(proto::SmtpText::kRouteTempFail) : "a temporary failure");
  if (!why.empty()) words += " (" + std::string(why) + ")";
  return words;
}

bool HasAddress(const balance::Endpoint& endpoint) {
  const auto facts = endpoint.state->facts();
  return (facts != nullptr && !facts->addresses.empty()) ||
         base::IpAddress::Parse(endpoint.backend->host).has_value();
}

// As `status` has it, and what a choice heeds besides.
std::string ReasonOf(const balance::Home& home, const balance::Endpoint& endpoint,
                     const health::HealthReport& report, base::MonoTime now) {
  std::string words;
  const auto add = [&words](std::string_view more) {
    if (more.empty()) return;
    if (!words.empty()) words += "; ";
    words += more;
  };
  for (const health::BackendReport& backend : report.backends)
    for (const health::EndpointReport& each : backend.endpoints)
      if (each.state == endpoint.state) add(each.Words());
  if (endpoint.state->InCooldown(now)) add("left alone for a while after a failure");
  if (balance::IsFull(endpoint)) add("has all the sessions that it may have");
  if (balance::HeedsHard(home) && endpoint.state->is_above_hard.load(std::memory_order_relaxed))
    add("its mail queue is over its hard limit");
  if (!HasAddress(endpoint)) add("its host has no address yet");
  return Or(words, "as configured");
}

size_t TierOf(const balance::Home& home, const balance::Endpoint* member) {
  for (size_t i = 0; i < home.tiers.size(); ++i)
    if (std::find(home.tiers[i].begin(), home.tiers[i].end(), member) != home.tiers[i].end())
      return i + 1;
  return 0;
}

std::string AsArray(const auto& items, const auto& print) {
  std::string out = "[";
  for (const auto& item : items) {
    if (out.size() > 1) out += ',';
    JsonObject json(out);
    print(json, item);
    json.End();
  }
  out += ']';
  return out;
}

}  // namespace

bool GoesByRecipient(conf::Protocol protocol) {
  return protocol == conf::Protocol::kSmtp || protocol == conf::Protocol::kLmtp;
}

std::string AnswerOf(const route::Decision& decision, bool is_by_recipient) {
  switch (decision.kind) {
    case Kind::kReject:
      return Or(decision.text, is_by_recipient ? WordsOf(proto::SmtpText::kRejected)
                                               : "refused as a wrong password is");
    case Kind::kTempFail:
      return TempFail(is_by_recipient, decision.text, decision.why);
    case Kind::kRefused:
      return "it hangs on the password";
    case Kind::kUnknown:
      return std::string(is_by_recipient ? WordsOf(proto::SmtpText::kUnknownUser)
                                         : "refused as a wrong password is") +
             " (no rule matches)";
    case Kind::kAddress:
      return TempFail(is_by_recipient, "", "the directory names a server that is not configured");
    case Kind::kPool:
    case Kind::kBackend:
    case Kind::kAsk:
      break;
  }
  return "";
}

struct Explainer::Run {
  const std::shared_ptr<const session::Parts> parts;
  const conf::Listener& listener;
  const std::optional<base::IpAddress> client;
  const std::string user_key, recipient_key;
  const Done done;
  std::unique_ptr<session::RouteQuery> query;

  [[nodiscard]] const std::string& key() const {
    return user_key.empty() ? recipient_key : user_key;
  }
};

Explainer::Explainer(io::Loop& loop, metrics::Recorder& recorder, base::Rng& rng,
                     const balance::Pins& pins, HealthNow health_now)
    : loop_(loop),
      recorder_(recorder),
      pins_(pins),
      health_now_(std::move(health_now)),
      picker_(0, rng) {}

Explainer::~Explainer() = default;

void Explainer::Explain(const RouteQuestion& question, Done done) {
  if (parts_ == nullptr) return done(base::Error{"no configuration is in force yet"});
  const conf::Listener* listener = FindListener(*parts_->config, question.listener);
  if (listener == nullptr)
    return done(base::Error{"there is no listener \"" + base::Printable(question.listener) + "\""});
  std::string user_key = parts_->user_key->Key(question.user);
  std::string recipient_key = parts_->user_key->Key(question.recipient);
  if (user_key.empty() && recipient_key.empty() && listener->protocol != conf::Protocol::kTcp)
    return done(base::Error{"whose way? user and recipient are missing"});
  const auto route = parts_->router->FindRoute(listener->route);
  if (!route) return done(base::Error{"listener " + listener->name + " has no route"});
  // A session knows one of the two when it decides.
  if (!user_key.empty() && !recipient_key.empty())
    (GoesByRecipient(listener->protocol) ? user_key : recipient_key).clear();

  running_.push_back({parts_, *listener, question.client, std::move(user_key),
                      std::move(recipient_key), std::move(done), nullptr});
  const auto run = std::prev(running_.end());
  const std::string sni = base::ToLower(question.sni);
  route::Facts facts;
  facts.listener = listener->name;
  facts.protocol = listener->protocol;
  if (question.client) facts.client = *question.client;
  facts.sni = sni;
  facts.user_key = run->user_key;
  facts.recipient_key = run->recipient_key;
  run->query = std::make_unique<session::RouteQuery>(run->parts, recorder_, loop_, *route, facts,
                                                     std::nullopt);
  const auto tell = [this, run](const route::Decision& decision) {
    const base::Result<Explanation> made = Finish(*run, decision);
    std::list<Run> ended;
    ended.splice(ended.end(), running_, run);
    ended.front().done(made);
  };
  if (const auto decision = run->query->Start(tell)) tell(*decision);
}

Explanation Explainer::Finish(const Run& run, const route::Decision& decision) {
  const conf::Config& config = *run.parts->config;
  Explanation made;
  made.key = run.key();
  for (route::Tried& tried : run.query->Explain())
    made.rules.push_back({config.routes[decision.route].name, std::string(tried.rule),
                          std::move(tried.why), tried.matched});
  const std::vector<route::Answered>& answers = run.query->answers();
  const route::Answered* answered = decision.answer;
  if (answered == nullptr && !answers.empty()) answered = &answers.back();
  if (answered != nullptr) {
    const io::LookupAnswer& answer = answered->answer;
    made.directory = {config.directories[answered->directory].name, answer.value, answer.why,
                      answer.age, answer.is_stale};
  }
  if (decision.kind == Kind::kRefused) {
    // Not by the directory: it was not asked, and the rule has decided nothing.
    made.rules.back().matched = false;
    made.rules.back().why = made.directory->why;
    made.directory->age.reset();
  }
  if (decision.kind == Kind::kPool) made.pool = config.pools[decision.index].name;
  const balance::Home* home = session::HomeOf(*run.parts, decision, run.listener.protocol);
  if (home == nullptr) {
    made.answer = AnswerOf(decision, GoesByRecipient(run.listener.protocol));
  } else {
    Choose(run, *home, made);
    if (run.listener.protocol == conf::Protocol::kSmtp)
      made.mixed = {decision.relay ? config.pools[*decision.relay].name : ""};
  }
  return made;
}

const balance::Endpoint* Explainer::HolderOf(const Run& run, const balance::Home& home) const {
  if (!home.is_exclusive) return nullptr;
  const std::string holder = pins_.HolderOf(home.name, run.key());
  for (const balance::Endpoint* member : home.members)
    if (member->backend->name == holder &&
        member->state->health.load(std::memory_order_relaxed) != balance::Health::kDown)
      return member;
  return nullptr;
}

// As sessions choose; whose name is not resolved is passed over.
void Explainer::Choose(const Run& run, const balance::Home& home, Explanation& made) {
  const std::shared_ptr<const health::HealthReport> report = health_now_();
  const base::MonoTime now = loop_.Now();
  for (const balance::Endpoint* member : home.members)
    made.candidates.push_back({member->backend->name, TierOf(home, member),
                               balance::WeightOf(*member),
                               member->state->health.load(std::memory_order_relaxed),
                               ReasonOf(home, *member, *report, now)});
  if (const balance::Endpoint* holder = HolderOf(run, home)) {
    if (holder->state->admin.load(std::memory_order_relaxed) != balance::AdminState::kMaintenance) {
      made.choice = holder->backend->name;
      for (Explanation::Candidate& candidate : made.candidates)
        if (candidate.backend == made.choice) candidate.reason += "; has the user's sessions";
    } else {
      made.answer = TempFail(false, "", holder->backend->name + " has the user's sessions");
    }
    return;
  }
  std::string key;
  switch (balance::KeyPartOf(home)) {
    case balance::KeyPart::kNone:
      break;
    case balance::KeyPart::kName:
      key = run.key();
      break;
    case balance::KeyPart::kClient:
      if (!run.client) {
        made.answer = "it hangs on the client's address";
        return;
      }
      key = balance::ClientKey(*run.client);
      break;
  }
  std::vector<balance::EndpointId> passed_over;
  while (const balance::Endpoint* endpoint = picker_.Pick(home, key, passed_over, now)) {
    if (HasAddress(*endpoint)) {
      made.choice = endpoint->backend->name;
      return;
    }
    passed_over.push_back(endpoint->id);
  }
  made.answer = TempFail(
      GoesByRecipient(run.listener.protocol), "",
      home.members.empty() ? "nobody there serves this protocol" : "no endpoint can take it now");
}

std::string AsJson(const Explanation& explanation) {
  std::string out;
  JsonObject json(out);
  json.Text("key", explanation.key);
  json.Raw("rules", AsArray(explanation.rules, [](JsonObject& its, const auto& rule) {
             its.Text("route", rule.route);
             its.Text("rule", rule.rule);
             its.Bool("matched", rule.matched);
             its.Text("why", rule.why);
           }));
  std::string directory = "null";
  if (explanation.directory) {
    const Explanation::Directory& said = *explanation.directory;
    std::optional<double> age_seconds;
    if (said.age) age_seconds = base::Seconds(*said.age);
    directory.clear();
    JsonObject its(directory);
    its.Text("name", said.name);
    its.TextOrNull("answer", said.answer);
    its.Number("age_seconds", age_seconds);
    its.Bool("stale", said.is_stale);
    its.Text("why", said.why);
    its.End();
  }
  json.Raw("directory", directory);
  json.TextOrNull("pool", explanation.pool);
  if (explanation.mixed && explanation.mixed->relay.empty()) json.Text("mixed", "defer");
  if (explanation.mixed && !explanation.mixed->relay.empty()) {
    std::string mixed;
    JsonObject its(mixed);
    its.Text("relay", explanation.mixed->relay);
    its.End();
    json.Raw("mixed", mixed);
  }
  json.Raw("candidates", AsArray(explanation.candidates, [](JsonObject& its, const auto& one) {
             its.Text("backend", one.backend);
             its.Number("tier", static_cast<double>(one.tier));
             its.Number("weight", one.weight);
             its.Text("state", health::Name(one.health));
             its.Text("reason", one.reason);
           }));
  json.TextOrNull("choice", explanation.choice);
  json.TextOrNull("answer", explanation.answer);
  json.End();
  return out;
}

}  // namespace postern::daemon
