// scripted_backend: a mailbox server in memory: correct and small (IMAP or POP3) until a test gives
// it a fault: what it does instead of its n-th answer (0: the greeting). Of tcp it says nothing by
// itself, and all that it gets is `relayed`.
//
// Owner:    the test, or its world.   Thread: the SimLoop's.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "conf/config.h"
#include "test/support/flood.h"
#include "test/support/sim_loop.h"
#include "test/support/sim_net.h"

namespace postern::test {

class ScriptedBackend {
 public:
  enum class Fault : uint8_t {
    kNone,
    kHang,      // says nothing any more
    kReset,     // RST
    kClose,     // FIN without a word
    kHalfLine,  // half of the answer, then FIN
    kGarbage,   // a line of no mail protocol
    kEndless,   // a line without an end
    kBusy,      // "* BYE", "-ERR [SYS/TEMP]", and a FIN
    kTempFail,  // the answer is a temporary refusal
    kInjects,   // the answer, and more in the same packet
    kFlood,     // `flood` in its stead
  };

  ScriptedBackend(SimLoop& loop, SimNet& net, const base::SocketAddress& address,
                  conf::Protocol protocol, std::string name);
  ~ScriptedBackend();

  // --- how it behaves, from the next connection or line on ---
  Fault fault = Fault::kNone;
  int fault_at = 0;              // which answer: 0 the greeting, 1 that to the first line, ...
  Flood flood;                   // of kFlood
  bool answers_all = false;      // after the login: every line with OK (else LOGOUT and QUIT alone)
  bool has_starttls = false;     // announced, and done
  bool strips_starttls = false;  // not announced although it could
  bool is_implicit = false;      // TLS from the start
  bool expects_proxy = false;    // a PROXY header before all
  bool stays_open = false;       // when its client has closed its side
  std::string capabilities;      // in place of the usual ones
  std::string post_capabilities = "IMAP4rev1 IDLE X-BACK";
  std::string behind_ok;  // in the same packet as the OK of the login
  base::Duration greeting_delay{};
  base::Duration auth_delay{};  // before the answer to a login
  std::map<std::string, std::string> passwords = {{"alice", "secret"}, {"bob", "hunter2"}};
  std::string refusal;  // what a wrong password gets, in place of the usual
  // Every connection breaks when so many bytes of the backend's have reached Postern.
  std::optional<std::pair<uint64_t, SimSocket::Break>> breaks_after;
  std::string token_challenge;  // base64: what XOAUTH2 gets before its refusal

  // --- what it saw ---
  [[nodiscard]] int num_connections() const { return num_connections_; }
  [[nodiscard]] int num_open() const;
  std::vector<std::string> lines;   // before the login
  std::string relayed;              // after it
  std::string said;                 // from the answer to the login on
  std::string before_tls;           // bytes of a PROXY header
  std::vector<std::string> logins;  // "alice", in order
  bool has_seen_eof = false;

  // The stream of the newest connection; null: none is left.
  [[nodiscard]] SimStream* stream();
  void Say(std::string_view bytes);  // on it

 private:
  class Connection;
  friend class Connection;
  SimLoop& loop_;
  conf::Protocol protocol_;
  std::string name_;
  int num_connections_ = 0;
  std::vector<std::unique_ptr<Connection>> connections_;
};

}  // namespace postern::test
