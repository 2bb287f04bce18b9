// account: what is written down of one session, and of one SMTP transaction, when it ends.
//
// Filled by lb/session, read by the session log (and, later, by health's passive observations).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "conf/config.h"
#include "lb/base/address.h"
#include "lb/base/clock.h"
#include "lb/base/end_cause.h"

namespace postern::metrics {

// Keys of the line in the order of design section 6. Peers' text is kept raw here and escaped by
// the log.
struct SessionAccount {
  base::WallTime time;        // of the end
  uint64_t session = 0;       // id, printed as 16 hex digits
  std::string_view listener;  // lives as long as the listener's settings, which the session holds
  conf::Protocol protocol = conf::Protocol::kImap;
  base::SocketAddress client;
  std::string user;                                // as the client gave it; empty: none
  std::string tls_version, tls_cipher, tls_group;  // front leg; empty: clear
  std::string backend;                             // name; empty: none was reached
  uint64_t bytes_in = 0;                           // from the client
  uint64_t bytes_out = 0;                          // to the client
  uint64_t commands = 0;                           // complete commands seen
  uint64_t transactions = 0;                       // of SMTP, ended
  // Milliseconds by Phase, back leg; negative: that phase did not happen.
  std::array<double, base::kNumPhases> phases_ms = [] {
    std::array<double, base::kNumPhases> none{};
    none.fill(-1);
    return none;
  }();
  base::EndCause cause;
};

struct TransactionAccount {
  base::WallTime time;
  uint64_t session = 0;
  uint64_t transaction = 0;  // counts from 1 within the session
  std::string_view listener;
  conf::Protocol protocol = conf::Protocol::kSmtp;
  base::SocketAddress client;
  std::string user;
  std::string tls_version, tls_cipher, tls_group;  // as of the session
  std::string backend;
  uint64_t bytes_in = 0;   // these three since the transaction before has ended
  uint64_t bytes_out = 0;  //
  uint64_t commands = 0;   //
  std::string from;
  std::vector<std::string> to;       // accepted recipients
  std::vector<std::string> refused;  // of those, by LMTP: whose own reply to the text is no 25z
  uint64_t size = 0;                 // bytes of the message as relayed
  std::string reply;                 // what the client got for the end of data (or for DATA)
  std::string queue_id;              // from the backend's 250; empty: none found
  std::array<double, base::kNumPhases> phases_ms = SessionAccount().phases_ms;
  base::EndCause cause;
};

class AccountSink {
 public:
  virtual ~AccountSink() = default;
  virtual void OnSession(const SessionAccount& account) = 0;
  virtual void OnTransaction(const TransactionAccount& account) = 0;
};

}  // namespace postern::metrics
