// explain: where a session, or a recipient, would go now, and why: for the API and `postern
// explain`.
//
// The rules, directories and choices are those of sessions (session::RouteQuery, balance::Picker),
// on the control thread's own directories. A choice by turns, or drawn by weight, is one that a
// session might meet, not the next one's. Lookups are counted as sessions' are, decisions not.
// Does not: know whether a client or user is locked out, or a password right.
// Owner:    the process.   Thread: control.
// Tests:    test/daemon/explain_test.cc, test/integration/
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "health/report.h"
#include "lb/balance/picker.h"
#include "lb/balance/pins.h"
#include "lb/base/address.h"
#include "lb/base/clock.h"
#include "lb/base/result.h"
#include "lb/base/rng.h"
#include "lb/io/loop.h"
#include "lb/session/session_env.h"
#include "metrics/recorder.h"

namespace postern::daemon {

// Empty: not known. Of user and recipient, an smtp or lmtp listener goes by the recipient where
// both are known, the others by the user.
struct RouteQuestion {
  std::string listener{};
  std::string user{}, recipient{}, sni{};
  std::optional<base::IpAddress> client{};
};

struct Explanation {
  struct Rule {
    std::string route, rule, why;
    bool matched = false;  // it has decided
  };
  // That decided, or else was asked last.
  struct Directory {
    std::string name, answer, why;      // answer: empty where it has none
    std::optional<base::Duration> age;  // nothing: it has not been asked
    bool is_stale = false;
  };
  struct Candidate {
    std::string backend;
    size_t tier = 0;  // from 1; later ones take work when earlier ones cannot
    double weight = 0;
    balance::Health health = balance::Health::kUp;
    std::string reason;
  };
  std::string key;  // the canonical user or recipient
  std::vector<Rule> rules;
  std::optional<Directory> directory;
  std::string pool;  // empty: none, or a backend without one
  // Of a recipient with a home: what becomes of others of its transaction who live elsewhere.
  struct Mixed {
    std::string relay;  // a pool; empty: they are deferred
  };
  std::optional<Mixed> mixed;
  std::vector<Candidate> candidates;
  std::string choice;  // a backend
  std::string answer;  // without a choice: what the client hears, or why there is none
};
// As the API answers.
[[nodiscard]] std::string AsJson(const Explanation& explanation);

// What mail goes to is its recipient's home, known before any user is.
[[nodiscard]] bool GoesByRecipient(conf::Protocol protocol);
// What the client gets, for want of a home.
[[nodiscard]] std::string AnswerOf(const route::Decision& decision, bool is_by_recipient);

class Explainer {
 public:
  using Done = std::function<void(const base::Result<Explanation>& made)>;
  using HealthNow = std::function<std::shared_ptr<const health::HealthReport>()>;

  // All of them outlive this; health_now never says null.
  Explainer(io::Loop& loop, metrics::Recorder& recorder, base::Rng& rng, const balance::Pins& pins,
            HealthNow health_now);
  ~Explainer();
  Explainer(const Explainer&) = delete;
  Explainer& operator=(const Explainer&) = delete;

  // Of the snapshot in force, with directories of this thread; what is being asked goes on with
  // what it began with.
  void Use(std::shared_ptr<const session::Parts> parts) { parts_ = std::move(parts); }
  // done: once, at once or later, as long as this lives. An error: the question cannot be asked.
  void Explain(const RouteQuestion& question, Done done);

 private:
  struct Run;
  [[nodiscard]] Explanation Finish(const Run& run, const route::Decision& decision);
  void Choose(const Run& run, const balance::Home& home, Explanation& made);
  // Of an exclusive pool, where the user's sessions are; null: anybody may have it.
  [[nodiscard]] const balance::Endpoint* HolderOf(const Run& run, const balance::Home& home) const;

  io::Loop& loop_;
  metrics::Recorder& recorder_;
  const balance::Pins& pins_;
  HealthNow health_now_;
  // Starts and ends no work: its worker's number is of no account.
  balance::Picker picker_;
  std::shared_ptr<const session::Parts> parts_;
  std::list<Run> running_;  // those that a directory lets wait
};

}  // namespace postern::daemon
