// tls_library: which TLS library is inside.
// SPDX-License-Identifier: Apache-2.0
#include "lb/tls/tls_library.h"

#include <openssl/base.h>

namespace postern::tls {
namespace {
// Since this version of the API the library has the group of the final standard.
constexpr int kFirstWithMlkem = 32;
}  // namespace

std::string LibraryName() {
  std::string name = "BoringSSL API " + std::to_string(BORINGSSL_API_VERSION);
  if (BORINGSSL_API_VERSION == 17) name += " (Debian android-libboringssl, of 2022)";
  return name;
}

bool IsLibraryCurrent() {
  return HasMlkem();
}

bool HasMlkem() {
  return BORINGSSL_API_VERSION >= kFirstWithMlkem;
}

}  // namespace postern::tls
