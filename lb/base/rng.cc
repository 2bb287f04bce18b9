// rng: seeded numbers, and the stable hash.
// SPDX-License-Identifier: Apache-2.0
#include "lb/base/rng.h"

#include <sys/random.h>

#include "lb/base/check.h"

namespace postern::base {
namespace {

uint64_t SplitMix(uint64_t& state) {
  state += 0x9e3779b97f4a7c15;
  uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

uint64_t RotateLeft(uint64_t x, int k) {
  return (x << k) | (x >> (64 - k));
}

}  // namespace

uint64_t Rng::Below(uint64_t bound) {
  POSTERN_CHECK(bound > 0);
  // Numbers below 2^64 mod bound would be favoured: draw again.
  const uint64_t threshold = (0 - bound) % bound;
  while (true) {
    const uint64_t x = Next();
    if (x >= threshold) return x % bound;
  }
}

double Rng::Unit() {
  return static_cast<double>(Next() >> 11) * 0x1.0p-53;
}

SeededRng::SeededRng(uint64_t seed) {
  for (uint64_t& word : state_) word = SplitMix(seed);
}

uint64_t SeededRng::Next() {
  const uint64_t result = RotateLeft(state_[1] * 5, 7) * 9;
  const uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = RotateLeft(state_[3], 45);
  return result;
}

uint64_t SystemSeed() {
  uint64_t seed = 0;
  POSTERN_CHECK(getrandom(&seed, sizeof(seed), 0) == static_cast<ssize_t>(sizeof(seed)));
  return seed;
}

uint64_t StableHash(const void* data, unsigned long size_bytes, uint64_t salt) {
  // FNV-1a over the bytes, then a full avalanche, since FNV alone is weak in its high bits.
  uint64_t hash = 0xcbf29ce484222325 ^ salt;
  const auto* bytes = static_cast<const unsigned char*>(data);
  for (unsigned long i = 0; i < size_bytes; ++i) hash = (hash ^ bytes[i]) * 0x100000001b3;
  return SplitMix(hash);
}

}  // namespace postern::base
