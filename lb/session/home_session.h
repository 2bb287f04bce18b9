// home_session: what an lmtp session does for the recipients of one home: a SmtpSession whose
// client is the LmtpFan.
//
// Its homes are found by the client's session; its books are those of transactions and backends,
// and none of a client.
// Owner:    LmtpHomes.   Thread: its worker's.
// Tests:    test/session/lmtp_homes_session_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "lb/session/lmtp_homes.h"
#include "lb/session/smtp_session.h"

namespace postern::session {

class HomeSession final : public SmtpSession {
 public:
  HomeSession(SessionEnv& env, std::shared_ptr<const ListenerSettings> listener,
              const ClientFacts& client, std::unique_ptr<io::Stream> front,
              const LmtpHomes::Client& asked)
      : SmtpSession(env, std::move(listener), client, std::move(front), Place::kHome),
        asked_(asked) {}

  // Nothing of the transaction under way is written down.
  void Silence() { silent_transaction_ = transaction_; }
  // Ends now, if it has not ended.
  void Leave();

 private:
  void OpenBooks() override {}
  void CloseBooks(base::EndCause) override {}
  void FindHome(const proto::AskRoute& action) override;
  void OnCommand(proto::SmtpVerb, base::Duration) override {}
  void OnRecipient(Recipient) override {}
  void OnBareNewline() override {}
  void OnEarlyTalker() override {}
  void OnTransaction(const proto::SmtpOutcome& outcome) override;

  const LmtpHomes::Client& asked_;
  uint64_t transaction_ = 0;  // the client's number of it
  uint64_t silent_transaction_ = 0;
};

}  // namespace postern::session
