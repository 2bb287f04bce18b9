// address_table: sessions and failed logins by client address.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/address_table.h"

#include <algorithm>

#include "lb/base/check.h"
#include "lb/base/rng.h"

namespace postern::daemon {
namespace {
uint64_t HashUser(const std::string& user) {
  return base::StableHash(user.data(), user.size(), 0);
}
}  // namespace

AddressTable::Stripe& AddressTable::StripeOf(const base::IpAddress& ip) {
  return stripes_[std::hash<base::IpAddress>()(ip) % kStripes];
}

AddressTable::Admission AddressTable::Enter(const base::IpAddress& ip, uint64_t max) {
  Stripe& stripe = StripeOf(ip);
  const std::lock_guard lock(stripe.mutex);
  Entry& entry = Get(stripe, ip);
  if (entry.sessions >= max) return Admission::kOverLimit;
  ++entry.sessions;
  return Admission::kAdmitted;
}

void AddressTable::Leave(const base::IpAddress& ip) {
  Stripe& stripe = StripeOf(ip);
  const std::lock_guard lock(stripe.mutex);
  const auto it = stripe.entries.find(ip);
  POSTERN_CHECK(it != stripe.entries.end() && it->second.sessions > 0);
  if (--it->second.sessions == 0 && it->second.failures.empty()) Forget(stripe, it);
}

bool AddressTable::IsBlocked(const base::IpAddress& ip, const std::string& user,
                             const conf::Limits& limits, base::MonoTime now) {
  if (base::AnyContains(limits.exempt, ip)) return false;
  Stripe& stripe = StripeOf(ip);
  const std::lock_guard lock(stripe.mutex);
  const auto it = stripe.entries.find(ip);
  if (it == stripe.entries.end()) return false;
  DropOld(it->second, now - limits.auth_failures_window);
  const auto& failures = it->second.failures;
  if (failures.size() >= limits.auth_failures_per_address) return true;
  const uint64_t hash = HashUser(user);
  return std::any_of(failures.begin(), failures.end(), [&](const Failure& failure) {
    return failure.user_hash == hash && failure.count >= limits.auth_failures_per_address;
  });
}

void AddressTable::AuthFailed(const base::IpAddress& ip, const std::string& user,
                              const conf::Limits& limits, base::MonoTime now) {
  if (base::AnyContains(limits.exempt, ip)) return;
  Stripe& stripe = StripeOf(ip);
  const std::lock_guard lock(stripe.mutex);
  Entry& entry = Get(stripe, ip);
  DropOld(entry, now - limits.auth_failures_window);
  const uint64_t hash = HashUser(user);
  for (Failure& failure : entry.failures) {
    if (failure.user_hash != hash) continue;
    ++failure.count;
    failure.last = now;
    return;
  }
  if (entry.failures.size() <
      std::max<size_t>(kMaxUsersRemembered, limits.auth_failures_per_address))
    entry.failures.push_back({hash, 1, now});
}

void AddressTable::AuthSucceeded(const base::IpAddress& ip, const std::string& user) {
  Stripe& stripe = StripeOf(ip);
  const std::lock_guard lock(stripe.mutex);
  const auto it = stripe.entries.find(ip);
  if (it == stripe.entries.end()) return;
  std::erase_if(it->second.failures,
                [hash = HashUser(user)](const Failure& f) { return f.user_hash == hash; });
  if (it->second.sessions == 0 && it->second.failures.empty()) Forget(stripe, it);
}

size_t AddressTable::size() const {
  size_t count = 0;
  for (const Stripe& stripe : stripes_) {
    const std::lock_guard lock(stripe.mutex);
    count += stripe.entries.size();
  }
  return count;
}

void AddressTable::DropOld(Entry& entry, base::MonoTime before) {
  std::erase_if(entry.failures, [before](const Failure& f) { return f.last < before; });
}

AddressTable::Entry& AddressTable::Get(Stripe& stripe, const base::IpAddress& ip) {
  if (const auto it = stripe.entries.find(ip); it != stripe.entries.end()) return it->second;
  if (stripe.entries.size() >= kMaxPerStripe) {
    // Entries with sessions stay: limits.sessions bounds them. They go to the end of the line, so
    // that the next look does not meet them again.
    for (size_t tries = 0; tries < kMaxTries && !stripe.order.empty(); ++tries) {
      const auto oldest = stripe.entries.find(stripe.order.front());
      if (oldest->second.sessions == 0) {
        Forget(stripe, oldest);
        break;
      }
      stripe.order.splice(stripe.order.end(), stripe.order, stripe.order.begin());
    }
  }
  Entry& entry = stripe.entries[ip];
  entry.place = stripe.order.insert(stripe.order.end(), ip);
  return entry;
}

void AddressTable::Forget(Stripe& stripe, Entries::iterator entry) {
  stripe.order.erase(entry->second.place);
  stripe.entries.erase(entry);
}

}  // namespace postern::daemon
