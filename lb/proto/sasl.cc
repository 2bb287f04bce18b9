// sasl: PLAIN, LOGIN, XOAUTH2 and OAUTHBEARER in both roles.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/sasl.h"

#include <algorithm>
#include <array>
#include <utility>

#include "lb/base/base64.h"
#include "lb/base/check.h"
#include "lb/base/escape.h"

namespace postern::proto {
namespace {

using base::ByteView;
using base::Secret;

constexpr std::string_view kAskUser = "VXNlcm5hbWU6";      // "Username:"
constexpr std::string_view kAskPassword = "UGFzc3dvcmQ6";  // "Password:"
constexpr uint8_t kMaxPassedOn = 4;  // failure challenges of one exchange; real servers send one

struct NameRow {
  Mechanism mechanism;
  std::string_view name;
};
constexpr std::array<NameRow, 6> kNames = {{{Mechanism::kPlain, "PLAIN"},
                                            {Mechanism::kLogin, "LOGIN"},
                                            {Mechanism::kXoauth2, "XOAUTH2"},
                                            {Mechanism::kOauthBearer, "OAUTHBEARER"},
                                            {Mechanism::kLoginCommand, "LOGIN"},
                                            {Mechanism::kUserPass, "USER"}}};
constexpr size_t kNumSasl = 4;  // the first rows are SASL mechanisms

bool HasControl(ByteView bytes) {
  return std::any_of(bytes.begin(), bytes.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
  });
}

// Decoded bytes that may hold a password: wiped when they go.
class Decoded {
 public:
  explicit Decoded(ByteView base64) : bytes_(base::Base64Decode(base64)) {}
  ~Decoded() {
    if (bytes_) base::WipeString(*bytes_);
  }
  Decoded(const Decoded&) = delete;
  Decoded& operator=(const Decoded&) = delete;
  [[nodiscard]] bool ok() const { return bytes_.has_value(); }
  [[nodiscard]] ByteView view() const { return *bytes_; }

 private:
  std::optional<std::string> bytes_;
};

// RFC 5801 4: "=2C" is a comma, "=3D" an equals sign, any other '=' an error.
std::optional<std::string> DecodeSaslName(ByteView name) {
  std::string out;
  for (size_t i = 0; i < name.size(); ++i) {
    if (name[i] != '=') {
      out += name[i];
      continue;
    }
    const ByteView code = name.substr(i, 3);
    if (code == "=2C") {
      out += ',';
    } else if (code == "=3D") {
      out += '=';
    } else {
      return std::nullopt;
    }
    i += 2;
  }
  return out;
}

// "user=alice\x01auth=Bearer ...\x01\x01"
std::optional<std::string> UserOfXoauth2(ByteView message) {
  if (!base::StartsWithIgnoreCase(message, "user=")) return std::nullopt;
  const size_t end = message.find('\x01');
  if (end == ByteView::npos) return std::nullopt;
  return std::string(message.substr(5, end - 5));
}

// "n,a=alice,\x01host=...\x01auth=Bearer ...\x01\x01"; without "a=" nobody knows whose home to
// seek.
std::optional<std::string> UserOfOauthBearer(ByteView message) {
  if (!message.starts_with("n,") && !message.starts_with("y,")) return std::nullopt;
  message.remove_prefix(2);
  const size_t end = message.find(',');
  if (end == ByteView::npos || !message.starts_with("a=")) return std::nullopt;
  if (message.substr(end + 1, 1) != "\x01") return std::nullopt;
  return DecodeSaslName(message.substr(2, end - 2));
}

}  // namespace

std::string_view Name(Mechanism mechanism) {
  return kNames[static_cast<size_t>(mechanism)].name;
}

std::optional<Mechanism> FindMechanism(ByteView name) {
  for (size_t i = 0; i < kNumSasl; ++i)
    if (base::EqualsIgnoreCase(kNames[i].name, name)) return kNames[i].mechanism;
  return std::nullopt;
}

bool IsUsableUser(ByteView user) {
  return !user.empty() && user.size() <= kMaxUserBytes && !HasControl(user);
}

bool IsUsablePassword(ByteView password) {
  return !base::HasLineBreakOrNul(password);
}

SaslServer::Outcome SaslServer::Start(Mechanism mechanism, std::optional<ByteView> initial) {
  mechanism_ = mechanism;
  request_ = {};
  request_.mechanism = mechanism;
  has_user_ = false;
  if (initial) return Next(*initial == "=" ? ByteView() : *initial);
  challenge_ = mechanism == Mechanism::kLogin ? kAskUser : std::string_view();
  return Outcome::kChallenge;
}

SaslServer::Outcome SaslServer::Next(ByteView line) {
  if (line == "*") return Outcome::kCancelled;
  const Decoded message(line);
  if (!message.ok()) return Outcome::kMalformed;
  return Take(message.view());
}

SaslServer::Outcome SaslServer::Take(ByteView message) {
  if (mechanism_ == Mechanism::kPlain) return TakePlain(message);
  if (IsToken(mechanism_)) return TakeToken(message);
  if (!has_user_) {
    // An unusable name is refused only after the password, so that the answer tells nothing.
    has_user_ = true;
    request_.user = std::string(message);
    challenge_ = kAskPassword;
    return Outcome::kChallenge;
  }
  if (!IsUsableUser(request_.user) || !IsUsablePassword(message)) return Outcome::kRefused;
  request_.password = Secret(message);
  return Outcome::kDone;
}

SaslServer::Outcome SaslServer::TakePlain(ByteView message) {
  const size_t first = message.find('\0');
  if (first == ByteView::npos) return Outcome::kMalformed;
  const size_t second = message.find('\0', first + 1);
  if (second == ByteView::npos) return Outcome::kMalformed;
  const ByteView authzid = message.substr(0, first);
  const ByteView user = message.substr(first + 1, second - first - 1);
  const ByteView password = message.substr(second + 1);
  if (!authzid.empty() && authzid != user) return Outcome::kRefused;
  if (!IsUsableUser(user) || !IsUsablePassword(password)) return Outcome::kRefused;
  request_.user = std::string(user);
  request_.password = Secret(password);
  return Outcome::kDone;
}

SaslServer::Outcome SaslServer::TakeToken(ByteView message) {
  std::optional<std::string> user =
      mechanism_ == Mechanism::kXoauth2 ? UserOfXoauth2(message) : UserOfOauthBearer(message);
  if (!user) return Outcome::kMalformed;
  if (!IsUsableUser(*user)) return Outcome::kRefused;
  request_.user = std::move(*user);
  request_.message = Secret(message);
  return Outcome::kDone;
}

LoginRequest SaslServer::TakeRequest() {
  return std::exchange(request_, {});
}

std::optional<Mechanism> ChooseMechanism(const LoginRequest& request, MechanismSet offered) {
  if (IsToken(request.mechanism)) {
    if (offered.Has(request.mechanism)) return request.mechanism;
    return std::nullopt;
  }
  for (const Mechanism mechanism : {Mechanism::kPlain, Mechanism::kLogin})
    if (offered.Has(mechanism)) return mechanism;
  return std::nullopt;
}

Secret EncodeSecret(ByteView bytes) {
  std::string base64 = base::Base64Encode(bytes);
  Secret secret(base64);
  base::WipeString(base64);
  return secret;
}

Secret JoinSecret(std::initializer_list<ByteView> parts) {
  size_t size = 0;
  for (const ByteView part : parts) size += part.size();
  std::string joined;
  // One allocation, so that no half of a password stays behind in a block that was outgrown.
  joined.reserve(size);
  for (const ByteView part : parts) joined += part;
  Secret secret(joined);
  base::WipeString(joined);
  return secret;
}

bool IsSaslResponse(ByteView line) {
  return line == "*" || Decoded(line).ok();
}

Secret SaslClient::FirstMessage() const {
  if (IsToken(mechanism_)) return EncodeSecret(request_->message.Reveal());
  if (mechanism_ == Mechanism::kLogin) return EncodeSecret(user_);
  constexpr ByteView kNul("\0", 1);
  const Secret plain = JoinSecret({kNul, user_, kNul, request_->password.Reveal()});
  return EncodeSecret(plain.Reveal());
}

Secret SaslClient::TakeInitial() {
  POSTERN_DCHECK(has_initial() && num_sent_ == 0);
  ++num_sent_;
  return FirstMessage();
}

SaslClient::Step SaslClient::Next(ByteView challenge) {
  if (num_sent_ == 0) {
    ++num_sent_;  // whatever the server's first prompt says
    return {Outcome::kRespond, FirstMessage()};
  }
  if (mechanism_ == Mechanism::kLogin && num_sent_ == 1) {
    ++num_sent_;
    return {Outcome::kRespond, EncodeSecret(request_->password.Reveal())};
  }
  if (!IsToken(mechanism_) || num_sent_ > kMaxPassedOn || !base::Base64Decode(challenge))
    return {Outcome::kUnexpected, {}};
  ++num_sent_;
  return {Outcome::kPassOn, {}};
}

}  // namespace postern::proto
