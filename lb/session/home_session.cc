// home_session: what an lmtp session does for the recipients of one home.
// SPDX-License-Identifier: Apache-2.0
#include "lb/session/home_session.h"

namespace postern::session {

void HomeSession::FindHome(const proto::AskRoute& action) {
  const KnownHome known = asked_.HomeOf(action.name);
  if (parts_ == nullptr || !relay_.has_home()) parts_ = known.parts;
  proto::RouteAnswer answer;
  answer.kind = proto::RouteAnswer::Kind::kTempFail;
  transaction_ = silent_transaction_;  // of what is not known, nobody waits for a word
  // A transaction is of one snapshot.
  if (known.home != nullptr && known.parts == parts_) {
    transaction_ = known.transaction;
    answer = WayTo(*known.home);
  }
  relay_.OnRoute(answer, env_.loop.Now());
}

void HomeSession::OnTransaction(const proto::SmtpOutcome& outcome) {
  if (transaction_ == silent_transaction_) return LeaveOut();
  proto::SmtpOutcome its = outcome;
  its.number = transaction_;
  SmtpSession::OnTransaction(its);
}

void HomeSession::Leave() {
  if (is_over_) return;
  relay_.OnFrontLost(env_.loop.Now(), "given up by the client");
  Drive();
}

}  // namespace postern::session
