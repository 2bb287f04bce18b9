// address_table: what all workers remember of client addresses: sessions open, logins failed.
//
// Striped by address: one mutex and one map a stripe, held for a lookup, at accept and at the end
// of a session or of a login only. Memory is bounded: an address without sessions is forgotten when
// its failures are older than the window, and a stripe holds at most kMaxPerStripe addresses (the
// oldest failures go first).
// Thread:   any.
// Tests:    test/daemon/address_table_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "conf/config.h"
#include "lb/base/address.h"
#include "lb/base/clock.h"

namespace postern::daemon {

class AddressTable {
 public:
  enum class Admission : uint8_t { kAdmitted, kOverLimit };
  // Counts one session more, unless the address has max already. Pair with Leave.
  [[nodiscard]] Admission Enter(const base::IpAddress& ip, uint64_t max);
  void Leave(const base::IpAddress& ip);

  // True if logins of this user from this address are refused unheard: too many different users
  // failed from there within the window, or this user did, over and over.
  [[nodiscard]] bool IsBlocked(const base::IpAddress& ip, const std::string& user,
                               const conf::Limits& limits, base::MonoTime now);
  void AuthFailed(const base::IpAddress& ip, const std::string& user, const conf::Limits& limits,
                  base::MonoTime now);
  // A good login takes back the user's own failures.
  void AuthSucceeded(const base::IpAddress& ip, const std::string& user);

  [[nodiscard]] size_t size() const;  // addresses remembered, for tests and metrics

 private:
  static constexpr size_t kStripes = 64;
  static constexpr size_t kMaxPerStripe = 4096;
  static constexpr size_t kMaxUsersRemembered = 64;
  static constexpr size_t kMaxTries = 16;

  struct Failure {
    uint64_t user_hash;
    uint32_t count;
    base::MonoTime last;
  };
  struct Entry {
    uint64_t sessions = 0;
    std::vector<Failure> failures;
    std::list<base::IpAddress>::iterator place;  // in Stripe::order
  };
  using Entries = std::unordered_map<base::IpAddress, Entry>;
  struct alignas(64) Stripe {
    mutable std::mutex mutex;
    Entries entries;
    std::list<base::IpAddress> order;  // as they came
  };

  Stripe& StripeOf(const base::IpAddress& ip);
  static void DropOld(Entry& entry, base::MonoTime before);
  // Finds, or makes, the entry; at the bound an older one without sessions goes.
  static Entry& Get(Stripe& stripe, const base::IpAddress& ip);
  static void Forget(Stripe& stripe, Entries::iterator entry);

  std::array<Stripe, kStripes> stripes_;
};

}  // namespace postern::daemon
