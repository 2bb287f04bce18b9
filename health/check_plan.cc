// check_plan: pools of endpoints, and the settings of their checks.
// SPDX-License-Identifier: Apache-2.0
#include "health/check_plan.h"

namespace postern::health {

std::vector<const conf::Pool*> PoolsThatHold(const conf::Config& config,
                                             const balance::EndpointTable& endpoints) {
  std::vector<const conf::Pool*> pool_of(endpoints.endpoints().size(), nullptr);
  std::vector<size_t> size_of(pool_of.size(), 0);
  for (uint32_t i = 0; i < config.pools.size(); ++i)
    for (int p = 0; p < conf::kNumProtocols; ++p) {
      const auto protocol = static_cast<conf::Protocol>(p);
      const balance::Home& home = *endpoints.PoolHome(i, protocol);
      for (const balance::Endpoint* member : home.members)
        if (member->conf->protocol == protocol && home.members.size() > size_of[member->id]) {
          size_of[member->id] = home.members.size();
          pool_of[member->id] = &config.pools[i];
        }
    }
  return pool_of;
}

ProbePlan CheckPlan(const conf::Config& config, const conf::Pool* pool,
                    const balance::Endpoint& endpoint, const io::TlsSettings* tls) {
  const conf::Health& conf = pool == nullptr ? config.health : pool->health;
  ProbePlan plan;
  plan.endpoint = &endpoint;
  plan.tls = tls;
  plan.hello = conf.hello.empty() ? config.hostname : conf.hello;
  plan.connect = config.timeouts.connect;
  plan.timeout = conf.timeout;
  if (conf.login && endpoint.conf->protocol != conf::Protocol::kSmtp) plan.login = &*conf.login;
  if (conf.mail) plan.mail = &*conf.mail;
  return plan;
}

}  // namespace postern::health
