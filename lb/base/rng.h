// rng: chance, as a parameter. Seeded in tests; from the system's entropy in the process.
//
// Not for keys or nonces: those come from BoringSSL.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace postern::base {

class Rng {
 public:
  virtual ~Rng() = default;
  [[nodiscard]] virtual uint64_t Next() = 0;
  // Uniform in [0, bound); bound > 0.
  [[nodiscard]] uint64_t Below(uint64_t bound);
  // Uniform in [0, 1).
  [[nodiscard]] double Unit();
};

// xoshiro256** seeded by splitmix64: the same seed gives the same numbers on every machine.
class SeededRng final : public Rng {
 public:
  explicit SeededRng(uint64_t seed);
  [[nodiscard]] uint64_t Next() override;

 private:
  uint64_t state_[4];
};

// A seed from getrandom(2).
[[nodiscard]] uint64_t SystemSeed();

// Stable 64-bit hash of bytes (the same on all nodes and builds), for rendezvous and percent rules.
[[nodiscard]] uint64_t StableHash(const void* data, unsigned long size_bytes, uint64_t salt);

}  // namespace postern::base
