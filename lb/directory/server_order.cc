// server_order: failures remembered for a while.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/server_order.h"

#include <algorithm>
#include <utility>

namespace postern::directory {

std::vector<uint32_t> ServerOrder::Get(base::MonoTime now) const {
  std::vector<uint32_t> order(servers_.size());
  for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto skipped_until = [&](uint32_t i) {
    return servers_[i].skipped_until > now ? servers_[i].skipped_until : base::MonoTime();
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return skipped_until(a) < skipped_until(b); });
  return order;
}

void ServerOrder::OnAsked(uint32_t server, base::MonoTime now) {
  Server& it = servers_[server];
  if (it.is_failing && it.skipped_until <= now) it.skipped_until = now + kSkipFor;
}

bool ServerOrder::OnAnswered(uint32_t server) {
  servers_[server].skipped_until = {};
  return std::exchange(servers_[server].is_failing, false);
}

bool ServerOrder::OnFailed(uint32_t server, base::MonoTime now) {
  servers_[server].skipped_until = now + kSkipFor;
  return !std::exchange(servers_[server].is_failing, true);
}

}  // namespace postern::directory
