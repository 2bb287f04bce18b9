// probe: one check of one endpoint: a polite conversation in its own protocol, each phase timed.
//
// Drives the same machines as live sessions (proto/*_back), so that what is found here is what
// sessions meet: certificate and name are verified alike, a PROXY header is sent where the endpoint
// wants one (for a connection of our own), STARTTLS is done before anything is believed.
//   smtp        greeting, EHLO [, STARTTLS, EHLO] [, MAIL, RCPT, RSET], QUIT
//   lmtp        the same, with LHLO for EHLO
//   submission  the same, with AUTH before MAIL where there is a login
//   imap        greeting, CAPABILITY [, STARTTLS, CAPABILITY] [, LOGIN, SELECT], LOGOUT
//   pop3        greeting, CAPA [, STLS, CAPA] [, USER, PASS, STAT], QUIT
//   others      connect [, TLS]
// The answer to the goodbye is waited for, and a failed check says goodbye too where the server can
// hear it, so that a server's log shows nothing but a connection that came and went.
// A relay check plays a stranger (where the endpoint is told addresses: one of TEST-NET) that asks
// for a foreign recipient, and never sends a message.
// Limits:   the whole of it: ProbePlan::timeout; the wait for the last answer: kGoodbye.
// Owner:    prober.   Thread: the health loop's.
// Tests:    test/health/probe_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "health/observation.h"
#include "lb/balance/endpoint.h"
#include "lb/base/end_cause.h"
#include "lb/io/dialer.h"
#include "lb/io/loop.h"
#include "lb/io/stream.h"
#include "lb/io/timer.h"
#include "lb/proto/machine.h"
#include "lb/proto/smtp_back.h"

namespace postern::health {

// What it points to lives as long as the probe, or as long as `keep`.
struct ProbePlan {
  std::shared_ptr<const void> keep;
  const balance::Endpoint* endpoint = nullptr;
  std::vector<base::IpAddress> addresses;             // tried in turn, as sessions do
  const io::TlsSettings* tls = nullptr;               // null: in clear
  std::string hello;                                  // what EHLO says
  base::Duration connect = std::chrono::seconds(3);   // for all addresses together
  base::Duration timeout = std::chrono::seconds(10);  // for the whole check
  const conf::Credentials* login = nullptr;           // null: no login (never used on smtp)
  const conf::Health::Mail* mail = nullptr;           // null: no MAIL
  bool is_relay_check = false;                        // smtp: the stranger's questions instead
};

class Probe final : public io::Stream::Observer {
 public:
  static constexpr base::Duration kGoodbye = std::chrono::seconds(2);
  // A host of this name exists, takes no mail, and is nobody's: a server that looks names up finds
  // no fault in it, and nobody would be bothered.
  static constexpr std::string_view kForeignRecipient = "relay-check@www.example.com";
  using Done = std::function<void(const Observation&)>;

  Probe(io::Loop& loop, io::Dialer& dialer, ProbePlan plan, Done done);
  ~Probe();
  // Does a check of this protocol learn what the endpoint can do?
  [[nodiscard]] static bool Speaks(conf::Protocol protocol);
  // `done` is called once, later; the probe may then be deleted, but not from within.
  void Start();

 private:
  // One command behind the ladder of SMTP, and what it is.
  struct SmtpStep {
    std::string line;
    base::Phase phase = base::Phase::kCommand;
    bool is_question = false;  // the relay check's: the answer is the result
  };

  void OnStream(io::Stream& stream, io::Stream::Event event) override;
  void Dial();
  void OnDialDeadline();
  void OnConnected();
  void MakeMachine();
  void OnTlsUp();
  void OnReadable();
  void OnEnd();
  void StartTls();
  void Drive();
  void DriveSmtp(const std::function<proto::SmtpBack::Step(std::string&)>& first);
  void PlanSmtpSteps();
  void NextSmtpStep();
  void ReadSmtpReplies();
  void OnDeadline();

  void SetPhase(base::Phase phase);
  void TakePhase();
  // What is known now is the result; only the goodbye is left.
  void Passed();
  void Fail(base::FaultKind kind, std::string why);
  void Finish();
  void CloseLater();

  io::Loop& loop_;
  io::Dialer& dialer_;
  const ProbePlan plan_;
  const conf::Endpoint& conf_;
  Done done_;
  proto::LoginRequest login_;
  io::Timer deadline_;
  io::Timer dial_deadline_;
  base::MonoTime began_;
  base::MonoTime connect_until_;
  size_t num_dialled_ = 0;
  std::unique_ptr<io::Stream> stream_;
  bool is_connected_ = false;
  bool is_handshaking_ = false;
  bool has_left_ = false;                        // the goodbye is said
  std::unique_ptr<proto::BackMachine> machine_;  // imap, pop3
  std::unique_ptr<proto::SmtpBack> smtp_;        // smtp, submission
  std::deque<SmtpStep> steps_;                   // behind its ladder; the first is under way
  proto::SmtpReplyReader replies_{{}};
  base::Phase phase_ = base::Phase::kConnect;
  base::MonoTime phase_began_;
  std::optional<base::Duration> first_octet_;  // of the greeting
  Observation seen_;
};

}  // namespace postern::health
