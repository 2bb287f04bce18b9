// mail_cell: one cell of IMAP and POP3: a world whose session or backend is at fault, and a
// bystander on the same worker.
//
// Nothing in it may make its thread wait. From Begin to its end it watches the bystander: what it
// asks is answered at once, however the fault goes on. At the end the faults are taken away, and a
// plain session of each kind works at once: beside the old one, if that has not ended.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "test/matrix/bystander.h"
#include "test/matrix/cells.h"
#include "test/support/mail_world.h"

namespace postern::test {

// What all cells of a column have in common.
struct MailColumn {
  conf::Protocol protocol;
  conf::TlsMode front, back;
  conf::ClientAddress told = conf::ClientAddress::kNone;
};

[[nodiscard]] inline std::string NameOf(const MailColumn& column) {
  std::string name = std::string(conf::Name(column.protocol)) + ", front " +
                     std::string(conf::Name(column.front)) + ", back " +
                     std::string(conf::Name(column.back));
  if (column.told != conf::ClientAddress::kNone)
    name += ", told by " + std::string(conf::Name(column.told));
  return name;
}

template <typename Function>
void ForMailColumns(const Function& function) {
  for (const conf::Protocol protocol : {conf::Protocol::kImap, conf::Protocol::kPop3})
    for (const conf::TlsMode front : kTlsModes)
      for (const conf::TlsMode back : kTlsModes) function(MailColumn{protocol, front, back});
}

class MailCell {
 public:
  MailCell(Cells& cells, const MailColumn& column)
      : column_(column),
        world_(column.protocol, 1, cells.meters(column.protocol)),
        home_(world_.loop, world_.net, Bystander::HomeAddress(column.protocol), column.protocol,
              "by") {
    Bystander::AddHome(world_.config);
    home_.passwords["bystander"] = "secret";
    home_.answers_all = true;
    world_.checks_metrics = false;
    world_.listener().tls = column.front;
    world_.listener().auth_requires_tls = column.front != conf::TlsMode::kNone;
    world_.is_in_tls = column.front == conf::TlsMode::kImplicit;
    const bool is_by_id = column.told == conf::ClientAddress::kImapId;
    for (int i = 0; i < 2; ++i) {
      conf::Endpoint& endpoint = world_.endpoint(i);
      endpoint.tls = column.back;
      endpoint.client_address =
          is_by_id && !is_imap() ? conf::ClientAddress::kXclient : column.told;
      ScriptedBackend& backend = i == 0 ? *world_.b1 : *world_.b2;
      backend.has_starttls = column.back == conf::TlsMode::kStartTls;
      backend.is_implicit = column.back == conf::TlsMode::kImplicit;
      backend.expects_proxy = column.told == conf::ClientAddress::kProxyV2;
    }
  }
  ~MailCell() {
    EXPECT_EQ(WaitedFor(), waited_before_) << "the worker has stood still";
    if (!bystander_) return;
    Watch();
    bystander_.reset();
    for (ScriptedBackend* backend : {world_.b1.get(), world_.b2.get()})
      backend->fault = ScriptedBackend::Fault::kNone;
    const auto breaks_after = std::exchange(world_.b1->breaks_after, std::nullopt);
    for (int backend = 1; backend <= 2; ++backend) Break(backend, SimNet::Door::kOpen, false);
    for (const char* const user : {"alice", "bystander"}) {
      Bystander plain(world_.loop, world_.net, world_.env(), world_.settings(), {user, ""});
      plain.LogIn();
    }
    world_.b1->breaks_after = breaks_after;
  }
  MailCell(const MailCell&) = delete;
  MailCell& operator=(const MailCell&) = delete;

  [[nodiscard]] bool is_imap() const { return column_.protocol == conf::Protocol::kImap; }
  [[nodiscard]] MailWorld& world() { return world_; }

  void Break(int backend, SimNet::Door door, bool has_bad_certificate) {
    const auto address = *base::SocketAddress::Parse("10.0.0." + std::to_string(backend) + ":143");
    world_.net.SetDoor(address, door);
    world_.net.SetBadCertificate(address, has_bad_certificate);
  }

  // The greeting; and TLS, where it is there to be had.
  std::string Begin() {
    world_.Begin();
    StartWatch();
    std::string greeting = world_.Read();
    if (column_.front != conf::TlsMode::kStartTls) return greeting;
    (void)world_.Ask(is_imap() ? "s STARTTLS" : "STLS");
    world_.StartClientTls();
    return greeting;
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
    watched_ = world_.loop.Now();
  }

  // Watches at its end, and often enough that the bystander's own session does not become idle.
  void Wait(base::Duration duration) {
    constexpr base::Duration kAtMost = std::chrono::minutes(5);
    while (duration > base::Duration{}) {
      const base::Duration part = std::min(duration, kAtMost);
      world_.Wait(part);
      duration -= part;
      if (bystander_ && world_.loop.Now() - watched_ >= kAtLeast) Watch();
    }
  }

 private:
  // Between two watches, where a cell waits in many small steps.
  static constexpr base::Duration kAtLeast = std::chrono::seconds(7);
  MailColumn column_;
  MailWorld world_;
  ScriptedBackend home_;
  std::optional<Bystander> bystander_;
  base::MonoTime watched_{};
  const base::Duration waited_before_ = WaitedFor();
};

}  // namespace postern::test
