// delivery_plan: where a delivery probe's message goes in, and where it is looked for.
//
// Servers of a pool are chosen by the picker of live sessions, with the same keys: a probe takes
// the way that mail and its reader would take, and leaves alone who is down or drained.
// Thread:   the health loop's.
// Tests:    test/health/delivery_probes_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "conf/config.h"
#include "health/dialogue_leg.h"
#include "health/mail_submission.h"
#include "health/mailbox_dialogue.h"
#include "lb/balance/endpoint.h"
#include "lb/balance/picker.h"

namespace postern::health {

// What the process knows of one probe of the configuration and its text does not say.
struct DeliveryDoor {
  base::SocketAddress listener;  // the real address of send.listener
  // For it: nothing is verified, as it is this process.
  std::shared_ptr<const io::TlsSettings> listener_tls;
  std::string recipient_key, user_key;  // canonical, for pools that hash
};

// Of one configuration; a round keeps it.
struct DeliveryInputs {
  std::shared_ptr<const conf::Config> config;
  std::shared_ptr<const balance::EndpointTable> endpoints;
  std::vector<std::shared_ptr<const io::TlsSettings>> back_tls;  // by EndpointId
  std::vector<DeliveryDoor> doors;                               // as Config::probes
};

struct SendWay {
  LegPlan leg;
  SubmissionPlan submission;                    // without text
  const balance::Endpoint* endpoint = nullptr;  // null: a listener
  std::string why_not;                          // not empty: there is no way now
};
struct FindWay {
  LegPlan leg;
  MailboxPlan mailbox;
  const balance::Endpoint* endpoint = nullptr;
  std::string why_not;
};

// tried: not those again. probe: index in Config::probes.
[[nodiscard]] SendWay PlanSend(const DeliveryInputs& inputs, size_t probe, balance::Picker& picker,
                               std::span<const balance::EndpointId> tried, base::MonoTime now);
[[nodiscard]] FindWay PlanFind(const DeliveryInputs& inputs, size_t probe, balance::Picker& picker,
                               std::span<const balance::EndpointId> tried, base::MonoTime now);

}  // namespace postern::health
