// cert_info: what can be said of certificate, key, CA and ticket key files before they are used.
// SPDX-License-Identifier: Apache-2.0
#include "lb/tls/cert_info.h"

#include <openssl/x509.h>

#include "lb/tls/certificate_store.h"
#include "lb/tls/pem.h"
#include "lb/tls/ticket_keys.h"

namespace postern::tls {

base::Result<CertificateInfo> ReadCertificateInfo(const std::string& path) {
  const base::Result<std::vector<bssl::UniquePtr<X509>>> chain = ReadCertificates(path);
  if (!chain.ok()) return base::Error{chain.error()};
  X509* const leaf = chain->front().get();
  CertificateInfo info;
  info.names = NamesOf(leaf);
  info.not_before = ToWallTime(X509_get0_notBefore(leaf));
  info.not_after = ToWallTime(X509_get0_notAfter(leaf));
  return info;
}

std::optional<std::string> CheckPair(const std::string& cert_path, const std::string& key_path) {
  const base::Result<ServerCertificate> loaded = LoadServerCertificate(cert_path, key_path);
  if (!loaded.ok()) return loaded.error();
  return std::nullopt;
}

std::optional<std::string> CheckValidity(const std::string& cert_path, const base::Clock& clock) {
  const base::Result<CertificateInfo> loaded = ReadCertificateInfo(cert_path);
  if (!loaded.ok()) return loaded.error();
  const base::WallTime now = clock.WallNow();
  if (now >= loaded->not_after) {
    return cert_path + ": the certificate has expired on " + DateText(loaded->not_after);
  }
  if (now < loaded->not_before) {
    return cert_path + ": the certificate is not valid before " + DateText(loaded->not_before);
  }
  return std::nullopt;
}

std::optional<std::string> CheckCaFile(const std::string& path) {
  const base::Result<std::shared_ptr<const TrustStore>> loaded = TrustStore::Load(path);
  if (!loaded.ok()) return loaded.error();
  return std::nullopt;
}

std::optional<std::string> CheckTicketKeys(const std::string& path) {
  const auto loaded = TicketKeys::ReadFile(path);
  if (!loaded.ok()) return loaded.error();
  return std::nullopt;
}

}  // namespace postern::tls
