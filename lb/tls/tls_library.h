// tls_library: which TLS library is inside, and what it can do.
// Tests:    test/tls/cert_info_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace postern::tls {

// "BoringSSL API 43", or "BoringSSL API 17 (Debian android-libboringssl, of 2022)".
[[nodiscard]] std::string LibraryName();
// False for the library of 2022: good for building and testing, but nobody mends it any more.
[[nodiscard]] bool IsLibraryCurrent();
// The hybrid post-quantum key exchange X25519MLKEM768.
[[nodiscard]] bool HasMlkem();
// Whether a group of the configuration can be used: "X25519", "P-256", ...
[[nodiscard]] bool KnowsGroup(const std::string& group);
// Those of a configuration that can be used, in its order; the defaults if it names none.
[[nodiscard]] std::vector<std::string> GroupsInUse(const std::vector<std::string>& configured);

}  // namespace postern::tls
