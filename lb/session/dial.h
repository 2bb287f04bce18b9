// dial: what every session does to reach an endpoint: its addresses in turn, each from a source of
// its family, TLS towards it by its name; and the words in which a fault of it is told.
//
// Does not: keep deadlines or books; back_leg does for IMAP, POP3 and tcp, the relay for SMTP.
// Owner:    one try of one session.   Thread: its worker's.
// Tests:    test/session/dial_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "lb/balance/endpoint.h"
#include "lb/base/address.h"
#include "lb/base/end_cause.h"
#include "lb/io/stream.h"
#include "lb/session/session_env.h"

namespace postern::session {

class Dial {
 public:
  // The endpoint outlives this; its facts are taken once, now.
  explicit Dial(const balance::Endpoint& endpoint);

  [[nodiscard]] const balance::Endpoint& endpoint() const { return *endpoint_; }
  // May be null: nothing is known of it yet.
  [[nodiscard]] const balance::EndpointFacts* facts() const { return facts_.get(); }
  // Addresses that were not dialled yet.
  [[nodiscard]] size_t num_left() const { return addresses().size() - num_dialled_; }
  // Dials the next one; there must be one left. The observer hears kConnected or kEnd later.
  [[nodiscard]] std::unique_ptr<io::Stream> Next(SessionEnv& env, io::Stream::Observer& observer);

 private:
  [[nodiscard]] std::span<const base::IpAddress> addresses() const;

  const balance::Endpoint* endpoint_;
  std::shared_ptr<const balance::EndpointFacts> facts_;
  std::optional<base::IpAddress> literal_;  // the host is an address itself
  size_t num_dialled_ = 0;
};

// The stream may be in the middle of telling us something: closed now, deleted later. Null: no-op.
void CloseLater(io::Loop& loop, std::unique_ptr<io::Stream> stream);

// TLS as its client; settings are null where the parts have none for the endpoint.
[[nodiscard]] io::TlsRequest BackTls(const Parts& parts, const balance::Endpoint& endpoint);

// "b1 connect refused: no route"; without a reason, that much less.
[[nodiscard]] std::string FaultInWords(const balance::Endpoint& endpoint, base::Phase phase,
                                       base::FaultKind kind, std::string_view why);
// The log's line of it.
void LogFault(const balance::Endpoint& endpoint, base::Phase phase, base::FaultKind kind,
              std::string_view why);

}  // namespace postern::session
