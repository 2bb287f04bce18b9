// bystander: a client that does everything right, beside one that does not, or whose backend does
// not: on the same worker (loop, network, picker, counters), in a session of its own.
//
// A world's faulty session may never delay it: each of its answers comes within kPrompt of virtual
// time, in which packets alone take time. That is fifty times one way of the network, and below any
// timeout of Postern's. Time that a thread spends in a call that waits counts too (WaitedFor).
//
// Owner:    the test, which makes it after its world has begun and destroys it before the world.
// Thread:   the SimLoop's.
// Tests:    test/matrix/bystander_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "conf/config.h"
#include "lb/session/session_env.h"
#include "test/support/sim_loop.h"
#include "test/support/sim_net.h"

namespace postern::test {

class Bystander final : private session::SessionHost, private metrics::AccountSink {
 public:
  static constexpr base::Duration kPrompt = std::chrono::milliseconds(10);

  // Who it is. The usual one lives on the backend that AddHome made, which is its alone.
  struct Who {
    std::string user = "bystander";  // IMAP, POP3, submission; the password is "secret"
    std::string recipient = "bystander@by.example";  // SMTP, submission
  };

  // Backend "by" at 10.0.0.9, pool "by", and the rule that leads the usual one there. Before the
  // world begins.
  static void AddHome(conf::Config& config);
  static base::SocketAddress HomeAddress(conf::Protocol protocol);

  // settings: of the world's listener; the bystander's leg is one without TLS.
  Bystander(SimLoop& loop, SimNet& net, const session::SessionEnv& env,
            const session::ListenerSettings& settings, Who who);
  ~Bystander();

  // Each fails the test unless all answers have come, are the right ones, and came within kPrompt.
  void LogIn();  // SMTP: says hello
  void Work();   // a command of IMAP or POP3 to the backend; a whole message by SMTP

 private:
  class Ear;
  // Sends the text; until the last line of what has come back begins with the words, which
  // `what` tells in the message of a failure.
  void Ask(std::string_view text, std::string_view words, std::string_view what);
  [[nodiscard]] bool HasHeard(std::string_view words) const;

  void Retire(session::Session& ended) override;
  balance::Pins& pins() override { return worker_.pins(); }
  bool AuthBlocked(const base::IpAddress&, const std::string&) override { return false; }
  void AuthFailed(const base::IpAddress&, const std::string&) override {}
  void AuthSucceeded(const base::IpAddress&, const std::string&) override {}
  bool TakeReplayMemory(size_t) override { return true; }
  void RememberRefusal(const std::string&, std::string_view) override {}
  std::string RecallRefusal(const std::string&) override { return ""; }
  void ReturnReplayMemory(size_t) override {}
  void LearnedCapabilities(const balance::Endpoint&, std::vector<std::string>) override {}
  void OnSession(const metrics::SessionAccount&) override {}
  void OnTransaction(const metrics::TransactionAccount&) override {}

  SimLoop& loop_;
  conf::Protocol protocol_;
  Who who_;
  session::SessionHost& worker_;
  session::SessionEnv env_;
  std::unique_ptr<Ear> ear_;
  std::unique_ptr<SimStream> client_;
  std::unique_ptr<session::Session> session_;
  std::string heard_;
};

// The time for which this program's thread would have stood still in system calls that wait: they
// return at once here, as if it had passed.
[[nodiscard]] base::Duration WaitedFor();

}  // namespace postern::test
