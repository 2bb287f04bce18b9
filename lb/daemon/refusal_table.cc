// refusal_table: refusals of recipients of which their senders have not heard yet.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/refusal_table.h"

#include <iterator>
#include <utility>

namespace postern::daemon {

void RefusalTable::Remember(const std::string& key, std::string_view reply, base::MonoTime now) {
  if (key.size() > kMaxKeyBytes) return;
  const std::lock_guard lock(mutex_);
  if (const auto known = index_.find(key); known != index_.end()) Forget(known->second);
  while (!entries_.empty() &&
         (entries_.size() >= kMaxEntries || entries_.front().since + kLife <= now))
    Forget(entries_.begin());
  entries_.push_back({key, std::string(reply), now});
  index_.emplace(entries_.back().key, std::prev(entries_.end()));
  size_.store(entries_.size(), std::memory_order_relaxed);
}

std::string RefusalTable::Recall(const std::string& key, base::MonoTime now) {
  if (size() == 0) return "";
  const std::lock_guard lock(mutex_);
  const auto known = index_.find(key);
  if (known == index_.end()) return "";
  const auto entry = known->second;
  std::string reply;
  if (entry->since + kLife > now) reply = std::move(entry->reply);
  Forget(entry);
  return reply;
}

void RefusalTable::Forget(Entries::iterator entry) {
  index_.erase(entry->key);
  entries_.erase(entry);
  size_.store(entries_.size(), std::memory_order_relaxed);
}

}  // namespace postern::daemon
