// cert_info: what can be said of certificate, key, CA and ticket key files before they are used.
//
// Check... are the questions that conf::FileChecks asks: an error text, or nothing if all is well.
// Thread:   any.
// Tests:    test/tls/cert_info_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lb/base/clock.h"
#include "lb/base/result.h"

namespace postern::tls {

struct CertificateInfo {
  std::vector<std::string> names;
  base::WallTime not_before{};
  base::WallTime not_after{};
};
// Of the first certificate in the file.
[[nodiscard]] base::Result<CertificateInfo> ReadCertificateInfo(const std::string& path);

// Readable, in PEM, belonging together, of a key type that can be used.
[[nodiscard]] std::optional<std::string> CheckPair(const std::string& cert_path,
                                                   const std::string& key_path);
// Neither expired nor from the future.
[[nodiscard]] std::optional<std::string> CheckValidity(
    const std::string& cert_path, const base::Clock& clock = base::SystemClock());
[[nodiscard]] std::optional<std::string> CheckCaFile(const std::string& path);
[[nodiscard]] std::optional<std::string> CheckTicketKeys(const std::string& path);

}  // namespace postern::tls
