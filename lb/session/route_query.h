// route_query: one user's, or one recipient's, way through the rules of a route: decides, asks the
// directory that the decision hangs on, decides again.
//
// Sessions and `postern explain` both go this way.
// Owner:    who asks.   Thread: its loop's.
// Tests:    test/session/route_query_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lb/io/lookup.h"
#include "lb/proto/sasl.h"
#include "lb/route/router.h"
#include "lb/session/session_env.h"

namespace postern::session {

class RouteQuery {
 public:
  using Done = std::function<void(const route::Decision& decision)>;

  // route: an index of the router's. facts: what they point to is copied. login: only auth_http is
  // told of it; what it points to must live until the end. Without it auth_http is not asked (its
  // server would count a login that failed): the decision is kRefused where that is to be asked.
  // known: what directories of the same parts have said already.
  RouteQuery(std::shared_ptr<const Parts> parts, metrics::Recorder& recorder, io::Loop& loop,
             uint32_t route, const route::Facts& facts, std::optional<io::LoginFacts> login,
             std::vector<route::Answered> known = {});
  RouteQuery(const RouteQuery&) = delete;
  RouteQuery& operator=(const RouteQuery&) = delete;

  // What is decided, where no directory lets one wait. Else nothing; then done is called from the
  // loop, once, unless this was destroyed before. done may destroy it. What the decision points to
  // lives as long as this. Never kAsk.
  [[nodiscard]] std::optional<route::Decision> Start(Done done);

  // Every rule looked at, in words; of the last decision.
  [[nodiscard]] std::vector<route::Tried> Explain() const;
  [[nodiscard]] const std::vector<route::Answered>& answers() const { return answers_; }

 private:
  struct Uncounted {
    uint32_t directory;
    metrics::LookupResult result;
    std::optional<base::Duration> took;
  };

  // Nothing: a directory has been asked.
  [[nodiscard]] std::optional<route::Decision> GoOn();
  // A directory has named an address that is no endpoint's.
  [[nodiscard]] bool IsNowhere(const route::Decision& decision) const;
  void Void(const route::Answered& answered, std::string_view address);
  void OnAnswer(uint32_t directory, io::LookupAnswer answer);
  void Take(uint32_t directory, io::LookupAnswer answer);
  // The answer that was taken last, if it is not counted yet: only the decision says whether it was
  // any use.
  void Count(const route::Answered* useless);
  [[nodiscard]] route::Decision Decide(std::vector<route::Tried>* explanation) const;

  const std::shared_ptr<const Parts> parts_;
  metrics::Recorder& recorder_;
  io::Loop& loop_;
  const uint32_t route_;
  const std::string listener_, sni_, user_key_, recipient_key_;
  route::Facts facts_;
  const std::optional<io::LoginFacts> login_;
  std::vector<route::Answered> answers_;
  std::optional<Uncounted> uncounted_;
  base::MonoTime asked_at_{};
  std::unique_ptr<io::Lookup> lookup_;
  Done done_;
};

// Mechanism, user and password of a login; null: nobody has logged in.
void SetLogin(io::LoginFacts& facts, const proto::LoginRequest* login);

// The home that was decided for; null: none was.
[[nodiscard]] const balance::Home* HomeOf(const Parts& parts, const route::Decision& decision,
                                          conf::Protocol listener);

// Into postern_route_decisions_total. home: HomeOf.
void CountDecision(metrics::Recorder& recorder, const Parts& parts, const route::Decision& decision,
                   const balance::Home* home);

}  // namespace postern::session
