// query_cache: what a directory across the network is spared: it is asked once for many, its
// answers are remembered, and it is left alone while it fails.
//
// A question is answered by the first of these that can: an answer younger than its lifetime; the
// same question under way, whose answer all get; the directory itself. Where that fails, or is not
// asked because it has failed too often (breaker), a home that is past its lifetime serves for
// `stale` more, marked so; "nobody of this name" never does. A directory's refusal is no failure,
// and is never remembered. Questions with a login are passed through: their answers hang on the
// password, so they are neither remembered nor shared. The breaker holds for them too.
// Who loses interest destroys the Lookup; the last one who does ends the question, so that there
// are never more of them than sessions that wait.
//
// Limits:   entries (the one not used for longest goes), bytes of a key and of an answer that are
//           remembered: about 250 bytes an entry besides them.
// Thread:   its worker's; each worker has its own.
// Tests:    test/directory/query_cache_test.cc, test/directory/query_cache_faults_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "lb/directory/breaker.h"
#include "lb/io/lookup.h"
#include "lb/io/loop.h"

namespace postern::directory {

struct CacheSettings {
  base::Duration hit = std::chrono::seconds(60);   // lifetime of an answer
  base::Duration miss = std::chrono::seconds(10);  // of "there is nobody of this name"
  base::Duration stale = std::chrono::hours(1);    // after a hit's
  size_t max_entries = 50'000;
  size_t max_key_bytes = 512;  // longer ones are passed through
  size_t max_answer_bytes = 1024;
  BreakerSettings breaker;
};

// Since the directory was made.
struct CacheCounters {
  uint64_t hits = 0;       // questions answered from memory, within their lifetime
  uint64_t misses = 0;     // put to the directory
  uint64_t coalesced = 0;  // that waited for another's question
  uint64_t stale = 0;      // answered past their lifetime
  uint64_t failures = 0;   // of those put to the directory
  uint64_t cut_short = 0;  // not put to it because the breaker was open
  uint64_t breaker_opened = 0;
  uint64_t evicted = 0;
  bool is_breaker_open = false;
};

class CachedDirectory final : public io::Directory {
 public:
  // The loop outlives this. Lookups of it may do so too: they are never answered then.
  CachedDirectory(const io::Loop& loop, std::unique_ptr<io::Directory> inner,
                  const CacheSettings& settings);
  ~CachedDirectory() override;

  [[nodiscard]] std::optional<io::LookupAnswer> Ask(const io::LookupQuery& query, Done done,
                                                    std::unique_ptr<io::Lookup>& pending) override;

  [[nodiscard]] CacheCounters counters() const;
  [[nodiscard]] size_t num_entries() const { return entries_.size(); }
  [[nodiscard]] size_t num_under_way() const { return flights_.size(); }

 private:
  using Kind = io::LookupAnswer::Kind;
  struct Entry {
    std::string key;
    std::string value;
    std::string user;
    Kind kind;  // kFound or kUnknown
    base::MonoTime said;
    base::MonoTime expires;
  };
  struct Flight;
  class Waiter;

  // The entry, now the last one to go; null: there is none that could still serve.
  [[nodiscard]] Entry* FindEntry(std::string_view key, base::MonoTime now);
  [[nodiscard]] base::MonoTime EndOf(const Entry& entry) const;
  void Remember(std::string_view key, const io::LookupAnswer& answer, base::MonoTime now);
  void Forget(std::string_view key);
  // Stale if its time is over.
  [[nodiscard]] static io::LookupAnswer AnswerOf(const Entry& entry, base::MonoTime now,
                                                 std::string why);

  // Draws the consequences of the directory's answer; returns what the num_waiting are told.
  [[nodiscard]] io::LookupAnswer Conclude(const Flight& flight, const io::LookupAnswer& answer,
                                          size_t num_waiting);
  void Settle(Flight& flight, const io::LookupAnswer& answer);
  void Abandon(Flight& flight);
  // Takes it from what is under way.
  [[nodiscard]] std::list<Flight> TakeOut(Flight& flight);
  [[nodiscard]] std::string WhyNotAsked(base::MonoTime now) const;

  const io::Loop& loop_;
  const CacheSettings settings_;
  std::unique_ptr<io::Directory> inner_;
  Breaker breaker_;
  std::string last_failure_;
  CacheCounters counters_;
  std::list<Entry> entries_;  // the one used last in front
  std::unordered_map<std::string_view, std::list<Entry>::iterator> entry_of_key_;
  std::list<Flight> flights_;                                    // questions put to inner_
  std::unordered_map<std::string_view, Flight*> flight_of_key_;  // those that may be shared
};

}  // namespace postern::directory
