// certificate_store: certificates and trusted CAs, shared by all workers.
// SPDX-License-Identifier: Apache-2.0
#include "lb/tls/certificate_store.h"

#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pool.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <utility>

#include "lb/tls/pem.h"

namespace postern::tls {

void Release::operator()(crypto_buffer_st* buffer) const {
  CRYPTO_BUFFER_free(buffer);
}
void Release::operator()(evp_pkey_st* key) const {
  EVP_PKEY_free(key);
}
void Release::operator()(x509_store_st* store) const {
  X509_STORE_free(store);
}

namespace {

// The one signature algorithm of TLS 1.3 for this curve; 0 if TLS has none.
uint16_t EcdsaAlgorithm(EVP_PKEY* key) {
  const EC_KEY* ec = EVP_PKEY_get0_EC_KEY(key);
  if (ec == nullptr) return 0;
  switch (EC_GROUP_get_curve_name(EC_KEY_get0_group(ec))) {
    case NID_X9_62_prime256v1:
      return SSL_SIGN_ECDSA_SECP256R1_SHA256;
    case NID_secp384r1:
      return SSL_SIGN_ECDSA_SECP384R1_SHA384;
    case NID_secp521r1:
      return SSL_SIGN_ECDSA_SECP521R1_SHA512;
    default:
      return 0;
  }
}

std::unique_ptr<crypto_buffer_st, Release> ToBuffer(X509* certificate) {
  uint8_t* der = nullptr;
  const int size = i2d_X509(certificate, &der);
  if (size <= 0) return nullptr;
  std::unique_ptr<crypto_buffer_st, Release> buffer(
      CRYPTO_BUFFER_new(der, static_cast<size_t>(size), nullptr));
  OPENSSL_free(der);
  return buffer;
}

}  // namespace

base::Result<ServerCertificate> LoadServerCertificate(const std::string& cert_path,
                                                      const std::string& key_path) {
  base::Result<std::vector<bssl::UniquePtr<X509>>> chain = ReadCertificates(cert_path);
  if (!chain.ok()) return base::Error{chain.error()};
  base::Result<bssl::UniquePtr<EVP_PKEY>> key = ReadPrivateKey(key_path);
  if (!key.ok()) return base::Error{key.error()};
  EVP_PKEY* const raw_key = key.value().get();

  ServerCertificate made;
  made.path = cert_path;
  X509* const leaf = chain.value().front().get();
  if (X509_check_private_key(leaf, raw_key) != 1) {
    ERR_clear_error();
    for (const bssl::UniquePtr<X509>& other : chain.value()) {
      const bool is_misplaced = X509_check_private_key(other.get(), raw_key) == 1;
      ERR_clear_error();
      if (is_misplaced) {
        return base::Error{cert_path + ": the server's own certificate must come first"};
      }
    }
    return base::Error{key_path + " is not the key of " + cert_path};
  }
  switch (EVP_PKEY_id(raw_key)) {
    case EVP_PKEY_RSA:
      made.key_type = KeyType::kRsa;
      break;
    case EVP_PKEY_EC:
      made.key_type = KeyType::kEcdsa;
      made.ecdsa_algorithm = EcdsaAlgorithm(raw_key);
      if (made.ecdsa_algorithm != 0) break;
      [[fallthrough]];
    default:
      return base::Error{key_path + ": only RSA, P-256, P-384 and P-521 keys can be used"};
  }
  for (const bssl::UniquePtr<X509>& certificate : chain.value()) {
    made.chain.push_back(ToBuffer(certificate.get()));
    if (made.chain.back() == nullptr) return base::Error{cert_path + ": out of memory"};
  }
  made.key.reset(key.value().release());
  made.names = NamesOf(leaf);
  made.not_before = ToWallTime(X509_get0_notBefore(leaf));
  made.not_after = ToWallTime(X509_get0_notAfter(leaf));
  return made;
}

base::Result<std::shared_ptr<const CertificateStore>> CertificateStore::Load(
    const std::vector<conf::Certificate>& files) {
  auto store = std::make_shared<CertificateStore>();
  for (const conf::Certificate& file : files) {
    base::Result<ServerCertificate> loaded = LoadServerCertificate(file.cert, file.key);
    if (!loaded.ok()) return base::Error{loaded.error()};
    store->all_.push_back(std::move(loaded).value());
  }
  if (store->all_.empty()) return base::Error{"no certificate is configured"};
  const auto offer = [](Choice& choice, const ServerCertificate& certificate) {
    const ServerCertificate*& slot =
        certificate.key_type == KeyType::kEcdsa ? choice.ecdsa : choice.rsa;
    if (slot == nullptr) slot = &certificate;  // the first one listed counts
  };
  for (const ServerCertificate& certificate : store->all_) {
    for (const std::string& name : certificate.names) offer(store->by_name_[name], certificate);
  }
  const ServerCertificate& first = store->all_.front();
  if (!first.names.empty()) store->default_ = store->by_name_[first.names.front()];
  // By its own slot the first certificate may have lost to none: it is the first of all.
  offer(store->default_, first);
  return std::shared_ptr<const CertificateStore>(std::move(store));
}

const CertificateStore::Choice& CertificateStore::Find(std::string_view name) const {
  if (name.empty()) return default_;
  if (const auto exact = by_name_.find(name); exact != by_name_.end()) return exact->second;
  // RFC 6125 6.4.3: the wildcard stands for exactly one label.
  if (const size_t dot = name.find('.'); dot != std::string_view::npos && dot > 0) {
    const std::string wildcard = "*" + std::string(name.substr(dot));
    if (const auto found = by_name_.find(wildcard); found != by_name_.end()) return found->second;
  }
  return default_;
}

base::Result<std::shared_ptr<const TrustStore>> TrustStore::Load(const std::string& path) {
  const std::string& file = path.empty() ? std::string(kSystemPath) : path;
  base::Result<std::vector<bssl::UniquePtr<X509>>> certificates = ReadCertificates(file);
  if (!certificates.ok()) return base::Error{certificates.error()};
  auto trust = std::make_shared<TrustStore>();
  trust->store_.reset(X509_STORE_new());
  for (const bssl::UniquePtr<X509>& certificate : certificates.value()) {
    X509_STORE_add_cert(trust->store_.get(), certificate.get());
  }
  ERR_clear_error();  // duplicates are no error
  return std::shared_ptr<const TrustStore>(std::move(trust));
}

base::Result<std::shared_ptr<const TrustStore>> TrustStores::Get(const std::string& path) {
  std::shared_ptr<const TrustStore>& known = by_path_[path];
  if (known == nullptr) {
    base::Result<std::shared_ptr<const TrustStore>> loaded = TrustStore::Load(path);
    if (!loaded.ok()) return loaded;
    known = std::move(loaded).value();
  }
  return known;
}

}  // namespace postern::tls
