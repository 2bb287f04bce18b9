// pins: striped holds, counted.
// SPDX-License-Identifier: Apache-2.0
#include "lb/balance/pins.h"

#include <functional>
#include <utility>

namespace postern::balance {

// No name of a pool has a NUL.
std::string Pins::KeyOf(std::string_view pool, std::string_view user) {
  std::string key(pool);
  key += '\0';
  key += user;
  return key;
}

Pins::Stripe& Pins::StripeOf(std::string_view key) const {
  return stripes_[std::hash<std::string_view>()(key) % stripes_.size()];
}

std::string Pins::HolderOf(std::string_view pool, std::string_view user) const {
  const std::string key = KeyOf(pool, user);
  const Stripe& stripe = StripeOf(key);
  const std::lock_guard lock(stripe.mutex);
  const auto found = stripe.holds.find(key);
  return found == stripe.holds.end() ? std::string() : found->second.backend;
}

std::unique_ptr<Pins::Pin> Pins::Take(std::string_view pool, std::string_view user,
                                      std::string_view backend, std::string_view lost) {
  std::string key = KeyOf(pool, user);
  Stripe& stripe = StripeOf(key);
  const std::lock_guard lock(stripe.mutex);
  Hold& hold = stripe.holds[key];
  if (hold.count > 0 && hold.backend != backend && hold.backend != lost) return nullptr;
  if (hold.backend != backend) hold = {std::string(backend), ++stripe.last_serial, 0};
  ++hold.count;
  return std::make_unique<Pin>(*this, std::move(key), hold.serial);
}

void Pins::Release(const std::string& key, uint64_t serial) {
  Stripe& stripe = StripeOf(key);
  const std::lock_guard lock(stripe.mutex);
  const auto found = stripe.holds.find(key);
  if (found == stripe.holds.end() || found->second.serial != serial) return;
  if (--found->second.count == 0) stripe.holds.erase(found);
}

size_t Pins::size() const {
  size_t sum = 0;
  for (const Stripe& stripe : stripes_) {
    const std::lock_guard lock(stripe.mutex);
    sum += stripe.holds.size();
  }
  return sum;
}

}  // namespace postern::balance
