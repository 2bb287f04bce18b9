// certificate_store: certificates and trusted CAs: read once, immutable, shared by all workers.
//
// CertificateStore answers "which certificate for this name and this client?": exact name, then
// wildcard, then the first certificate; an RSA and an ECDSA certificate for the same names stand in
// for each other, and the client's ClientHello decides (ECDSA where it can: a fifth of the cost).
// Owner:    a snapshot, through shared_ptr; every TlsServerContext holds one.
// Thread:   any; immutable (the library's reference counts are atomic).
// Tests:    test/tls/tls_context_test.cc, test/tls/cert_info_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "conf/config.h"
#include "lb/base/clock.h"
#include "lb/base/result.h"

struct crypto_buffer_st;
struct evp_pkey_st;
struct x509_store_st;

namespace postern::tls {

struct Release {
  void operator()(crypto_buffer_st* buffer) const;
  void operator()(evp_pkey_st* key) const;
  void operator()(x509_store_st* store) const;
};

enum class KeyType : uint8_t { kRsa, kEcdsa };

// One chain with its key.
struct ServerCertificate {
  std::string path;                                               // of the chain, as configured
  std::vector<std::unique_ptr<crypto_buffer_st, Release>> chain;  // leaf first
  std::unique_ptr<evp_pkey_st, Release> key;
  KeyType key_type = KeyType::kRsa;
  uint16_t ecdsa_algorithm = 0;    // TLS SignatureScheme that fits the key's curve
  std::vector<std::string> names;  // DNS names, lower case, wildcards as "*.example.com"
  base::WallTime not_before{};
  base::WallTime not_after{};
};

// Reads, and checks that the parts belong together; dates are not judged here.
[[nodiscard]] base::Result<ServerCertificate> LoadServerCertificate(const std::string& cert_path,
                                                                    const std::string& key_path);

class CertificateStore {
 public:
  // Those of one name: at most one of each type; at least one of them is set.
  struct Choice {
    const ServerCertificate* rsa = nullptr;
    const ServerCertificate* ecdsa = nullptr;
  };

  // At least one.
  [[nodiscard]] static base::Result<std::shared_ptr<const CertificateStore>> Load(
      const std::vector<conf::Certificate>& files);

  // name: lower case; empty for a client that sent none.
  [[nodiscard]] const Choice& Find(std::string_view name) const;
  [[nodiscard]] const std::vector<ServerCertificate>& certificates() const { return all_; }

 private:
  std::vector<ServerCertificate> all_;
  std::map<std::string, Choice, std::less<>> by_name_;
  Choice default_;
};

// CAs that backends' certificates are verified against.
class TrustStore {
 public:
  static constexpr const char* kSystemPath = "/etc/ssl/certs/ca-certificates.crt";

  // Empty path: the system's.
  [[nodiscard]] static base::Result<std::shared_ptr<const TrustStore>> Load(
      const std::string& path);
  [[nodiscard]] x509_store_st* raw() const { return store_.get(); }

 private:
  std::unique_ptr<x509_store_st, Release> store_;
};

// Trust stores by path, so that a hundred backends with one CA share one (the system's CAs are a
// megabyte). One per snapshot being built; the thread that builds it.
class TrustStores {
 public:
  [[nodiscard]] base::Result<std::shared_ptr<const TrustStore>> Get(const std::string& path);

 private:
  std::map<std::string, std::shared_ptr<const TrustStore>> by_path_;
};

}  // namespace postern::tls
