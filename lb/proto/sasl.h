// sasl: PLAIN, LOGIN, XOAUTH2 and OAUTHBEARER, as server towards the client and as client towards a
// backend.
//
// PLAIN, LOGIN (and IMAP LOGIN, POP3 USER/PASS) are one thing: user and password, translated to
// what the backend offers. XOAUTH2 and OAUTHBEARER are passed on unread but for the user's name,
// failure challenges included.
// Does not: know lines, tags or reply codes; it sees the base64 words of an exchange.
// Rules:    RFC 4616; RFC 7628 3.1; RFC 5801 4 (GS2 header, "=2C" and "=3D"); an authorization
//           identity other than the user's own is refused; CR, LF and NUL in a user name or a
//           password never get through, nor do other control characters in a user name.
// Limits:   the caller bounds the lines; a user name has at most kMaxUserBytes.
// Tests:    test/proto/sasl_test.cc, test/fuzz/sasl_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "lb/base/bytes.h"
#include "lb/base/secret.h"

namespace postern::proto {

inline constexpr size_t kMaxUserBytes = 1024;

// The order is that of metrics::Mechanism.
enum class Mechanism : uint8_t { kPlain, kLogin, kXoauth2, kOauthBearer, kLoginCommand, kUserPass };

// Of a set of SASL mechanisms.
class MechanismSet {
 public:
  constexpr void Add(Mechanism mechanism) { bits_ |= Bit(mechanism); }
  [[nodiscard]] constexpr bool Has(Mechanism mechanism) const {
    return (bits_ & Bit(mechanism)) != 0;
  }
  [[nodiscard]] constexpr bool empty() const { return bits_ == 0; }
  bool operator==(const MechanismSet&) const = default;

 private:
  static constexpr uint8_t Bit(Mechanism mechanism) {
    return static_cast<uint8_t>(1U << static_cast<unsigned>(mechanism));
  }
  uint8_t bits_ = 0;
};

// Those that a SASL exchange can name, in the order in which they are announced.
inline constexpr std::array<Mechanism, 4> kSaslMechanisms = {
    Mechanism::kPlain, Mechanism::kLogin, Mechanism::kXoauth2, Mechanism::kOauthBearer};

// "PLAIN", ...; "LOGIN" for IMAP's command and "USER" for POP3's.
[[nodiscard]] std::string_view Name(Mechanism mechanism);
// One of the four SASL mechanisms, in any case; nothing for any other name.
[[nodiscard]] std::optional<Mechanism> FindMechanism(base::ByteView name);
// Is it passed on unread (XOAUTH2, OAUTHBEARER)?
[[nodiscard]] constexpr bool IsToken(Mechanism mechanism) {
  return mechanism == Mechanism::kXoauth2 || mechanism == Mechanism::kOauthBearer;
}

// What a client wants to log in with, checked: no CR, LF or NUL in user and password.
struct LoginRequest {
  Mechanism mechanism = Mechanism::kPlain;
  std::string user;       // as the client gave it
  base::Secret password;  // empty for token mechanisms
  base::Secret message;   // token mechanisms: the client's first message, decoded
};

// May these become a login? Not empty, not too long, no control character in the user name; no CR,
// LF or NUL in the password.
[[nodiscard]] bool IsUsableUser(base::ByteView user);
[[nodiscard]] bool IsUsablePassword(base::ByteView password);

// Server role: one exchange.
class SaslServer {
 public:
  enum class Outcome : uint8_t {
    kChallenge,  // send challenge(), then give the client's line to Next
    kDone,       // TakeRequest has it
    kRefused,    // well formed, but nothing that may reach a backend: answer as to a wrong password
    kMalformed,  // no base64, or not what the mechanism says: a syntax error
    kCancelled,  // the client sent "*"
  };
  // initial: the word after the mechanism's name ("=" is the empty response), if there was one.
  [[nodiscard]] Outcome Start(Mechanism mechanism, std::optional<base::ByteView> initial);
  // One line of the client's, without its line end.
  [[nodiscard]] Outcome Next(base::ByteView line);
  // In base64, may be empty; a literal constant.
  [[nodiscard]] std::string_view challenge() const { return challenge_; }
  [[nodiscard]] LoginRequest TakeRequest();

 private:
  Outcome Take(base::ByteView message);
  Outcome TakePlain(base::ByteView message);
  Outcome TakeToken(base::ByteView message);

  Mechanism mechanism_ = Mechanism::kPlain;
  std::string_view challenge_;
  bool has_user_ = false;  // LOGIN: the next line is the password
  LoginRequest request_;
};

// Which SASL mechanism to use at a backend that offers these; nothing: none fits.
[[nodiscard]] std::optional<Mechanism> ChooseMechanism(const LoginRequest& request,
                                                       MechanismSet offered);

// Client role: one exchange at a backend.
class SaslClient {
 public:
  // mechanism: from ChooseMechanism. request must outlive this; user: what the backend is told.
  SaslClient(Mechanism mechanism, const LoginRequest& request, std::string_view user)
      : mechanism_(mechanism), request_(&request), user_(user) {}

  [[nodiscard]] Mechanism mechanism() const { return mechanism_; }
  // The first message may stand in the command (LOGIN has no such).
  [[nodiscard]] bool has_initial() const { return mechanism_ != Mechanism::kLogin; }
  // In base64. Counts as sent.
  [[nodiscard]] base::Secret TakeInitial();

  enum class Outcome : uint8_t {
    kRespond,     // send response
    kPassOn,      // a failure challenge of a token mechanism: the client must answer it
    kUnexpected,  // the exchange should be over, or the challenge is no base64
  };
  struct Step {
    Outcome outcome = Outcome::kUnexpected;
    base::Secret response;  // in base64
  };
  // challenge: what the backend sent after its "+", in base64.
  [[nodiscard]] Step Next(base::ByteView challenge);
  // Everything that the mechanism has to say was said: only now can a success be true.
  [[nodiscard]] bool has_sent_all() const {
    return num_sent_ >= (mechanism_ == Mechanism::kLogin ? 2 : 1);
  }

 private:
  [[nodiscard]] base::Secret FirstMessage() const;

  Mechanism mechanism_;
  const LoginRequest* request_;
  std::string_view user_;
  uint8_t num_sent_ = 0;
};

// Base64 of secret bytes, its own scratch wiped.
[[nodiscard]] base::Secret EncodeSecret(base::ByteView bytes);
// The parts, one behind the other, likewise.
[[nodiscard]] base::Secret JoinSecret(std::initializer_list<base::ByteView> parts);
// Is this what a client may say in answer to a passed-on challenge: base64 (may be empty), or "*"?
[[nodiscard]] bool IsSaslResponse(base::ByteView line);

}  // namespace postern::proto
