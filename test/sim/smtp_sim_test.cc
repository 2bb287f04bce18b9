// smtp_sim_test: SMTP sessions by seed: many clients of one worker on a virtual network and clock,
// with faults; see smtp_run.h for what happens, and smtp_books.h for what must hold.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "test/sim/seeds.h"
#include "test/sim/smtp_run.h"

namespace postern::test {
namespace {

// The counters of runs in turn must say what their books say. To read them takes longer than a run.
class Counters {
 public:
  [[nodiscard]] const std::shared_ptr<Meters>& meters() const { return meters_; }
  void Add(const SmtpBooks::Sums& sums) {
    wanted_.sessions += sums.sessions;
    wanted_.ok += sums.ok;
    wanted_.put_off += sums.put_off;
    wanted_.refused += sums.refused;
    wanted_.lost += sums.lost;
    wanted_.recipients += sums.recipients;
  }
  [[nodiscard]] bool Agree() const {
    return Is("smtp_transactions_total", "reply=\"2xx\"", wanted_.ok) &&
           Is("smtp_transactions_total", "reply=\"4xx\"", wanted_.put_off) &&
           Is("smtp_transactions_total", "reply=\"5xx\"", wanted_.refused) &&
           Is("smtp_transactions_total", "reply=\"lost\"", wanted_.lost) &&
           Is("smtp_recipients_total", "result=\"accepted\"", wanted_.recipients);
  }

 private:
  [[nodiscard]] bool Is(const std::string& name, const std::string& label, uint64_t wanted) const {
    const std::string series = "postern_" + name + "{listener=\"l\"," + label + "}";
    return meters_->registry.Value(series) == static_cast<double>(wanted);
  }
  std::shared_ptr<Meters> meters_ = std::make_shared<Meters>();
  SmtpBooks::Sums wanted_;
};

class Simulation {
 public:
  explicit Simulation(conf::Protocol protocol) : protocol_(protocol) {}
  ~Simulation() { CheckCounters(); }

  uint64_t Run(uint64_t seed) {
    seeds_.push_back(seed);
    const uint64_t num_transactions = RunWith(counters_, seed);
    if (seeds_.size() >= kSeedsOfACheck) CheckCounters();
    return num_transactions;
  }

 private:
  static constexpr size_t kSeedsOfACheck = 500;

  uint64_t RunWith(Counters& counters, uint64_t seed) const {
    SmtpRun run(protocol_, seed, counters.meters());
    const uint64_t num_transactions = run.Run();
    counters.Add(run.sums());
    return num_transactions;
  }

  // Where they do not agree, each seed has its turn again, with counters of its own.
  void CheckCounters() {
    if (!counters_.Agree()) {
      ADD_FAILURE() << "counters and books do not agree; of the last " << seeds_.size();
      for (const uint64_t seed : seeds_) {
        Counters own;
        (void)RunWith(own, seed);
        if (!own.Agree()) ADD_FAILURE() << "POSTERN_SIM_SEED=" << seed;
      }
    }
    seeds_.clear();
  }

  const conf::Protocol protocol_;
  Counters counters_;
  std::vector<uint64_t> seeds_;  // since the last check
};

void Simulate(conf::Protocol protocol) {
  Simulation simulation(protocol);
  ForTransactions(20'000, [&](uint64_t seed) { return simulation.Run(seed); });
}

TEST(SmtpSimTest, Smtp) {
  Simulate(conf::Protocol::kSmtp);
}

TEST(SmtpSimTest, Submission) {
  Simulate(conf::Protocol::kSubmission);
}

TEST(SmtpSimTest, TheSameSeedGivesTheSameRun) {
  const auto run = [](uint64_t seed) {
    SmtpRun its(conf::Protocol::kSmtp, seed, std::make_shared<Meters>());
    (void)its.Run();
    return its.num_steps();
  };
  for (uint64_t seed = 1; seed <= 20; ++seed) EXPECT_EQ(run(seed), run(seed)) << seed;
}

}  // namespace
}  // namespace postern::test
