// plan: names in, ways out, a bounded number of them at a time.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/plan.h"

#include "lb/base/bytes.h"
#include "lb/daemon/explain.h"
#include "lb/proto/sasl.h"
#include "lb/proto/smtp_grammar.h"
#include "lb/session/route_query.h"

namespace postern::daemon {
namespace {

using Kind = route::Decision::Kind;

const conf::Listener* FindListener(const session::Parts& side, const std::string& name) {
  for (const conf::Listener& listener : side.config->listeners)
    if (listener.name == name) return &listener;
  return nullptr;
}

PlannedWay WayOf(const session::Parts& side, conf::Protocol protocol,
                 const route::Decision& decision) {
  PlannedWay way;
  const conf::Route& route = side.config->routes[decision.route];
  way.route = route.name;
  if (decision.kind != Kind::kUnknown) way.rule = route.rules[decision.rule].name;
  const balance::Home* home = session::HomeOf(side, decision, protocol);
  if (home != nullptr) {
    way.home = home->name;
    return way;
  }
  way.answer = AnswerOf(decision, GoesByRecipient(protocol));
  way.is_known = decision.kind != Kind::kRefused && decision.kind != Kind::kAddress &&
                 (decision.kind != Kind::kTempFail || decision.why.empty());
  return way;
}

}  // namespace

struct Plan::Asked {
  PlannedName name;
  std::unique_ptr<session::RouteQuery> now, then;
  size_t num_waiting = 0;
};

Plan::Plan(io::Loop& loop, metrics::Recorder& recorder, Sides sides, PlanQuestion question,
           std::istream& names, Ear ear)
    : loop_(loop),
      recorder_(recorder),
      sides_(std::move(sides)),
      question_(std::move(question)),
      names_(names),
      ear_(std::move(ear)) {}

Plan::~Plan() = default;

std::string Plan::Fault() const {
  for (const auto& side : {sides_.now, sides_.then}) {
    if (side == nullptr) continue;
    const std::string which = side == sides_.now ? "the configuration" : "the other configuration";
    const conf::Listener* listener = FindListener(*side, question_.listener);
    if (listener == nullptr) return which + " has no listener \"" + question_.listener + "\"";
    if (listener->protocol == conf::Protocol::kTcp)
      return "listener \"" + question_.listener + "\" is of protocol tcp: it knows no names";
    if (!side->router->FindRoute(listener->route))
      return "in " + which + " listener \"" + question_.listener + "\" has no route";
  }
  return "";
}

void Plan::Start() {
  Pump();
}

std::optional<std::string> Plan::NextName() {
  const auto is_bad = [this](const std::string& why) {
    ++totals_.num_bad_lines;
    ear_.on_bad_line(names_.line(), why);
  };
  std::string name;
  while (!has_ended_) {
    switch (names_.Next(name)) {
      case conf::NameList::Read::kEnd:
        has_ended_ = true;
        break;
      case conf::NameList::Read::kBroken:
        is_bad("it cannot be read from here on");
        break;
      case conf::NameList::Read::kTooLong:
        is_bad("the line is longer than " + std::to_string(conf::NameList::kMaxLineBytes) +
               " bytes");
        break;
      case conf::NameList::Read::kName: {
        const std::string why = WhyUnusable(name);
        if (why.empty()) return name;
        is_bad(why);
        break;
      }
    }
  }
  return std::nullopt;
}

// Empty: the name can be said in the protocol, and be asked about; else why not.
std::string Plan::WhyUnusable(const std::string& name) const {
  if (GoesByRecipient(FindListener(*sides_.now, question_.listener)->protocol)) {
    const std::string args = "TO:<" + name + ">";
    const proto::SmtpPath path = proto::ParseRcptArgs(args);
    if (path.error != proto::SmtpPath::Error::kNone || path.address != name)
      return "this is no address of a recipient";
  } else if (!proto::IsUsableUser(name)) {
    return "no user can have this name";
  }
  for (const auto& side : {sides_.now, sides_.then})
    if (side != nullptr && side->user_key->Key(name).empty())
      return "nothing is left of it by what \"users\" says";
  return "";
}

void Plan::Ask(Asked& asked, const session::Parts& side, bool is_then) {
  const conf::Listener& listener = *FindListener(side, question_.listener);
  const std::string key = side.user_key->Key(asked.name.name);
  const std::string sni = base::ToLower(question_.sni);
  route::Facts facts;
  facts.listener = listener.name;
  facts.protocol = listener.protocol;
  if (question_.client) facts.client = *question_.client;
  facts.sni = sni;
  (GoesByRecipient(listener.protocol) ? facts.recipient_key : facts.user_key) = key;
  const auto& shared = is_then ? sides_.then : sides_.now;
  auto& query = is_then ? asked.then : asked.now;
  query = std::make_unique<session::RouteQuery>(
      shared, recorder_, loop_, *side.router->FindRoute(listener.route), facts, std::nullopt);
  const auto take = [&asked, &side, is_then,
                     protocol = listener.protocol](const route::Decision& decision) {
    PlannedWay way = WayOf(side, protocol, decision);
    (is_then ? asked.then : asked.now).reset();
    if (is_then) {
      asked.name.then = std::move(way);
    } else {
      asked.name.now = std::move(way);
    }
  };
  const auto decision = query->Start([this, &asked, take](const route::Decision& late) {
    take(late);
    --asked.num_waiting;
    Pump();
  });
  if (decision) {
    take(*decision);
  } else {
    ++asked.num_waiting;
  }
}

void Plan::Pump() {
  if (is_pumping_) return;
  is_pumping_ = true;
  while (true) {
    while (!asked_.empty() && asked_.front()->num_waiting == 0) {
      const PlannedName& name = asked_.front()->name;
      ++totals_.num_names;
      if (!name.is_known()) ++totals_.num_unknown;
      if (name.is_moved()) ++totals_.num_moved;
      if (name.is_known())
        ++totals_.pairs[{name.now.home, name.then ? name.then->home : std::string()}];
      ear_.on_name(name);
      asked_.pop_front();
    }
    if (asked_.size() == kMaxAsked) break;
    std::optional<std::string> name = NextName();
    if (!name) break;
    Asked& asked = *asked_.emplace_back(std::make_unique<Asked>());
    asked.name.name = std::move(*name);
    Ask(asked, *sides_.now, false);
    if (sides_.then != nullptr) Ask(asked, *sides_.then, true);
  }
  is_pumping_ = false;
  if (has_ended_ && asked_.empty()) ear_.on_done();
}

}  // namespace postern::daemon
