// tls_state: what the callbacks of the TLS library find behind an SSL_CTX. Inside lb/tls only.
//
// Why so:   a session's SSL object may outlive the settings that it was made from (a reload drops
//           them), so everything that a callback touches is owned by the SSL_CTX, which the
//           session holds a reference to.
// Owner:    the SSL_CTX.   Thread: the worker that the context was made for.
// Tests:    test/tls/tls_context_test.cc, test/tls/tls_policy_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <optional>
#include <string>

#include "conf/config.h"
#include "lb/base/clock.h"
#include "lb/tls/certificate_store.h"
#include "lb/tls/ticket_keys.h"

namespace postern::tls {

struct ServerState {
  static ServerState& Of(const SSL_CTX* context);

  std::shared_ptr<const CertificateStore> certificates;
  std::shared_ptr<TicketKeys> ticket_keys;
  conf::Protocol protocol = conf::Protocol::kImap;
};

struct ClientState {
  static ClientState& Of(const SSL_CTX* context);

  // The verifier's verdict on the handshake that has just failed; empty if it was not the reason.
  std::string TakeRejection();

  const base::Clock* clock = nullptr;
  std::shared_ptr<const TrustStore> trust;  // null: verification is off
  bool is_own_ca = false;                   // named by the configuration, not the system's
  std::string expected_name;                // a DNS name or an address
  std::string rejection;
  std::optional<base::WallTime> peer_not_after;
  bool reuses_sessions = false;
  bssl::UniquePtr<SSL_SESSION> session;  // the newest that the backend gave us
  std::string session_name;              // the SNI it belongs to
  base::WallTime session_not_after{};    // of the certificate that was verified for it
};

// Versions, cipher suites, signature algorithms and groups: the same for both roles. False with a
// text if no group is left.
[[nodiscard]] bool ApplyPolicy(SSL_CTX* context, uint16_t min_version,
                               const std::vector<std::string>& groups, std::string* error);

}  // namespace postern::tls
