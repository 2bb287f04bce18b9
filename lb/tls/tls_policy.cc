// tls_policy: versions, cipher suites, signature algorithms and groups: the same for both roles.
// SPDX-License-Identifier: Apache-2.0
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "lb/base/bytes.h"
#include "lb/tls/tls_library.h"
#include "lb/tls/tls_state.h"

namespace postern::tls {
namespace {

// TLS 1.2; those of 1.3 are fixed. In brackets the client's order counts: it knows whether its AES
// is fast.
constexpr const char* kCiphers =
    "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]:"
    "[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";

// No SHA-1: the library still has it at the end of its own list.
constexpr uint16_t kAlgorithms[] = {
    SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_RSA_PSS_RSAE_SHA256, SSL_SIGN_RSA_PKCS1_SHA256,
    SSL_SIGN_ECDSA_SECP384R1_SHA384, SSL_SIGN_RSA_PSS_RSAE_SHA384, SSL_SIGN_RSA_PKCS1_SHA384,
    SSL_SIGN_ECDSA_SECP521R1_SHA512, SSL_SIGN_RSA_PSS_RSAE_SHA512, SSL_SIGN_RSA_PKCS1_SHA512,
};

std::vector<std::string> DefaultGroups() {
  std::vector<std::string> groups = {"X25519", "P-256", "P-384"};
  if (HasMlkem()) groups.insert(groups.begin(), "X25519MLKEM768");
  return groups;
}

}  // namespace

bool KnowsGroup(const std::string& group) {
  // An experiment that was given up, and curves too small or too odd for mail.
  for (const char* refused : {"CECPQ2", "P-224", "X25519Kyber768Draft00"}) {
    if (base::EqualsIgnoreCase(group, refused)) return false;
  }
  if (group.empty() || group.find(':') != std::string::npos) return false;
  const bssl::UniquePtr<SSL_CTX> context(SSL_CTX_new(TLS_with_buffers_method()));
  const bool is_known =
      context != nullptr && SSL_CTX_set1_curves_list(context.get(), group.c_str()) == 1;
  ERR_clear_error();
  return is_known;
}

std::vector<std::string> GroupsInUse(const std::vector<std::string>& configured) {
  if (configured.empty()) return DefaultGroups();
  std::vector<std::string> known;
  for (const std::string& group : configured)
    if (KnowsGroup(group)) known.push_back(group);
  return known;
}

bool ApplyPolicy(SSL_CTX* context, uint16_t min_version, const std::vector<std::string>& groups,
                 std::string* error) {
  std::string list;
  for (const std::string& group : GroupsInUse(groups)) {
    if (!list.empty()) list += ':';
    list += group;
  }
  if (list.empty()) {
    *error = "none of the key exchange groups is known to this build";
    return false;
  }
  SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
  const bool is_good =
      SSL_CTX_set_min_proto_version(context, std::max<uint16_t>(min_version, TLS1_2_VERSION)) ==
          1 &&
      SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 &&
      SSL_CTX_set_strict_cipher_list(context, kCiphers) == 1 &&
      SSL_CTX_set_signing_algorithm_prefs(context, kAlgorithms, std::size(kAlgorithms)) == 1 &&
      SSL_CTX_set_verify_algorithm_prefs(context, kAlgorithms, std::size(kAlgorithms)) == 1 &&
      SSL_CTX_set1_curves_list(context, list.c_str()) == 1;
  if (!is_good) *error = "the TLS library refuses the settings";
  ERR_clear_error();
  return is_good;
}

}  // namespace postern::tls
