// mail_submission: one message handed to one SMTP server: the ladder of smtp_back (greeting, EHLO
// [, STARTTLS, EHLO] [, AUTH]), then MAIL, RCPT, DATA, the text, QUIT.
//
// kTurn: the message was accepted, and QUIT is said; kOver follows with the answer to it. kOver
// before that: fault() says why it was not. One command at a time, so that a refusal is one
// command's. Where DSN is announced no report of a failure is asked for: it would be mail that
// nobody expects.
// Rules:    RFC 5321 3.3, 4.5.2 (dots); RFC 3461 (NOTIFY=NEVER).
// Limits:   SmtpReplyReader::Limits.
// Owner:    one delivery_round.   Thread: none; pure.
// Tests:    test/health/delivery_probes_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "conf/config.h"
#include "health/dialogue.h"
#include "lb/base/secret.h"
#include "lb/proto/sasl.h"
#include "lb/proto/smtp_back.h"
#include "lb/proto/smtp_reply.h"

namespace postern::health {

struct SubmissionPlan {
  conf::TlsMode tls = conf::TlsMode::kNone;
  conf::ClientAddress client_address = conf::ClientAddress::kNone;
  // Who comes from one of these is expected to send a PROXY header (a listener of our own).
  std::vector<base::Network> proxy_expected_from;
  std::string hello;
  std::optional<proto::LoginRequest> login;
  std::string from, to;  // without brackets; `from` may be empty
  std::string text;      // whole lines
};

class MailSubmission final : public Dialogue {
 public:
  explicit MailSubmission(SubmissionPlan plan) : plan_(std::move(plan)) {}
  [[nodiscard]] Step OnConnected(const Ends& ends, std::string& out) override;
  [[nodiscard]] Step OnTls(std::string& out) override;
  [[nodiscard]] Step Next(base::ByteView input, std::string& out) override;
  void Farewell(std::string& out) override;
  [[nodiscard]] base::Phase phase() const override;

  [[nodiscard]] bool is_accepted() const { return is_accepted_; }
  // The last line of the message is on its way: whether it was accepted cannot be known yet.
  [[nodiscard]] bool is_sent() const { return is_sent_; }

 private:
  enum class State : uint8_t { kLadder, kMail, kRcpt, kData, kText, kQuit, kOver };

  Step TakeLadder(proto::SmtpBack::Step step, std::string& out);
  Step TakeReply(const proto::SmtpReply& reply, std::string& out);
  Step Refused(const proto::SmtpReply& reply, std::string& out);

  const SubmissionPlan plan_;
  std::optional<proto::SmtpBack> ladder_;
  proto::SmtpReplyReader replies_{{}};
  State state_ = State::kLadder;
  bool is_accepted_ = false;
  bool is_sent_ = false;
};

}  // namespace postern::health
