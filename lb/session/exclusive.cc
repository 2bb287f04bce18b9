// exclusive: the choice of a member in an exclusive pool.
// SPDX-License-Identifier: Apache-2.0
#include "lb/session/exclusive.h"

#include <algorithm>
#include <string>

namespace postern::session {

HeldMember PickForOne(balance::Pins& pins, const balance::Home& home, std::string_view user,
                      std::span<const balance::EndpointId> tried,
                      const std::function<const balance::Endpoint*()>& pick) {
  constexpr int kMostRaces = 8;
  for (int race = 0; race < kMostRaces; ++race) {
    const std::string holder = pins.HolderOf(home.name, user);
    const auto held = std::find_if(
        home.members.begin(), home.members.end(),
        [&](const balance::Endpoint* member) { return member->backend->name == holder; });
    const bool is_held =
        held != home.members.end() && (*held)->state->health.load() != balance::Health::kDown;
    const balance::Endpoint* endpoint = nullptr;
    if (!is_held) {
      endpoint = pick();
    } else if ((*held)->state->admin.load() != balance::AdminState::kMaintenance &&
               std::find(tried.begin(), tried.end(), (*held)->id) == tried.end()) {
      endpoint = *held;  // draining or full: its sessions are there, and no other may have it
    }
    if (endpoint == nullptr) return {};
    auto pin =
        pins.Take(home.name, user, endpoint->backend->name, is_held ? std::string_view() : holder);
    if (pin != nullptr) return {endpoint, std::move(pin)};
    // Another session of the user was quicker.
  }
  return {};
}

}  // namespace postern::session
