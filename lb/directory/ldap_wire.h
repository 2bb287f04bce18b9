// ldap_wire: what postern and its helper postern-ldap say to each other. Pure.
//
// A frame is the size of what follows (4 octets, the highest first), a letter for its kind, and its
// fields: numbers of fixed size, texts with their size in front. The first frame of a connection
// has the settings of one directory, with the password: never logged, never in an argument. Then
// come questions; replies come in any order, each with its question's number.
// Limits:   kMaxFrameBytes. Whatever is not a frame of the kind that is due is broken, and ends the
//           connection.
// Tests:    test/directory/ldap_wire_test.cc, test/fuzz/ldap_wire_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lb/base/bytes.h"
#include "lb/base/secret.h"

namespace postern::directory {

struct LdapSettings {
  std::vector<std::string> urls{};  // in order
  bool starttls = false;            // on those that begin with ldap://
  std::string ca{};                 // a file; never empty
  std::string bind_dn{};            // empty: nobody binds
  base::Secret bind_password{};
  std::string base{};
  std::string attribute{};
  std::chrono::milliseconds timeout{};  // per server
};

struct LdapQuestion {
  uint64_t id = 0;
  std::string filter{};  // as RFC 4515 writes it
};

struct LdapReply {
  // kFailed: this question; kNoServer: all of them, now.
  enum class Kind : uint8_t { kFound, kUnknown, kFailed, kNoServer };
  uint64_t id = 0;
  Kind kind = Kind::kFailed;
  std::string text{};  // kFound: the value, any octets; the failures: why
};

inline constexpr size_t kMaxFrameBytes = 64 << 10;

// Frames, whole.
[[nodiscard]] std::string ToFrame(const LdapSettings& settings);
[[nodiscard]] std::string ToFrame(const LdapQuestion& question);
[[nodiscard]] std::string ToFrame(const LdapReply& reply);

// What a frame holds; nothing: it is no such frame.
[[nodiscard]] std::optional<LdapSettings> ParseLdapSettings(base::ByteView content);
[[nodiscard]] std::optional<LdapQuestion> ParseLdapQuestion(base::ByteView content);
[[nodiscard]] std::optional<LdapReply> ParseLdapReply(base::ByteView content);

// Cuts what comes into frames. What it has held is wiped: it may have been a password.
class LdapFrames {
 public:
  LdapFrames() = default;
  ~LdapFrames();
  LdapFrames(const LdapFrames&) = delete;
  LdapFrames& operator=(const LdapFrames&) = delete;

  void Feed(base::ByteView input);
  // The content of the next whole frame, valid until the next call of anything. Nothing: there is
  // none yet, or is_broken().
  [[nodiscard]] std::optional<base::ByteView> Next();
  [[nodiscard]] bool is_broken() const { return is_broken_; }

 private:
  std::string bytes_;
  size_t start_ = 0;  // of what was not handed out
  bool is_broken_ = false;
};

}  // namespace postern::directory
