// certificates: CAs, certificates and keys for tests, made on the spot.
// SPDX-License-Identifier: Apache-2.0
#include "test/support/tls/certificates.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec_key.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "lb/base/check.h"
#include "lb/base/clock.h"

namespace postern::test {
namespace {

bssl::UniquePtr<EVP_PKEY> MakeKey(KeyKind kind) {
  bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  switch (kind) {
    case KeyKind::kP256:
    case KeyKind::kP384: {
      bssl::UniquePtr<EC_KEY> ec(
          EC_KEY_new_by_curve_name(kind == KeyKind::kP256 ? NID_X9_62_prime256v1 : NID_secp384r1));
      POSTERN_CHECK(EC_KEY_generate_key(ec.get()) == 1);
      POSTERN_CHECK(EVP_PKEY_set1_EC_KEY(key.get(), ec.get()) == 1);
      return key;
    }
    case KeyKind::kRsa2048: {
      bssl::UniquePtr<RSA> rsa(RSA_new());
      bssl::UniquePtr<BIGNUM> exponent(BN_new());
      POSTERN_CHECK(BN_set_word(exponent.get(), RSA_F4) == 1);
      POSTERN_CHECK(RSA_generate_key_ex(rsa.get(), 2048, exponent.get(), nullptr) == 1);
      POSTERN_CHECK(EVP_PKEY_set1_RSA(key.get(), rsa.get()) == 1);
      return key;
    }
    case KeyKind::kEd25519: {
      uint8_t seed[32];
      RAND_bytes(seed, sizeof seed);
      key.reset(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed, sizeof seed));
      return key;
    }
  }
  return key;
}

std::string Contents(BIO* bio) {
  const uint8_t* data = nullptr;
  size_t size = 0;
  POSTERN_CHECK(BIO_mem_contents(bio, &data, &size) == 1);
  return std::string(reinterpret_cast<const char*>(data), size);
}

std::string ToPem(X509* certificate) {
  bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  POSTERN_CHECK(PEM_write_bio_X509(bio.get(), certificate) == 1);
  return Contents(bio.get());
}

std::string ToPem(EVP_PKEY* key) {
  bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  POSTERN_CHECK(
      PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
  return Contents(bio.get());
}

void AddExtension(X509* certificate, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  bssl::UniquePtr<X509_EXTENSION> extension(
      X509V3_EXT_nconf_nid(nullptr, &context, nid, const_cast<char*>(value.c_str())));
  POSTERN_CHECK(extension != nullptr);
  POSTERN_CHECK(X509_add_ext(certificate, extension.get(), -1) == 1);
}

void SetName(X509_NAME* name, const std::string& common_name) {
  POSTERN_CHECK(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                           reinterpret_cast<const uint8_t*>(common_name.data()),
                                           static_cast<int>(common_name.size()), -1, 0) == 1);
}

// issuer null: self-signed.
bssl::UniquePtr<X509> Sign(const CertificateSpec& spec, EVP_PKEY* key, X509* issuer,
                           EVP_PKEY* issuer_key) {
  bssl::UniquePtr<X509> certificate(X509_new());
  X509_set_version(certificate.get(), 2);
  uint64_t serial = 0;
  RAND_bytes(reinterpret_cast<uint8_t*>(&serial), sizeof serial);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), static_cast<long>(serial >> 2));
  const int64_t now =
      std::chrono::floor<std::chrono::seconds>(base::SystemClock().WallNow().time_since_epoch())
          .count();
  ASN1_TIME_set(X509_getm_notBefore(certificate.get()), now + spec.not_before.count());
  ASN1_TIME_set(X509_getm_notAfter(certificate.get()), now + spec.not_after.count());
  bssl::UniquePtr<X509_NAME> subject(X509_NAME_new());
  SetName(subject.get(), spec.common_name);
  X509_set_subject_name(certificate.get(), subject.get());
  X509_set_issuer_name(certificate.get(),
                       issuer == nullptr ? subject.get() : X509_get_subject_name(issuer));
  X509_set_pubkey(certificate.get(), key);
  AddExtension(certificate.get(), NID_basic_constraints,
               spec.is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
  std::string names;
  for (const std::string& dns : spec.dns) names += (names.empty() ? "DNS:" : ",DNS:") + dns;
  for (const std::string& ip : spec.ips) names += (names.empty() ? "IP:" : ",IP:") + ip;
  if (!names.empty()) AddExtension(certificate.get(), NID_subject_alt_name, names);
  EVP_PKEY* const signer = issuer_key == nullptr ? key : issuer_key;
  const EVP_MD* digest = EVP_PKEY_id(signer) == EVP_PKEY_ED25519 ? nullptr : EVP_sha256();
  POSTERN_CHECK(X509_sign(certificate.get(), signer, digest) > 0);
  return certificate;
}

}  // namespace

struct TestCa::Keys {
  bssl::UniquePtr<EVP_PKEY> key;
  bssl::UniquePtr<X509> certificate;
};

TestCa::TestCa(const std::string& common_name) : keys_(std::make_unique<Keys>()) {
  CertificateSpec spec;
  spec.common_name = common_name;
  spec.is_ca = true;
  keys_->key = MakeKey(KeyKind::kP256);
  keys_->certificate = Sign(spec, keys_->key.get(), nullptr, nullptr);
  pem_ = ToPem(keys_->certificate.get());
}

TestCa::~TestCa() = default;

PemPair TestCa::Issue(const CertificateSpec& spec) const {
  const bssl::UniquePtr<EVP_PKEY> key = MakeKey(spec.key);
  const bssl::UniquePtr<X509> certificate =
      Sign(spec, key.get(), keys_->certificate.get(), keys_->key.get());
  return {ToPem(certificate.get()), ToPem(key.get())};
}

PemPair SelfSigned(const CertificateSpec& spec) {
  const bssl::UniquePtr<EVP_PKEY> key = MakeKey(spec.key);
  const bssl::UniquePtr<X509> certificate = Sign(spec, key.get(), nullptr, nullptr);
  return {ToPem(certificate.get()), ToPem(key.get())};
}

std::string Encrypted(const std::string& key_pem, const std::string& pass_phrase) {
  const bssl::UniquePtr<BIO> in(BIO_new_mem_buf(key_pem.data(), static_cast<int>(key_pem.size())));
  const bssl::UniquePtr<EVP_PKEY> key(PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr));
  const bssl::UniquePtr<BIO> out(BIO_new(BIO_s_mem()));
  POSTERN_CHECK(PEM_write_bio_PKCS8PrivateKey(
                    out.get(), key.get(), EVP_aes_256_cbc(), const_cast<char*>(pass_phrase.data()),
                    static_cast<int>(pass_phrase.size()), nullptr, nullptr) == 1);
  return Contents(out.get());
}

TempDir::TempDir() {
  std::string pattern = (std::filesystem::temp_directory_path() / "postern-test-XXXXXX").string();
  POSTERN_CHECK(::mkdtemp(pattern.data()) != nullptr);
  path_ = pattern;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TempDir::Write(const std::string& name, const std::string& text) const {
  const std::string file = path_ + "/" + name;
  std::ofstream(file, std::ios::binary | std::ios::trunc) << text;
  return file;
}

}  // namespace postern::test
