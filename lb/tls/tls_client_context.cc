// tls_client_context: the TLS towards a backend.
// SPDX-License-Identifier: Apache-2.0
#include <openssl/err.h>
#include <openssl/pool.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <utility>

#include "lb/base/address.h"
#include "lb/base/bytes.h"
#include "lb/base/check.h"
#include "lb/base/escape.h"
#include "lb/tls/pem.h"
#include "lb/tls/tls_context.h"
#include "lb/tls/tls_state.h"

namespace postern::tls {
namespace {

void FreeState(void* /*parent*/, void* state, CRYPTO_EX_DATA* /*data*/, int /*index*/,
               long /*argl*/, void* /*argp*/) {
  delete static_cast<ClientState*>(state);
}

int StateIndex() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, &FreeState);
  return index;
}

time_t ToTimeT(base::WallTime time) {
  return static_cast<time_t>(
      std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count());
}

// --- verification ---------------------------------------------------------------------------

std::string Joined(const std::vector<std::string>& names) {
  constexpr size_t kMaxNames = 8;
  std::string text;
  for (size_t i = 0; i < names.size() && i < kMaxNames; ++i) {
    if (i > 0) text += ", ";
    text += base::Printable(names[i], 128);
  }
  if (names.size() > kMaxNames) text += ", ...";
  return text.empty() ? "no name at all" : text;
}

std::string WhyRejected(int error, X509* at, X509* leaf, const std::string& expected) {
  const std::string who = at == leaf
                              ? "certificate"
                              : "certificate of the issuer " + NameText(X509_get_subject_name(at));
  switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return who + " has expired on " + DateText(ToWallTime(X509_get0_notAfter(at)));
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return who + " is not valid before " + DateText(ToWallTime(X509_get0_notBefore(at)));
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return "name mismatch: wanted " + expected + ", certificate is for " + Joined(NamesOf(leaf));
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      return "certificate is self-signed and not trusted";
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return "certificate's root is not trusted: " + NameText(X509_get_subject_name(at));
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      return "certificate's issuer is not known: " + NameText(X509_get_issuer_name(at));
    default:
      return std::string("certificate is not acceptable: ") + X509_verify_cert_error_string(error);
  }
}

// What the handshake's certificates are worth: X509_V_OK, or an error with a text.
int Verify(const ClientState& state, const STACK_OF(CRYPTO_BUFFER) * buffers, std::string* why,
           base::WallTime* not_after) {
  const size_t count = buffers == nullptr ? 0 : sk_CRYPTO_BUFFER_num(buffers);
  bssl::UniquePtr<X509> leaf;
  const bssl::UniquePtr<STACK_OF(X509)> others(sk_X509_new_null());
  for (size_t i = 0; i < count; ++i) {
    bssl::UniquePtr<X509> parsed(X509_parse_from_buffer(sk_CRYPTO_BUFFER_value(buffers, i)));
    if (parsed == nullptr) {
      *why = "certificate cannot be parsed";
      return X509_V_ERR_UNSPECIFIED;
    }
    if (i == 0) {
      leaf = std::move(parsed);
    } else {
      bssl::PushToStack(others.get(), std::move(parsed));
    }
  }
  if (leaf == nullptr) {
    *why = "no certificate was sent";
    return X509_V_ERR_UNSPECIFIED;
  }
  *not_after = ToWallTime(X509_get0_notAfter(leaf.get()));

  const bssl::UniquePtr<X509_STORE_CTX> verifier(X509_STORE_CTX_new());
  if (X509_STORE_CTX_init(verifier.get(), state.trust->raw(), leaf.get(), others.get()) != 1 ||
      X509_STORE_CTX_set_default(verifier.get(), "ssl_server") != 1) {
    *why = "out of memory";
    return X509_V_ERR_OUT_OF_MEM;
  }
  X509_VERIFY_PARAM* const param = X509_STORE_CTX_get0_param(verifier.get());
  X509_VERIFY_PARAM_set_time(param, ToTimeT(state.clock->WallNow()));
  // With a CA file of one's own, what stands in it is trusted, be it root, issuer or the very
  // certificate.
  unsigned long flags = X509_V_FLAG_TRUSTED_FIRST;
  if (state.is_own_ca) flags |= X509_V_FLAG_PARTIAL_CHAIN;
  X509_VERIFY_PARAM_set_flags(param, flags);
  X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  const bool is_address = base::IpAddress::Parse(state.expected_name).has_value();
  const int is_named = is_address
                           ? X509_VERIFY_PARAM_set1_ip_asc(param, state.expected_name.c_str())
                           : X509_VERIFY_PARAM_set1_host(param, state.expected_name.data(),
                                                         state.expected_name.size());
  if (is_named != 1) {
    *why = "the name to verify is no name: " + base::Printable(state.expected_name, 128);
    return X509_V_ERR_UNSPECIFIED;
  }
  if (X509_verify_cert(verifier.get()) == 1) return X509_V_OK;
  const int error = X509_STORE_CTX_get_error(verifier.get());
  X509* at = X509_STORE_CTX_get_current_cert(verifier.get());
  *why = WhyRejected(error, at == nullptr ? leaf.get() : at, leaf.get(), state.expected_name);
  return error;
}

ssl_verify_result_t OnVerify(SSL* ssl, uint8_t* alert) {
  ClientState& state = ClientState::Of(SSL_get_SSL_CTX(ssl));
  if (state.trust == nullptr) return ssl_verify_ok;
  std::string why;
  base::WallTime not_after{};
  const int error = Verify(state, SSL_get0_peer_certificates(ssl), &why, &not_after);
  ERR_clear_error();
  if (not_after != base::WallTime{}) state.peer_not_after = not_after;
  if (error == X509_V_OK) return ssl_verify_ok;
  state.rejection = std::move(why);
  *alert = static_cast<uint8_t>(SSL_alert_from_verify_result(error));
  return ssl_verify_invalid;
}

// Backends' certificates, each kept once however many sessions there are to it. Never freed: live
// sessions point into it.
CRYPTO_BUFFER_POOL* PeerCertificates() {
  static CRYPTO_BUFFER_POOL* const pool = CRYPTO_BUFFER_POOL_new();
  return pool;
}

// --- session reuse --------------------------------------------------------------------------

// Returning 1 takes the reference.
int OnNewSession(SSL* ssl, SSL_SESSION* session) {
  ClientState& state = ClientState::Of(SSL_get_SSL_CTX(ssl));
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  state.session.reset(session);
  state.session_name = name == nullptr ? "" : name;
  state.session_not_after = state.peer_not_after.value_or(base::WallTime::max());
  return 1;
}

}  // namespace

ClientState& ClientState::Of(const SSL_CTX* context) {
  auto* state = static_cast<ClientState*>(SSL_CTX_get_ex_data(context, StateIndex()));
  POSTERN_CHECK(state != nullptr);
  return *state;
}

std::string ClientState::TakeRejection() {
  return std::exchange(rejection, {});
}

base::Result<std::unique_ptr<TlsClientContext>> TlsClientContext::Build(
    const conf::Tls& tls, const conf::Verify& verify, const std::string& host,
    std::shared_ptr<const TrustStore> trust, const base::Clock& clock, SessionReuse reuse) {
  ContextHandle context(SSL_CTX_new(TLS_with_buffers_method()));
  if (context == nullptr) return base::Error{"out of memory"};
  SSL_CTX* const raw = context.get();
  // tls.min_version is a promise to clients; a backend that has only 1.2 is still good.
  std::string error;
  if (!ApplyPolicy(raw, TLS1_2_VERSION, tls.groups, &error)) return base::Error{error};

  SSL_CTX_set0_buffer_pool(raw, PeerCertificates());
  auto state = std::make_unique<ClientState>();
  state->clock = &clock;
  if (!verify.off) {
    POSTERN_CHECK(trust != nullptr);
    state->trust = std::move(trust);
  }
  state->is_own_ca = !verify.ca.empty();
  state->expected_name = verify.name.empty() ? host : verify.name;
  state->reuses_sessions = reuse == SessionReuse::kYes;
  POSTERN_CHECK(SSL_CTX_set_ex_data(raw, StateIndex(), state.release()) == 1);

  SSL_CTX_set_custom_verify(raw, SSL_VERIFY_PEER, &OnVerify);
  if (!verify.cert.empty()) {
    const base::Result<ServerCertificate> own = LoadServerCertificate(verify.cert, verify.key);
    if (!own.ok()) return base::Error{own.error()};
    std::vector<CRYPTO_BUFFER*> chain;
    for (const auto& buffer : own->chain) chain.push_back(buffer.get());
    if (SSL_CTX_set_chain_and_key(raw, chain.data(), chain.size(), own->key.get(), nullptr) != 1) {
      return base::Error{verify.cert + ": the TLS library refuses the certificate"};
    }
  }
  if (reuse == SessionReuse::kYes) {
    SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(raw, &OnNewSession);
    // A resumption does not verify again: bound how long a verdict lasts.
    constexpr uint32_t kSessionSeconds = 3600;
    SSL_CTX_set_timeout(raw, kSessionSeconds);
    SSL_CTX_set_session_psk_dhe_timeout(raw, kSessionSeconds);
  } else {
    SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  }
  return std::unique_ptr<TlsClientContext>(new TlsClientContext(std::move(context)));
}

ssl_st* TlsClientContext::NewConnection(const std::string& server_name) const {
  bssl::UniquePtr<SSL> ssl(SSL_new(context_.get()));
  if (ssl == nullptr) return nullptr;
  SSL_set_connect_state(ssl.get());
  // RFC 6066 3: no addresses in SNI.
  const bool has_sni = !server_name.empty() && !base::IpAddress::Parse(server_name);
  if (has_sni && SSL_set_tlsext_host_name(ssl.get(), server_name.c_str()) != 1) return nullptr;
  ClientState& state = ClientState::Of(context_.get());
  state.rejection.clear();
  const bool may_resume = state.session != nullptr &&
                          state.session_name == (has_sni ? server_name : std::string()) &&
                          state.clock->WallNow() < state.session_not_after;
  if (may_resume) SSL_set_session(ssl.get(), state.session.get());
  return ssl.release();
}

std::optional<base::WallTime> TlsClientContext::peer_not_after() const {
  return ClientState::Of(context_.get()).peer_not_after;
}

}  // namespace postern::tls
