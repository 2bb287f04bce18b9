// lmtp_session: one session of an lmtp listener whose recipients may live at several homes.
//
// The client's side is a SmtpSession as any: dialogue, TLS, limits, clocks, what a text may hold.
// Its backend is LmtpHomes: a session for each home. Each home's transaction is a line of the log, and
// counted; what the client's own side has decided is one line of this session.
// Owner:    the host's list.   Thread: the worker's.
// Why so:   SmtpRelay stays one transaction on one leg; a listener that has one home does without
//           all this (MakeSession).
// Tests:    test/session/lmtp_homes_session_test.cc, test/sim/lmtp_sim_test.cc,
//           test/e2e/test_lmtp.py
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "lb/session/lmtp_homes.h"
#include "lb/session/smtp_session.h"

namespace postern::session {

class LmtpSession final : public SmtpSession, private LmtpHomes::Client {
 public:
  LmtpSession(SessionEnv& env, std::shared_ptr<const ListenerSettings> listener,
              const ClientFacts& client, std::unique_ptr<io::Stream> front)
      : SmtpSession(env, std::move(listener), client, std::move(front), Place::kClient) {}

  void LeaveEndpoint(const balance::EndpointState& endpoint) override;

 private:
  // LmtpHomes::Client
  [[nodiscard]] KnownHome HomeOf(std::string_view recipient) const override;

  void FindHome(const proto::AskRoute& action) override;
  [[nodiscard]] proto::RouteAnswer WayTo(const balance::Home& home) override;
  void OpenBack(proto::LegId leg) override;
  void ReleaseBack(proto::DropLeg::How how, base::SessionResult result) override;

  void OnLegIdle(proto::LegId) override;
  // Of the leg to LmtpHomes there are no books.
  void OnTransaction(const proto::SmtpOutcome& outcome) override;
  void OnPhase(proto::LegId, base::Phase, base::Duration) override {}
  void OnLegFault(proto::LegId, const proto::SmtpLegFault&) override {}
  void OnLegReady(proto::LegId, base::ByteView) override {}
  void OnLegBusy(proto::LegId) override {}
  void OnMoved(Moved, base::FaultKind) override {}
  void OnJournalLost(proto::JournalLoss) override {}  // homes keep it

  std::string asked_;  // the recipient whose home is looked for
  // Of the transaction under way, homes of parts_.
  std::map<std::string, const balance::Home*, std::less<>> homes_of_;
  uint64_t at_homes_ = 0;  // the last transaction that had a home
  std::unique_ptr<LmtpHomes> homes_;
};

// Can recipients of this listener live at more than one home, or (of an exclusive pool) each at
// another of its members?
[[nodiscard]] bool HasSeveralHomes(const Parts& parts, const conf::Listener& listener);

}  // namespace postern::session
