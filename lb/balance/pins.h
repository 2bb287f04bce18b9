// pins: who of an `exclusive` pool has a user now: as long as a session of the user lives, the next
// one goes to the same member, on any protocol and any worker.
//
// Kept by the names of pool and backend, so that reloads change nothing. Striped: two users seldom
// meet at a lock, and it is held for a look into a small map.
// Limits:   one entry for each user that has a session in an exclusive pool.
// Owner:    the process; outlives its pins.
// Thread:   any.
// Tests:    test/balance/pins_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace postern::balance {

class Pins {
 public:
  // A session's hold on a member, or its wish for it while it logs in. Released when destroyed.
  class Pin {
   public:
    Pin(Pins& owner, std::string key, uint64_t serial)
        : owner_(owner), key_(std::move(key)), serial_(serial) {}
    ~Pin() { owner_.Release(key_, serial_); }
    Pin(const Pin&) = delete;
    Pin& operator=(const Pin&) = delete;

   private:
    Pins& owner_;
    const std::string key_;
    const uint64_t serial_;
  };

  Pins() = default;
  Pins(const Pins&) = delete;
  Pins& operator=(const Pins&) = delete;

  // The backend that has the user; empty: none.
  [[nodiscard]] std::string HolderOf(std::string_view pool, std::string_view user) const;
  // Holds the user for the backend. Null: another has it. lost: the backend whose hold does not
  // count any more, as it is down; empty: none.
  [[nodiscard]] std::unique_ptr<Pin> Take(std::string_view pool, std::string_view user,
                                          std::string_view backend, std::string_view lost = {});
  // Users held now.
  [[nodiscard]] size_t size() const;

 private:
  struct Hold {
    std::string backend;
    uint64_t serial = 0;  // of the hold: those of a lost one release nothing
    uint32_t count = 0;
  };
  struct alignas(64) Stripe {
    mutable std::mutex mutex;
    std::unordered_map<std::string, Hold> holds;
    uint64_t last_serial = 0;
  };
  [[nodiscard]] static std::string KeyOf(std::string_view pool, std::string_view user);
  [[nodiscard]] Stripe& StripeOf(std::string_view key) const;
  void Release(const std::string& key, uint64_t serial);

  mutable std::array<Stripe, 64> stripes_;
};

}  // namespace postern::balance
