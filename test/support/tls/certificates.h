// certificates: CAs, certificates and keys for tests, made on the spot.
//
// Only strings and paths come out, so that users need no TLS library.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace postern::test {

enum class KeyKind : uint8_t { kP256, kP384, kRsa2048, kEd25519 };

struct CertificateSpec {
  std::vector<std::string> dns{};  // alternative names
  std::vector<std::string> ips{};
  std::string common_name = "test";
  KeyKind key = KeyKind::kP256;
  // Counted from now.
  std::chrono::seconds not_before = -std::chrono::hours(24);
  std::chrono::seconds not_after = std::chrono::hours(24 * 30);
  bool is_ca = false;
};

struct PemPair {
  std::string cert;
  std::string key;
};

// A certificate authority that lives as long as the test.
class TestCa {
 public:
  explicit TestCa(const std::string& common_name = "Test CA");
  ~TestCa();
  // The chain in the result is the leaf alone: the CA signs directly.
  [[nodiscard]] PemPair Issue(const CertificateSpec& spec) const;
  [[nodiscard]] const std::string& pem() const { return pem_; }

 private:
  struct Keys;
  std::unique_ptr<Keys> keys_;
  std::string pem_;
};

[[nodiscard]] PemPair SelfSigned(const CertificateSpec& spec);
// The key again, under a pass phrase.
[[nodiscard]] std::string Encrypted(const std::string& key_pem, const std::string& pass_phrase);

// A folder that is gone after the test.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  // Writes (or overwrites) a file and returns its path.
  [[nodiscard]] std::string Write(const std::string& name, const std::string& text) const;

 private:
  std::string path_;
};

}  // namespace postern::test
