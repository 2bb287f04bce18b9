// tls_context: what a listener's or an endpoint's TLS is made of: versions, suites, certificates,
// tickets, verification.
//
// Policy:   TLS 1.2 and 1.3; of 1.2 only ECDHE with AEAD; no SHA-1, no renegotiation, no early
//           data. The same for implicit TLS and STARTTLS.
// ALPN:     imap, pop3 and managesieve are selected on their listeners. SMTP has no registered
//           name: nothing is selected. A client that offers only other services' protocols is
//           refused everywhere (RFC 7301 3.2), so that TLS to a web server cannot be redirected
//           to a mail server of the same name.
// Owner:    one per worker, so that session caches and reference counts stay on one thread.
// Thread:   built anywhere, used on its worker. A connection outlives its settings without harm.
// Tests:    test/tls/tls_context_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "conf/config.h"
#include "lb/base/clock.h"
#include "lb/base/result.h"
#include "lb/io/stream.h"
#include "lb/tls/certificate_store.h"
#include "lb/tls/ticket_keys.h"

struct ssl_ctx_st;
struct ssl_st;

namespace postern::tls {

struct ReleaseContext {
  void operator()(ssl_ctx_st* context) const;
};
using ContextHandle = std::unique_ptr<ssl_ctx_st, ReleaseContext>;

class TlsServerContext final : public io::TlsSettings {
 public:
  [[nodiscard]] static base::Result<std::unique_ptr<TlsServerContext>> Build(
      const conf::Tls& tls, std::shared_ptr<const CertificateStore> certificates,
      std::shared_ptr<TicketKeys> ticket_keys, conf::Protocol protocol);

  // A connection that waits for a ClientHello; null when out of memory. For TlsEngine.
  [[nodiscard]] ssl_st* NewConnection() const;

 private:
  explicit TlsServerContext(ContextHandle context) : context_(std::move(context)) {}
  ContextHandle context_;
};

// Whether a client context hands a session that a backend gave back to it: cheaper, but then the
// backend's certificate is not looked at again for up to an hour. Not for probes.
enum class SessionReuse : uint8_t { kYes, kNo };

class TlsClientContext final : public io::TlsSettings {
 public:
  // host: of the backend, verified unless verify.name says another; an address is verified as one.
  // The trust store is not needed if verification is off. The clock must outlive all connections.
  [[nodiscard]] static base::Result<std::unique_ptr<TlsClientContext>> Build(
      const conf::Tls& tls, const conf::Verify& verify, const std::string& host,
      std::shared_ptr<const TrustStore> trust, const base::Clock& clock,
      SessionReuse reuse = SessionReuse::kYes);

  // server_name: for SNI; not sent if it is an address. For TlsEngine.
  [[nodiscard]] ssl_st* NewConnection(const std::string& server_name) const;

  [[nodiscard]] std::optional<base::WallTime> peer_not_after() const override;

 private:
  explicit TlsClientContext(ContextHandle context) : context_(std::move(context)) {}
  ContextHandle context_;
};

}  // namespace postern::tls
