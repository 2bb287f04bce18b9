// tls_server_context: the TLS of a listener.
// SPDX-License-Identifier: Apache-2.0
#include <openssl/aes.h>
#include <openssl/bytestring.h>
#include <openssl/cipher.h>
#include <openssl/digest.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include <cstring>
#include <utility>

#include "lb/base/bytes.h"
#include "lb/base/check.h"
#include "lb/tls/tls_context.h"
#include "lb/tls/tls_state.h"

namespace postern::tls {
namespace {

void FreeState(void* /*parent*/, void* state, CRYPTO_EX_DATA* /*data*/, int /*index*/,
               long /*argl*/, void* /*argp*/) {
  delete static_cast<ServerState*>(state);
}

int StateIndex() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, &FreeState);
  return index;
}

// --- which certificate ----------------------------------------------------------------------

bool Extension(const SSL_CLIENT_HELLO* hello, uint16_t type, CBS* contents) {
  const uint8_t* data = nullptr;
  size_t size = 0;
  if (SSL_early_callback_ctx_extension_get(hello, type, &data, &size) != 1) return false;
  CBS_init(contents, data, size);
  return true;
}

// Whether a list of 16-bit numbers has this one.
bool Has(CBS numbers, uint16_t wanted) {
  uint16_t number = 0;
  while (CBS_get_u16(&numbers, &number)) {
    if (number == wanted) return true;
  }
  return false;
}

bool SpeaksTls13(const SSL_CLIENT_HELLO* hello) {
  CBS extension;
  CBS versions;
  return Extension(hello, TLSEXT_TYPE_supported_versions, &extension) &&
         CBS_get_u8_length_prefixed(&extension, &versions) && Has(versions, TLS1_3_VERSION);
}

// RFC 8446 4.2.3; before TLS 1.3 the cipher suites must allow ECDSA as well (RFC 8422 2).
bool CanEcdsa(const SSL_CLIENT_HELLO* hello, uint16_t algorithm) {
  CBS extension;
  CBS algorithms;
  if (!Extension(hello, TLSEXT_TYPE_signature_algorithms, &extension) ||
      !CBS_get_u16_length_prefixed(&extension, &algorithms) || !Has(algorithms, algorithm)) {
    return false;
  }
  if (SpeaksTls13(hello)) return true;
  CBS suites;
  CBS_init(&suites, hello->cipher_suites, hello->cipher_suites_len);
  constexpr uint16_t kEcdsaSuites[] = {0xc02b, 0xc02c, 0xcca9};
  for (const uint16_t suite : kEcdsaSuites) {
    if (Has(suites, suite)) return true;
  }
  return false;
}

ssl_select_cert_result_t SelectCertificate(const SSL_CLIENT_HELLO* hello) {
  const ServerState& state = ServerState::Of(SSL_get_SSL_CTX(hello->ssl));
  const char* sent = SSL_get_servername(hello->ssl, TLSEXT_NAMETYPE_host_name);
  const std::string name = sent == nullptr ? std::string() : base::ToLower(sent);
  const CertificateStore::Choice& choice = state.certificates->Find(name);
  const ServerCertificate* chosen = choice.rsa;
  if (choice.ecdsa != nullptr &&
      (choice.rsa == nullptr || CanEcdsa(hello, choice.ecdsa->ecdsa_algorithm))) {
    chosen = choice.ecdsa;
  }
  std::vector<CRYPTO_BUFFER*> chain;
  chain.reserve(chosen->chain.size());
  for (const auto& buffer : chosen->chain) chain.push_back(buffer.get());
  const int is_set =
      SSL_set_chain_and_key(hello->ssl, chain.data(), chain.size(), chosen->key.get(), nullptr);
  return is_set == 1 ? ssl_select_cert_success : ssl_select_cert_error;
}

// --- ALPN -----------------------------------------------------------------------------------

std::string_view OwnProtocol(conf::Protocol protocol) {
  switch (protocol) {
    case conf::Protocol::kImap:
      return "imap";
    case conf::Protocol::kPop3:
      return "pop3";
    case conf::Protocol::kSieve:
      return "managesieve";
    case conf::Protocol::kSmtp:
    case conf::Protocol::kSubmission:
    case conf::Protocol::kLmtp:
    case conf::Protocol::kTcp:
      return {};
  }
  return {};
}

// Registered names of services that are not mail submission or transfer. A name that nobody has
// registered may be some client's word for SMTP.
bool IsForeign(std::string_view name) {
  static constexpr std::string_view kForeign[] = {"http/0.9",
                                                  "http/1.0",
                                                  "http/1.1",
                                                  "h2",
                                                  "h2c",
                                                  "h3",
                                                  "spdy/1",
                                                  "spdy/2",
                                                  "spdy/3",
                                                  "stun.turn",
                                                  "stun.nat-discovery",
                                                  "webrtc",
                                                  "c-webrtc",
                                                  "ftp",
                                                  "imap",
                                                  "pop3",
                                                  "managesieve",
                                                  "coap",
                                                  "xmpp-client",
                                                  "xmpp-server",
                                                  "acme-tls/1",
                                                  "mqtt",
                                                  "dot",
                                                  "ntske/1",
                                                  "sunrpc",
                                                  "smb",
                                                  "irc",
                                                  "nntp",
                                                  "nnsp",
                                                  "doq",
                                                  "sip/2",
                                                  "tds/8.0",
                                                  "dicom",
                                                  "postgresql",
                                                  "radius/1.0",
                                                  "radius/1.1"};
  for (const std::string_view foreign : kForeign) {
    if (name == foreign) return true;
  }
  return name.starts_with("h3-");
}

// RFC 8701: values that mean nothing and must be ignored.
bool IsGrease(std::string_view name) {
  return name.size() == 2 && name[0] == name[1] && (name[0] & 0x0f) == 0x0a;
}

int SelectAlpn(SSL* ssl, const uint8_t** out, uint8_t* out_size, const uint8_t* offer,
               unsigned offer_size, void* /*unused*/) {
  const ServerState& state = ServerState::Of(SSL_get_SSL_CTX(ssl));
  if (state.protocol == conf::Protocol::kTcp) return SSL_TLSEXT_ERR_NOACK;  // we do not know
  const std::string_view own = OwnProtocol(state.protocol);
  bool may_be_ours = false;
  CBS list;
  CBS entry;
  CBS_init(&list, offer, offer_size);
  while (CBS_get_u8_length_prefixed(&list, &entry)) {
    const std::string_view name(reinterpret_cast<const char*>(CBS_data(&entry)), CBS_len(&entry));
    if (!own.empty() && name == own) {
      *out = reinterpret_cast<const uint8_t*>(own.data());
      *out_size = static_cast<uint8_t>(own.size());
      return SSL_TLSEXT_ERR_OK;
    }
    if (own.empty() && !IsGrease(name) && !IsForeign(name)) may_be_ours = true;
  }
  return may_be_ours ? SSL_TLSEXT_ERR_NOACK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

// --- tickets --------------------------------------------------------------------------------

// 1: go on.  2: go on, and give the client a new ticket.  0: not ours.  -1: error.
int OnTicket(SSL* ssl, uint8_t* key_name, uint8_t* iv, EVP_CIPHER_CTX* cipher, HMAC_CTX* hmac,
             int is_sealing) {
  const ServerState& state = ServerState::Of(SSL_get_SSL_CTX(ssl));
  const std::shared_ptr<const TicketKeySet> set = state.ticket_keys->Current();
  const auto init_hmac = [hmac](const TicketKey& key) {
    return HMAC_Init_ex(hmac, key.hmac.data(), key.hmac.size(), EVP_sha256(), nullptr) == 1;
  };
  if (is_sealing != 0) {
    const TicketKey& key = set->keys.front();
    std::memcpy(key_name, key.name.data(), key.name.size());
    RAND_bytes(iv, AES_BLOCK_SIZE);
    const bool is_good =
        EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, key.aes.data(), iv) == 1 &&
        init_hmac(key);
    return is_good ? 1 : -1;
  }
  for (const TicketKey& key : set->keys) {
    if (std::memcmp(key_name, key.name.data(), key.name.size()) != 0) continue;
    const bool is_good =
        EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, key.aes.data(), iv) == 1 &&
        init_hmac(key);
    if (!is_good) return -1;
    return &key == &set->keys.front() ? 1 : 2;
  }
  return 0;
}

}  // namespace

void ReleaseContext::operator()(ssl_ctx_st* context) const {
  SSL_CTX_free(context);
}

ServerState& ServerState::Of(const SSL_CTX* context) {
  auto* state = static_cast<ServerState*>(SSL_CTX_get_ex_data(context, StateIndex()));
  POSTERN_CHECK(state != nullptr);
  return *state;
}

base::Result<std::unique_ptr<TlsServerContext>> TlsServerContext::Build(
    const conf::Tls& tls, std::shared_ptr<const CertificateStore> certificates,
    std::shared_ptr<TicketKeys> ticket_keys, conf::Protocol protocol) {
  POSTERN_CHECK(certificates != nullptr && ticket_keys != nullptr);
  // The method without X509: certificates are bytes to a server.
  ContextHandle context(SSL_CTX_new(TLS_with_buffers_method()));
  if (context == nullptr) return base::Error{"out of memory"};
  SSL_CTX* const raw = context.get();
  std::string error;
  if (!ApplyPolicy(raw, tls.min_version, tls.groups, &error)) return base::Error{error};

  auto state = std::make_unique<ServerState>();
  state->certificates = std::move(certificates);
  state->ticket_keys = std::move(ticket_keys);
  state->protocol = protocol;
  POSTERN_CHECK(SSL_CTX_set_ex_data(raw, StateIndex(), state.release()) == 1);

  SSL_CTX_set_select_certificate_cb(raw, &SelectCertificate);
  SSL_CTX_set_alpn_select_cb(raw, &SelectAlpn, nullptr);
  // Sessions live in tickets alone. A ticket of one protocol is worth nothing to another.
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_tlsext_ticket_key_cb(raw, &OnTicket);
  const std::string_view name = conf::Name(protocol);
  SSL_CTX_set_session_id_context(raw, reinterpret_cast<const uint8_t*>(name.data()), name.size());
  constexpr uint32_t kTicketSeconds = 12 * 3600;
  SSL_CTX_set_timeout(raw, kTicketSeconds);
  SSL_CTX_set_session_psk_dhe_timeout(raw, kTicketSeconds);
  return std::unique_ptr<TlsServerContext>(new TlsServerContext(std::move(context)));
}

ssl_st* TlsServerContext::NewConnection() const {
  SSL* ssl = SSL_new(context_.get());
  if (ssl != nullptr) SSL_set_accept_state(ssl);
  return ssl;
}

}  // namespace postern::tls
