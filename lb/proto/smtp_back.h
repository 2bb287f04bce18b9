// smtp_back: the client role towards an SMTP backend up to where a transaction may begin.
//
// A ladder: greeting, EHLO, [STARTTLS, EHLO,] [XCLIENT, EHLO,] [AUTH]. Used by live sessions and, without a client, by
// probes: what a check finds good is what sessions will meet.
// Does not: touch sockets or TLS; never goes on in clear where TLS is wanted; reads nothing of what came before TLS as if it
// had come inside (RFC 3207 4.2).
// Limits:   reply_lines; a reply line has kMaxReplyLine bytes.
// Tests:    test/proto/smtp_back_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lb/base/bytes.h"
#include "lb/base/end_cause.h"
#include "lb/base/secret.h"
#include "lb/proto/sasl.h"
#include "lb/proto/smtp_grammar.h"
#include "lb/proto/xclient.h"

namespace postern::proto {

struct SmtpBackPlan {
  std::string hello;                       // said in EHLO: the client's own name, or ours for a probe
  bool wants_starttls = false;
  std::optional<XclientFacts> xclient;     // set: hand on the client
  const LoginRequest* login = nullptr;     // lives longer; null: no AUTH
  std::string user_for_backend;            // with login
  size_t reply_lines = 128;
};

class SmtpBack {
 public:
  enum class Outcome : uint8_t {
    kGoOn,       // wants the next reply
    kStartTls,   // all of the input is consumed; start TLS, then call TlsUp
    kChallenge,  // challenge() is to be answered by Respond (token mechanisms alone)
    kReady,      // a transaction may begin
    kRefused,    // the login was wrong: reply() says how
    kVerdict,    // the backend refuses the client, not the work: reply() is to be said to the client
    kFailed,     // fault(), phase(), why()
  };
  struct Step {
    size_t consumed = 0;
    Outcome outcome = Outcome::kGoOn;
    std::string send;  // to the backend; may hold credentials: wipe it when it is sent
  };

  explicit SmtpBack(SmtpBackPlan plan) : plan_(std::move(plan)) {}

  // At most one reply is taken. Call again while something was consumed and the outcome is kGoOn.
  [[nodiscard]] Step Next(base::ByteView input);
  // TLS is up: what was learned in clear is forgotten, EHLO goes out again.
  [[nodiscard]] std::string TlsUp();
  // The client's base64 answer to a challenge, or "*".
  [[nodiscard]] std::string Respond(base::ByteView line);

  [[nodiscard]] base::Phase phase() const;
  [[nodiscard]] base::FaultKind fault() const { return fault_; }
  [[nodiscard]] const std::string& why() const { return why_; }
  [[nodiscard]] const std::string& reply() const { return reply_; }  // raw, with line ends
  [[nodiscard]] const std::string& challenge() const { return challenge_; }
  // Of the last EHLO.
  [[nodiscard]] const std::vector<std::string>& capabilities() const { return capabilities_; }
  // Everything so far was before any byte that the client chose.
  [[nodiscard]] bool is_before_client() const { return is_before_client_; }
  // The backend knows the client's address by now.
  [[nodiscard]] bool knows_client() const { return knows_client_; }

 private:
  enum class State : uint8_t {
    kGreeting, kEhlo, kStartTls, kTls, kEhloInTls, kXclient, kEhloAsClient, kAuth, kReady, kOver
  };
  [[nodiscard]] Step TakeReply(const SmtpReply& reply);
  [[nodiscard]] Step AfterEhlo();
  [[nodiscard]] Step StartAuth();
  [[nodiscard]] Step TakeAuthReply(const SmtpReply& reply);
  [[nodiscard]] Step Fail(base::FaultKind kind, std::string why);
  [[nodiscard]] Step Judge(const SmtpReply& reply);
  [[nodiscard]] std::string Ehlo();

  SmtpBackPlan plan_;
  State state_ = State::kGreeting;
  std::vector<std::string> capabilities_;
  std::vector<std::string> xclient_left_;
  std::optional<SaslClient> sasl_;
  base::FaultKind fault_ = base::FaultKind::kProtocol;
  std::string why_, reply_, challenge_;
  bool is_before_client_ = true;
  bool knows_client_ = false;
  bool is_in_tls_ = false;
  bool has_xclient_gone_ = false;
};

}  // namespace postern::proto
