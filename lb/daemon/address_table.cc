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
  if (!stripe.entries.contains(ip)) MakeRoom(stripe);
  Entry& entry = stripe.entries[ip];
  if (entry.sessions >= max) return Admission::kOverLimit;
  ++entry.sessions;
  return Admission::kAdmitted;
}

void AddressTable::Leave(const base::IpAddress& ip) {
  Stripe& stripe = StripeOf(ip);
  const std::lock_guard lock(stripe.mutex);
  const auto it = stripe.entries.find(ip);
  POSTERN_CHECK(it != stripe.entries.end() && it->second.sessions > 0);
  if (--it->second.sessions == 0 && it->second.failures.empty()) stripe.entries.erase(it);
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
  if (!stripe.entries.contains(ip)) MakeRoom(stripe);
  Entry& entry = stripe.entries[ip];
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
  if (it->second.sessions == 0 && it->second.failures.empty()) stripe.entries.erase(it);
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

// Only entries that merely remember failures can go; those with sessions are bounded by
// limits.sessions.
void AddressTable::MakeRoom(Stripe& stripe) {
  if (stripe.entries.size() < kMaxPerStripe) return;
  auto oldest = stripe.entries.end();
  base::MonoTime oldest_time = base::MonoTime::max();
  for (auto it = stripe.entries.begin(); it != stripe.entries.end(); ++it) {
    if (it->second.sessions > 0) continue;
    base::MonoTime last = base::MonoTime::min();
    for (const Failure& failure : it->second.failures) last = std::max(last, failure.last);
    if (last >= oldest_time) continue;
    oldest_time = last;
    oldest = it;
  }
  if (oldest != stripe.entries.end()) stripe.entries.erase(oldest);
}

}  // namespace postern::daemon
