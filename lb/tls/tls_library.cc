// tls_library: which TLS library is inside.
// SPDX-License-Identifier: Apache-2.0
#include "lb/tls/tls_library.h"

#include <openssl/ssl.h>

namespace postern::tls {

std::string LibraryName() {
  std::string name = "BoringSSL API " + std::to_string(BORINGSSL_API_VERSION);
  if (BORINGSSL_API_VERSION == 17) name += " (Debian android-libboringssl, of 2022)";
  return name;
}

bool IsLibraryCurrent() {
  return HasMlkem();
}

bool HasMlkem() {
  // Not by the version of the API: that was 32 for half a year before the group came.
#ifdef SSL_GROUP_X25519_MLKEM768
  return true;
#else
  return false;
#endif
}

}  // namespace postern::tls
