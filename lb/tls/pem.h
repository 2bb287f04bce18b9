// pem: certificates and keys out of PEM text, with errors that an operator understands. Inside
// lb/tls only.
// Tests:    test/tls/cert_info_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/evp.h>
#include <openssl/pool.h>
#include <openssl/x509.h>

#include <optional>
#include <string>
#include <vector>

#include "lb/base/clock.h"
#include "lb/base/result.h"

namespace postern::tls {

// All certificates of the file, in its order; at least one.
[[nodiscard]] base::Result<std::vector<bssl::UniquePtr<X509>>> ReadCertificates(
    const std::string& path);
[[nodiscard]] base::Result<bssl::UniquePtr<EVP_PKEY>> ReadPrivateKey(const std::string& path);

// DNS names (lower case) and addresses of the alternative names; the common name if there are none.
[[nodiscard]] std::vector<std::string> NamesOf(X509* certificate);
[[nodiscard]] base::WallTime ToWallTime(const ASN1_TIME* time);
// "2026-01-31".
[[nodiscard]] std::string DateText(base::WallTime time);
// The common name, or all of the name on one line; escaped.
[[nodiscard]] std::string NameText(const X509_NAME* name);

}  // namespace postern::tls
