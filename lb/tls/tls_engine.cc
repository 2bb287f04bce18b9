// tls_engine: TLS as a byte transformer over the buffers of a worker.
// SPDX-License-Identifier: Apache-2.0
#include "lb/tls/tls_engine.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "lb/base/check.h"
#include "lb/tls/tls_context.h"
#include "lb/tls/tls_state.h"

namespace postern::tls {
namespace {

// The library's word in ours where an operator would not understand it.
std::string ErrorText() {
  const uint32_t error = ERR_peek_last_error();  // the first may be the cipher's, the last is TLS's
  if (error == 0) return "TLS failure";
  if (ERR_GET_LIB(error) == ERR_LIB_SSL) {
    switch (ERR_GET_REASON(error)) {
      case SSL_R_HTTP_REQUEST:
      case SSL_R_HTTPS_PROXY_REQUEST:
        return "the peer speaks HTTP";
      case SSL_R_WRONG_VERSION_NUMBER:
        return "the peer does not speak TLS";
      case SSL_R_UNSUPPORTED_PROTOCOL:
        return "no TLS version in common";
      case SSL_R_NO_SHARED_CIPHER:
        return "no cipher suite in common";
      case SSL_R_NO_SHARED_GROUP:
        return "no key exchange group in common";
      case SSL_R_NO_APPLICATION_PROTOCOL:
        return "the client asked for another protocol (ALPN)";
      case SSL_R_HANDSHAKE_FAILURE_ON_CLIENT_HELLO:
        return "the peer's alert: handshake failure (nothing in common, or it wants SNI)";
      case SSL_R_NO_RENEGOTIATION:
        return "the peer wanted to renegotiate";
      default:
        break;
    }
  }
  const char* reason = ERR_reason_error_string(error);
  if (reason == nullptr) return "TLS failure";
  std::string text = base::ToLower(reason);
  std::replace(text.begin(), text.end(), '_', ' ');
  for (const std::string_view prefix : {"sslv3 alert ", "tlsv1 alert ", "tlsv1 "}) {
    if (text.starts_with(prefix)) return "the peer's alert: " + text.substr(prefix.size());
  }
  return text;
}

}  // namespace

// --- TlsBuffers -----------------------------------------------------------------------------

const bio_method_st* TlsBuffers::Method() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index(), "postern worker");
    POSTERN_CHECK(made != nullptr);
    BIO_meth_set_read(made, &TlsBuffers::OnRead);
    BIO_meth_set_write(made, &TlsBuffers::OnWrite);
    BIO_meth_set_ctrl(made, &TlsBuffers::OnControl);
    return made;
  }();
  return method;
}

TlsBuffers::TlsBuffers() : plain_(std::make_unique_for_overwrite<char[]>(kPlainBytes)) {
  bio_ = BIO_new(Method());
  POSTERN_CHECK(bio_ != nullptr);
  BIO_set_data(bio_, this);
  BIO_set_init(bio_, 1);
}

TlsBuffers::~TlsBuffers() {
  BIO_free(bio_);
}

int TlsBuffers::OnRead(bio_st* bio, char* out, int size_bytes) {
  auto* buffers = static_cast<TlsBuffers*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (buffers->input_.empty()) {
    BIO_set_retry_read(bio);
    return -1;
  }
  const size_t n = std::min(buffers->input_.size(), static_cast<size_t>(size_bytes));
  std::memcpy(out, buffers->input_.data(), n);
  buffers->input_.remove_prefix(n);
  return static_cast<int>(n);
}

int TlsBuffers::OnWrite(bio_st* bio, const char* bytes, int size_bytes) {
  auto* buffers = static_cast<TlsBuffers*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  buffers->output_.append(bytes, static_cast<size_t>(size_bytes));
  return size_bytes;
}

long TlsBuffers::OnControl(bio_st* /*bio*/, int command, long /*number*/, void* /*pointer*/) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

// --- TlsEngine ------------------------------------------------------------------------------

TlsEngine::TlsEngine(TlsEngine&& other) noexcept {
  *this = std::move(other);
}

TlsEngine& TlsEngine::operator=(TlsEngine&& other) noexcept {
  if (this == &other) return *this;
  SSL_free(ssl_);
  ssl_ = std::exchange(other.ssl_, nullptr);
  buffers_ = std::exchange(other.buffers_, nullptr);
  error_ = std::move(other.error_);
  is_client_ = other.is_client_;
  is_up_ = other.is_up_;
  return *this;
}

TlsEngine::~TlsEngine() {
  SSL_free(ssl_);
}

bool TlsEngine::Start(TlsBuffers& buffers, const io::TlsRequest& request) {
  POSTERN_CHECK(ssl_ == nullptr && request.settings != nullptr);
  buffers_ = &buffers;
  is_client_ = request.role == io::TlsRole::kClient;
  ERR_clear_error();
  if (is_client_) {
    const auto* context = dynamic_cast<const TlsClientContext*>(request.settings);
    POSTERN_CHECK(context != nullptr);
    ssl_ = context->NewConnection(request.server_name);
  } else {
    const auto* context = dynamic_cast<const TlsServerContext*>(request.settings);
    POSTERN_CHECK(context != nullptr);
    ssl_ = context->NewConnection();
  }
  if (ssl_ == nullptr) {
    (void)Fail(SSL_ERROR_SSL);
    return false;
  }
  BIO_up_ref(buffers_->bio_);
  SSL_set_bio(ssl_, buffers_->bio_, buffers_->bio_);
  // An established session needs nothing of its configuration: saves about 1 KiB each.
  SSL_set_shed_handshake_config(ssl_, 1);
  return true;
}

void TlsEngine::Feed(base::ByteView ciphertext) {
  POSTERN_DCHECK(ciphertext.size() <= TlsBuffers::kMaxFeedBytes);
  buffers_->input_ = ciphertext;
}

TlsEngine::Status TlsEngine::Handshake() {
  POSTERN_DCHECK(!is_up_);
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_);
  if (result == 1) {
    is_up_ = true;
    return Status::kDone;
  }
  const int ssl_error = SSL_get_error(ssl_, result);
  if (ssl_error == SSL_ERROR_WANT_READ) return Status::kOk;
  return Fail(ssl_error);
}

TlsEngine::Status TlsEngine::Read(base::ByteView* plain) {
  POSTERN_DCHECK(is_up_);
  char* const scratch = buffers_->plain_.get();
  size_t filled = 0;
  Status status = Status::kOk;
  ERR_clear_error();
  for (;;) {
    const size_t room = TlsBuffers::kPlainBytes - filled;
    POSTERN_CHECK(room > 0);  // plaintext is never longer than its ciphertext
    const int n = SSL_read(ssl_, scratch + filled, static_cast<int>(room));
    if (n > 0) {
      filled += static_cast<size_t>(n);
      continue;
    }
    const int ssl_error = SSL_get_error(ssl_, n);
    if (ssl_error == SSL_ERROR_WANT_READ) {
      POSTERN_DCHECK(buffers_->input_.empty());
      break;
    }
    status = ssl_error == SSL_ERROR_ZERO_RETURN ? Status::kDone : Fail(ssl_error);
    break;
  }
  buffers_->input_ = {};
  *plain = base::ByteView(scratch, filled);
  return status;
}

bool TlsEngine::Write(base::ByteView plain) {
  POSTERN_DCHECK(is_up_ && plain.size() <= TlsBuffers::kMaxWriteBytes);
  if (plain.empty()) return true;
  ERR_clear_error();
  const int n = SSL_write(ssl_, plain.data(), static_cast<int>(plain.size()));
  if (n == static_cast<int>(plain.size())) return true;
  (void)Fail(SSL_get_error(ssl_, n));
  return false;
}

void TlsEngine::Shutdown() {
  if (!is_up_) return;
  ERR_clear_error();
  SSL_shutdown(ssl_);
}

TlsEngine::Status TlsEngine::Fail(int ssl_error) {
  buffers_->input_ = {};
  if (is_client_ && ssl_ != nullptr && !is_up_) {
    std::string verdict = ClientState::Of(SSL_get_SSL_CTX(ssl_)).TakeRejection();
    if (!verdict.empty()) {
      error_ = std::make_unique<std::string>(std::move(verdict));
      return Status::kRejected;
    }
  }
  error_ = std::make_unique<std::string>(
      ssl_error == SSL_ERROR_ZERO_RETURN ? "the peer closed during the handshake" : ErrorText());
  return Status::kFailed;
}

std::string TlsEngine::TakeError() {
  if (error_ == nullptr) return {};
  const std::unique_ptr<std::string> error = std::move(error_);
  return *error;
}

io::TlsFacts TlsEngine::Facts() const {
  POSTERN_DCHECK(is_up_);
  io::TlsFacts facts;
  facts.version = SSL_get_version(ssl_);
  facts.is_resumed = SSL_session_reused(ssl_) != 0;
  if (const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl_)) {
    facts.cipher = SSL_CIPHER_standard_name(cipher);
  }
  // A TLS 1.2 resumption exchanges no key: the library would name the first session's group.
  if (!facts.is_resumed || SSL_version(ssl_) >= TLS1_3_VERSION) {
    const uint16_t group = SSL_get_curve_id(ssl_);
    const char* name = group == 0 ? nullptr : SSL_get_curve_name(group);
    if (name != nullptr) facts.group = name;
  }
  if (!is_client_) {
    const char* name = SSL_get_servername(ssl_, TLSEXT_NAMETYPE_host_name);
    if (name != nullptr) facts.server_name = base::ToLower(name);
  }
  return facts;
}

}  // namespace postern::tls
