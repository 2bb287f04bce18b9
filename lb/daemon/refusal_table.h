// refusal_table: backends' refusals of recipients of which their senders have not heard yet: each
// is said at the sender's next RCPT (smtp.commit after_data). Who may hear it is up to whoever puts
// it here.
//
// One mutex: held for a lookup, on listeners of that mode only, and only while there is something
// to be found.
// Limits:   kMaxEntries, the oldest go first; kMaxKeyBytes; each for kLife at most.
// Owner:    the process; stands over reloads.
// Thread:   any.
// Tests:    test/daemon/refusal_table_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "lb/base/clock.h"

namespace postern::daemon {

class RefusalTable {
 public:
  static constexpr size_t kMaxEntries = 10'000;
  static constexpr size_t kMaxKeyBytes = 1000;  // two addresses of RFC 5321 have 512
  static constexpr base::Duration kLife = std::chrono::hours(24);

  // Replaces what was remembered of the key. A key that is too long is not remembered.
  void Remember(const std::string& key, std::string_view reply, base::MonoTime now);
  // Forgets it, too; empty: none.
  [[nodiscard]] std::string Recall(const std::string& key, base::MonoTime now);

  [[nodiscard]] size_t size() const { return size_.load(std::memory_order_relaxed); }

 private:
  struct Entry {
    std::string key, reply;
    base::MonoTime since;
  };
  using Entries = std::list<Entry>;
  void Forget(Entries::iterator entry);

  std::mutex mutex_;
  Entries entries_;  // guarded, as the index: as they came
  std::unordered_map<std::string_view, Entries::iterator> index_;  // by Entry::key
  std::atomic<size_t> size_{0};
};

}  // namespace postern::daemon
