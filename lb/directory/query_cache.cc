// query_cache: entries, flights (questions put to the directory) and those who wait for them.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/query_cache.h"

#include <cmath>
#include <utility>

#include "lb/base/check.h"

namespace postern::directory {
namespace {
constexpr size_t kMaxFailureBytes = 256;
}  // namespace

struct CachedDirectory::Flight {
  CachedDirectory& owner;
  std::string key;  // empty unless it is shared
  bool is_shared;
  Breaker::Pass pass;
  bool is_settled = false;  // its owner does not know it any more
  std::unique_ptr<io::Lookup> inner;
  std::list<Waiter*> waiters;
  std::list<Flight>::iterator self;
};

class CachedDirectory::Waiter final : public io::Lookup {
 public:
  Waiter(Flight& flight, Done done) : flight_(&flight), done_(std::move(done)) {
    place_ = flight.waiters.insert(flight.waiters.end(), this);
  }
  ~Waiter() override {
    if (flight_ == nullptr) return;
    flight_->waiters.erase(place_);
    if (flight_->waiters.empty() && !flight_->is_settled) flight_->owner.Abandon(*flight_);
  }
  // Leaves the flight. The caller calls what is returned: it may destroy this.
  [[nodiscard]] Done Leave() {
    flight_->waiters.erase(place_);
    flight_ = nullptr;
    return std::move(done_);
  }

 private:
  Flight* flight_;  // null: answered, or never to be
  Done done_;
  std::list<Waiter*>::iterator place_;
};

CachedDirectory::CachedDirectory(const io::Loop& loop, std::unique_ptr<io::Directory> inner,
                                 const CacheSettings& settings)
    : loop_(loop), settings_(settings), inner_(std::move(inner)), breaker_(settings.breaker) {
  POSTERN_CHECK(inner_ != nullptr);
}

CachedDirectory::~CachedDirectory() {
  for (Flight& flight : flights_)
    while (!flight.waiters.empty()) (void)flight.waiters.front()->Leave();
}

CacheCounters CachedDirectory::counters() const {
  CacheCounters counters = counters_;
  counters.breaker_opened = breaker_.num_opened();
  counters.is_breaker_open = breaker_.is_open();
  return counters;
}

std::optional<io::LookupAnswer> CachedDirectory::Ask(const io::LookupQuery& query, Done done,
                                                     std::unique_ptr<io::Lookup>& pending) {
  const base::MonoTime now = loop_.Now();
  const bool is_shared = query.login == nullptr && query.key.size() <= settings_.max_key_bytes;
  const Entry* const entry = is_shared ? FindEntry(query.key, now) : nullptr;
  if (entry != nullptr && now < entry->expires) {
    ++counters_.hits;
    return AnswerOf(*entry, now, "");
  }
  const auto found = is_shared ? flight_of_key_.find(query.key) : flight_of_key_.end();
  const bool is_under_way = found != flight_of_key_.end();
  // Who has a stale answer does not wait for a directory that is known to fail.
  if (is_under_way && !(entry != nullptr && breaker_.is_open())) {
    ++counters_.coalesced;
    pending = std::make_unique<Waiter>(*found->second, std::move(done));
    return std::nullopt;
  }
  const Breaker::Pass pass = is_under_way ? Breaker::Pass::kNo : breaker_.Enter(now);
  if (pass == Breaker::Pass::kNo) {
    ++counters_.cut_short;
    if (entry != nullptr) {
      ++counters_.stale;
      return AnswerOf(*entry, now, WhyNotAsked(now));
    }
    io::LookupAnswer answer;
    answer.why = WhyNotAsked(now);
    answer.was_not_asked = true;
    return answer;
  }
  ++counters_.misses;
  Flight& flight = flights_.emplace_front(Flight{*this,
                                                 is_shared ? std::string(query.key) : std::string(),
                                                 is_shared,
                                                 pass,
                                                 false,
                                                 nullptr,
                                                 {},
                                                 {}});
  flight.self = flights_.begin();
  if (is_shared) flight_of_key_.emplace(flight.key, &flight);
  const auto answer = inner_->Ask(
      query, [this, &flight](const io::LookupAnswer& later) { Settle(flight, later); },
      flight.inner);
  if (answer) {
    const std::list<Flight> settled = TakeOut(flight);
    return Conclude(flight, *answer, 1);
  }
  pending = std::make_unique<Waiter>(flight, std::move(done));
  return std::nullopt;
}

void CachedDirectory::Settle(Flight& flight, const io::LookupAnswer& answer) {
  const std::list<Flight> settled = TakeOut(flight);
  const io::LookupAnswer told = Conclude(flight, answer, flight.waiters.size());
  flight.inner.reset();  // what follows may be the end of everything but `settled`
  while (!flight.waiters.empty()) {
    const Done done = flight.waiters.front()->Leave();
    done(told);
  }
}

io::LookupAnswer CachedDirectory::Conclude(const Flight& flight, const io::LookupAnswer& answer,
                                           size_t num_waiting) {
  const base::MonoTime now = loop_.Now();
  if (answer.kind != Kind::kFailed) {
    breaker_.OnAnswer();
    if (flight.is_shared && !answer.is_stale) Remember(flight.key, answer, now);
    return answer;
  }
  ++counters_.failures;
  if (answer.is_of_question) {
    breaker_.OnAnswer();
  } else if (answer.was_not_asked) {
    breaker_.OnAbandoned(flight.pass);
  } else {
    breaker_.OnFailure(now, flight.pass);
  }
  last_failure_ = answer.why.substr(0, kMaxFailureBytes);
  const Entry* const entry = flight.is_shared ? FindEntry(flight.key, now) : nullptr;
  if (entry == nullptr) return answer;
  counters_.stale += num_waiting;
  return AnswerOf(*entry, now, answer.why);
}

void CachedDirectory::Abandon(Flight& flight) {
  breaker_.OnAbandoned(flight.pass);
  (void)TakeOut(flight);
}

std::list<CachedDirectory::Flight> CachedDirectory::TakeOut(Flight& flight) {
  if (flight.is_shared) flight_of_key_.erase(flight.key);
  flight.is_settled = true;
  std::list<Flight> taken;
  taken.splice(taken.begin(), flights_, flight.self);
  return taken;
}

// Until when it may serve. Nobody is unknown for longer than the directory has said: who has been
// added meanwhile would fall through to another rule, or bounce.
base::MonoTime CachedDirectory::EndOf(const Entry& entry) const {
  return entry.kind == Kind::kFound ? entry.expires + settings_.stale : entry.expires;
}

CachedDirectory::Entry* CachedDirectory::FindEntry(std::string_view key, base::MonoTime now) {
  const auto found = entry_of_key_.find(key);
  if (found == entry_of_key_.end()) return nullptr;
  const auto entry = found->second;
  if (now >= EndOf(*entry)) {
    entry_of_key_.erase(found);
    entries_.erase(entry);
    return nullptr;
  }
  entries_.splice(entries_.begin(), entries_, entry);
  return &*entry;
}

void CachedDirectory::Remember(std::string_view key, const io::LookupAnswer& answer,
                               base::MonoTime now) {
  Forget(key);
  const bool is_rememberable = answer.kind == Kind::kFound || answer.kind == Kind::kUnknown;
  if (!is_rememberable || settings_.max_entries == 0 ||
      answer.value.size() + answer.user.size() > settings_.max_answer_bytes)
    return;
  const base::MonoTime said = now - answer.age;
  const base::MonoTime expires =
      said + (answer.kind == Kind::kFound ? settings_.hit : settings_.miss);
  if (now >= expires + (answer.kind == Kind::kFound ? settings_.stale : base::Duration::zero()))
    return;
  if (entries_.size() >= settings_.max_entries) {
    ++counters_.evicted;
    Forget(std::string(entries_.back().key));
  }
  entries_.push_front({std::string(key), answer.value, answer.user, answer.kind, said, expires});
  entry_of_key_.emplace(entries_.front().key, entries_.begin());
}

void CachedDirectory::Forget(std::string_view key) {
  const auto found = entry_of_key_.find(key);
  if (found == entry_of_key_.end()) return;
  const auto entry = found->second;
  entry_of_key_.erase(found);
  entries_.erase(entry);
}

io::LookupAnswer CachedDirectory::AnswerOf(const Entry& entry, base::MonoTime now,
                                           std::string why) {
  io::LookupAnswer answer;
  answer.kind = entry.kind;
  answer.value = entry.value;
  answer.user = entry.user;
  answer.why = std::move(why);
  answer.age = now - entry.said;
  answer.is_stale = now >= entry.expires;
  answer.is_cached = true;
  return answer;
}

std::string CachedDirectory::WhyNotAsked(base::MonoTime now) const {
  const auto seconds = static_cast<int64_t>(std::ceil(base::Seconds(breaker_.Remaining(now))));
  std::string when =
      seconds > 0 ? "for " + std::to_string(seconds) + " s more" : "until it answers";
  return "not asked " + when + ", since it fails: " + last_failure_;
}

}  // namespace postern::directory
