// probe: one conversation with an endpoint, without a login: connect, TLS, greeting, capabilities,
// goodbye.
//
// Drives the same machines as live sessions (proto/*_back), so that what is learned here is what
// sessions meet.
// Owner:    learner.   Thread: the health loop's. Tests: test/health/learner_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lb/balance/endpoint.h"
#include "lb/base/end_cause.h"
#include "lb/io/dialer.h"
#include "lb/io/loop.h"
#include "lb/io/stream.h"
#include "lb/io/timer.h"
#include "lb/proto/machine.h"
#include "lb/proto/smtp_back.h"

namespace postern::health {

struct ProbeTarget {
  const balance::Endpoint* endpoint = nullptr;
  base::SocketAddress address;
  const io::TlsSettings* tls = nullptr;  // null: in clear
  std::string hello;                     // what EHLO says
};

struct ProbeResult {
  bool is_ok = false;
  std::vector<std::string> capabilities;
  base::Phase phase = base::Phase::kConnect;  // where it failed
  std::string why;
};

class Probe final : public io::Stream::Observer {
 public:
  static constexpr base::Duration kTimeout = std::chrono::seconds(10);
  using Done = std::function<void(const ProbeResult&)>;

  Probe(io::Loop& loop, io::Dialer& dialer, ProbeTarget target, Done done);
  ~Probe();
  // Is there a machine for this protocol?
  [[nodiscard]] static bool Speaks(conf::Protocol protocol);
  // `done` is called once, later; the probe may then be deleted, but not from within.
  void Start();

 private:
  void OnStream(io::Stream& stream, io::Stream::Event event) override;
  void Drive();
  void StartTls();
  void Fail(std::string why);
  void Finish(ProbeResult result);
  void OnConnected();
  void DriveSmtp(const std::function<proto::SmtpBack::Step(std::string&)>& first);
  void OnDeadline();

  io::Loop& loop_;
  io::Dialer& dialer_;
  ProbeTarget target_;
  Done done_;
  io::Timer deadline_;
  std::unique_ptr<io::Stream> stream_;
  std::unique_ptr<proto::BackMachine> machine_;  // imap, pop3
  std::unique_ptr<proto::SmtpBack> smtp_;        // smtp, submission
  ProbeResult learned_;                          // smtp: kept while QUIT is under way
  base::Phase phase_ = base::Phase::kConnect;
};

}  // namespace postern::health
