// smtp_sim_server: an SMTP or LMTP server of a simulation: strict about what it hears, and as
// reliable as its seed lets it be.
//
// What a polite proxy never does to it is a failure of the test: a command that was not announced,
// or out of place (MAIL within a transaction), a second one before an answer where there is no
// PIPELINING, clear text where TLS is wanted, a line that nobody could have meant. Each answer to
// a recipient names it, and that to a text the transaction, so that a client sees whose it is.
// Owner:    one SmtpRun.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "test/sim/dice.h"
#include "test/sim/smtp_books.h"
#include "test/sim/smtp_choices.h"
#include "test/support/sim_net.h"

namespace postern::test {

class SmtpSimServer {
 public:
  // number: 1 to kNumServers. All references outlive it.
  SmtpSimServer(int number, const SmtpServerChoices& choices, conf::Protocol protocol,
                SimLoop& loop, SimNet& net, Dice& dice, SmtpBooks& books);
  ~SmtpSimServer();

  // Ends all connections, as a restart does, or one that is idle.
  void Restart();
  void EndIdle();
  // It fails at nothing any more.
  [[nodiscard]] int num_open() const;
  [[nodiscard]] const base::SocketAddress& address() const { return address_; }
  // Of each connection as it is accepted; for a fault at a chosen byte.
  std::function<void(SimStream& stream, int number)> on_accept;

 private:
  class Connection;
  friend class Connection;
  void Prune();

  const int number_;
  const SmtpServerChoices& choices_;
  const conf::Protocol protocol_;
  SimLoop& loop_;
  Dice& dice_;
  SmtpBooks& books_;
  const base::SocketAddress address_;
  std::string ehlo_lines_;
  std::vector<std::unique_ptr<Connection>> connections_;
  int num_connections_ = 0;
  uint32_t num_stored_ = 0;
};

}  // namespace postern::test
