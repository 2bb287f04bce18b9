// smtp_choices: what a seed decides before anything happens: the network and the disk, the limits
// and timeouts, who serves where, and how much goes wrong.
//
// Servers 1 to 4 stand at 10.0.0.1 to 10.0.0.4. What they are is theirs for the whole run; which of
// them a configuration names, how it calls them, and in which pools, changes with each reload.
// Homes by domain, on listeners that route by recipient: away.example lives in pool q, one.example
// on server 3, asked.example where directory d says (by the first letter of the name), the others in
// pool p; nowhere.example is refused, later.example put off. A user with an odd number lives in q.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "conf/config.h"
#include "test/sim/dice.h"
#include "test/support/sim_socket.h"
#include "test/support/sim_spool.h"

namespace postern::test {

inline constexpr int kNumServers = 4;
// Bit N - 1: server N.
using ServerSet = uint32_t;
inline constexpr ServerSet kAllServers = (1U << kNumServers) - 1;

struct SmtpServerChoices {
  bool is_lmtp = false;
  bool has_pipelining = true, has_chunking = true, has_8bitmime = true;
  bool vouches = false;  // reauth: xclient_login
  bool has_reauth = true;
  conf::TlsMode tls = conf::TlsMode::kNone;
  conf::ClientAddress client_address = conf::ClientAddress::kNone;
  // Per mille of chances to: at a command, at a recipient, at a text, at a connection.
  uint32_t fails = 0, refuses = 0, waits = 0, reads_slowly = 0, speaks_early = 0, breaks = 0;
  uint32_t leaves_idle = 0;
  base::Duration longest_wait{};

  // reauth: never.
  [[nodiscard]] bool IsForOneLogin() const { return !has_reauth && !vouches; }
};

struct SmtpClientChoices {
  uint32_t breaks = 0, leaves = 0, dawdles = 0, errs = 0, resets = 0;  // per mille
  base::Duration longest_pause = std::chrono::milliseconds(20);
};

struct SmtpChoices {
  SmtpChoices(conf::Protocol protocol, Dice& dice);

  // Nothing goes wrong and nothing is small: every message comes through.
  bool is_quiet = false;
  bool is_watched = false;  // by a health::Monitor
  bool has_disk = true;
  bool shares_legs = false;  // with the clients that come later
  uint32_t num_clients = 1, num_at_once = 1, most_messages = 1;
  uint32_t num_events = 0;  // of the process and its surroundings
  base::Duration most_late{};
  uint64_t replay_total = UINT64_MAX;
  SimOptions net;
  SimSpool::Options disk;
  std::array<SmtpServerChoices, kNumServers> servers;
  SmtpClientChoices clients;
  conf::Config config;

  // Other pools, names, rules and limits, as an operator's new file has them.
  void Reconfigure(Dice& dice);

 private:
  void ChooseNetwork(Dice& dice);
  void ChooseDisk(Dice& dice);
  void ChooseServers(Dice& dice);
  void ChooseLimits(Dice& dice);
  void ChooseTimeouts(Dice& dice);
  void MakePools(Dice& dice);
  void MakeRoute(Dice& dice);
  [[nodiscard]] bool is_submission() const { return protocol_ == conf::Protocol::kSubmission; }

  conf::Protocol protocol_;
};

// A pool, server 3, or nobody: empty.
[[nodiscard]] std::string_view HomeNameOf(std::string_view recipient);
// Of the recipient or, on submission, of the user (by its number); 0: nobody is home.
[[nodiscard]] ServerSet HomeOf(const conf::Config& config, std::string_view recipient);
[[nodiscard]] ServerSet HomeOfUser(const conf::Config& config, uint32_t user);
// Where transactions of several homes may go.
[[nodiscard]] ServerSet RelayOf(const conf::Config& config);

}  // namespace postern::test
