// smtp_cell: one cell of SMTP and submission: a world whose session or server is at fault, and a
// bystander on the same worker.
//
// Nothing in it may make its thread wait. From Begin to its end it watches the bystander: its
// messages are delivered at once, however the fault goes on. At the end the faults are taken away,
// and a plain session of each kind delivers at once: beside the old one, if that has not ended.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <optional>
#include <string>

#include "test/matrix/bystander.h"
#include "test/matrix/cells.h"
#include "test/support/smtp_world.h"

namespace postern::test {

// What all cells of a column have in common.
struct SmtpColumn {
  conf::Protocol protocol;
  conf::TlsMode front, back;
  bool is_pipelining = true;  // the servers' side
  bool is_lmtp = false;       // likewise; one recipient a transaction
};

[[nodiscard]] inline std::string NameOf(const SmtpColumn& column) {
  return std::string(conf::Name(column.protocol)) + ", front " +
         std::string(conf::Name(column.front)) + ", back " + std::string(conf::Name(column.back)) +
         (column.is_lmtp ? " LMTP" : "") + (column.is_pipelining ? "" : ", no pipelining");
}

template <typename Function>
void ForSmtpColumns(const Function& function) {
  for (const conf::Protocol protocol : {conf::Protocol::kSmtp, conf::Protocol::kSubmission})
    for (const conf::TlsMode front : kTlsModes)
      for (const conf::TlsMode back : kTlsModes) function(SmtpColumn{protocol, front, back});
  for (const conf::TlsMode back : kTlsModes)
    function(SmtpColumn{conf::Protocol::kSmtp, conf::TlsMode::kNone, back, true, true});
}

class SmtpCell {
 public:
  SmtpCell(Cells& cells, const SmtpColumn& column)
      : column_(column),
        world_(column.protocol, 1, cells.meters(column.protocol)),
        home_(world_.net, Bystander::HomeAddress(column.protocol), "by") {
    Bystander::AddHome(world_.config);
    world_.checks_metrics = false;
    world_.listener().tls = column.front;
    world_.is_in_tls = column.front == conf::TlsMode::kImplicit;
    if (is_submission()) home_.keywords.push_back("AUTH PLAIN");
    for (int i = 1; i <= 2; ++i) {
      if (column.is_lmtp) world_.SpeakLmtp(i);
      world_.endpoint(i).tls = column.back;
      SmtpServer& server = world_.server(i);
      server.is_implicit = column.back == conf::TlsMode::kImplicit;
      if (column.back == conf::TlsMode::kStartTls) server.keywords.push_back("STARTTLS");
      if (is_submission()) server.keywords.push_back("AUTH PLAIN LOGIN");
      if (!column.is_pipelining) server.keywords.erase(server.keywords.begin());
    }
  }
  ~SmtpCell() {
    EXPECT_EQ(WaitedFor(), waited_before_) << "the worker has stood still";
    if (!bystander_) return;
    Watch();
    bystander_.reset();
    for (int backend = 1; backend <= 2; ++backend) {
      world_.server(backend).answers.clear();
      Break(backend, SimNet::Door::kOpen, false);
    }
    for (const Bystander::Who& who : {Bystander::Who{"alice", "b@y.example"}, Bystander::Who()}) {
      Bystander plain(world_.loop, world_.net, world_.env(), world_.settings(), who);
      plain.LogIn();
      plain.Work();
    }
  }
  SmtpCell(const SmtpCell&) = delete;
  SmtpCell& operator=(const SmtpCell&) = delete;

  [[nodiscard]] bool is_submission() const {
    return column_.protocol == conf::Protocol::kSubmission;
  }
  [[nodiscard]] bool is_lmtp() const { return column_.is_lmtp; }
  [[nodiscard]] SmtpWorld& world() { return world_; }

  void Break(int backend, SimNet::Door door, bool has_bad_certificate) {
    const auto address = *base::SocketAddress::Parse("10.0.0." + std::to_string(backend) + ":25");
    world_.net.SetDoor(address, door);
    world_.net.SetBadCertificate(address, has_bad_certificate);
  }

  // Greeting and EHLO, in TLS where it is there to be had.
  void Begin() {
    world_.Begin();
    StartWatch();
    (void)world_.Ask("EHLO client.example");
    if (column_.front != conf::TlsMode::kStartTls) return;
    (void)world_.Ask("STARTTLS");
    world_.StartClientTls();
    (void)world_.Ask("EHLO client.example");
  }

  // Where the world is begun otherwise.
  void StartWatch() {
    bystander_.emplace(world_.loop, world_.net, world_.env(), world_.settings(), Bystander::Who());
    bystander_->LogIn();
    Watch();
  }

  // The bystander works.
  void Watch() {
    bystander_->Work();
    home_.messages.clear();  // memory is watched too
    home_.lines.clear();
    watched_ = world_.loop.Now();
  }

  // Watches at its end, and often enough that the bystander's own session does not become idle.
  void Wait(base::Duration duration) {
    constexpr base::Duration kAtMost = std::chrono::minutes(4);
    while (duration > base::Duration{}) {
      const base::Duration part = std::min(duration, kAtMost);
      world_.Wait(part);
      duration -= part;
      if (bystander_ && world_.loop.Now() - watched_ >= kAtLeast) Watch();
    }
  }

 private:
  // Between two watches, where a cell waits in many small steps.
  static constexpr base::Duration kAtLeast = std::chrono::seconds(20);
  SmtpColumn column_;
  SmtpWorld world_;
  SmtpServer home_;
  std::optional<Bystander> bystander_;
  base::MonoTime watched_{};
  const base::Duration waited_before_ = WaitedFor();
};

}  // namespace postern::test
