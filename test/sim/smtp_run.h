// smtp_run: everything that one seed makes happen around the SMTP sessions of one worker: clients,
// some at once and some after others, servers, and what befalls them meanwhile.
//
// Run returns when all is over, and has checked by then that it is: no session, stream, timer, spool
// file or budget is held, what was held back never grew beyond its bound, and the books agree.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "test/sim/dice.h"
#include "test/sim/smtp_books.h"
#include "test/sim/smtp_choices.h"
#include "test/sim/smtp_sim_client.h"
#include "test/sim/smtp_sim_process.h"
#include "test/sim/smtp_sim_server.h"
#include "test/support/meters.h"

namespace postern::test {

class SmtpRun {
 public:
  // meters: shared by runs in turn.
  SmtpRun(conf::Protocol protocol, uint64_t seed, std::shared_ptr<Meters> meters);
  ~SmtpRun();

  // How many transactions there were.
  uint32_t Run();
  [[nodiscard]] uint64_t num_steps() const { return loop_.num_steps(); }
  // What the counters must have grown by.
  [[nodiscard]] const SmtpBooks::Sums& sums() const { return books_.sums(); }

 private:
  void BeginClient();
  void OnClientEnd();
  void ScheduleEvents();
  void HappenSomething();
  void CheckBounds() const;
  void CheckEnd();

  const conf::Protocol protocol_;
  base::SeededRng rng_;
  Dice dice_{rng_};
  SmtpChoices choices_;
  SimLoop loop_;
  SimNet net_{loop_, rng_};
  SimSpool disk_{loop_, rng_};
  SmtpBooks books_;
  SmtpSimProcess process_;
  std::vector<std::unique_ptr<SmtpSimServer>> servers_;
  std::vector<std::unique_ptr<SmtpSimClient>> clients_;
  uint64_t most_buffer_ = 0;  // limits.buffer, of all configurations
  uint64_t most_window_ = 0;
  bool has_ended_ = false;
};

}  // namespace postern::test
