// smtp_sim_test: SMTP sessions by seed: many clients of one worker on a virtual network and clock,
// with faults; see smtp_run.h for what happens, and smtp_books.h for what must hold.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <memory>

#include "test/sim/seeds.h"
#include "test/sim/smtp_run.h"

namespace postern::test {
namespace {

void Simulate(conf::Protocol protocol) {
  const auto meters = std::make_shared<Meters>();
  ForTransactions(20'000, [&](uint64_t seed) { return SmtpRun(protocol, seed, meters).Run(); });
}

TEST(SmtpSimTest, Smtp) {
  Simulate(conf::Protocol::kSmtp);
}

TEST(SmtpSimTest, Submission) {
  Simulate(conf::Protocol::kSubmission);
}

}  // namespace
}  // namespace postern::test
