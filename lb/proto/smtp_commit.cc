// smtp_commit: a transaction whose backend is chosen behind its text (commit after_data), so that a
// slow client holds none.
//
// Until then recipients are taken by their route alone, and the text is in the journal alone. From
// then on it is a transaction that moves: its recipients were told 250, and the next backend gets
// what was kept. But that 250 was Postern's own word: what the backend says of each recipient is
// news, and the client hears it as the one reply to the end of its text.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "lb/proto/smtp_relay.h"

namespace postern::proto {

using base::ByteView;

namespace {

// Of a refusal that is remembered.
constexpr size_t kMaxRefusalBytes = 1000;

std::string Shortened(ByteView lines) {
  if (lines.size() <= kMaxRefusalBytes) return std::string(lines);
  std::string line(lines.substr(0, std::min(lines.find("\r\n"), kMaxRefusalBytes)));
  line[3] = ' ';  // it may have been one of several
  return line + "\r\n";
}

}  // namespace

// No text is read that nobody can keep: where that comes to an end, the backend is chosen now, gets
// what there is, and the rest as it comes.
bool SmtpRelay::MayRead(size_t num_bytes) {
  if (!mail_.is_uncommitted || mail_.stage != Stage::kText || num_bytes == 0) return true;
  // A scanner holds back two bytes at most; of each it may make two.
  const bool may_grow = settings_.bare_newline == conf::BareNewline::kNormalize;
  if (journal_.Reserve((num_bytes + 2) * (may_grow ? 2 : 1))) return true;
  wait_ = Wait::kLeg;
  Commit();
  return mail_.stage == Stage::kDiscarded;  // nobody will have it: the rest is read for nothing
}

void SmtpRelay::Commit() {
  mail_.is_uncommitted = false;
  search_began_ = now_;
  if (!stays_) return ChooseLeg(mail_.is_idle_leg_good && IsLegAtHome());
  if (leg_.id == 0) return GiveUp(Line(SmtpText::kNobodyThere));
  ReuseLeg();
}

// Can the leg's endpoint take all recipients?
bool SmtpRelay::IsLegAtHome() const {
  const EndpointRef here = leg_.facts.endpoint;
  return here != nullptr && !(leg_.facts.is_lmtp && has_several()) &&
         std::all_of(homes_.begin(), homes_.end(),
                     [here](const HomeRef& home) { return home.Contains(here); });
}

// The last one decides. Where only some are refused, the sender has to be told which: at its next
// RCPT for them, as its message has one reply only. Nobody gets it before: who has it would get it
// again.
void SmtpRelay::OnLateVerdict(Recipient& recipient, const SmtpReply& reply) {
  if (!reply.is_ok()) recipient.refusal = Shortened(reply.lines);
  if (!leg_.expected.empty() || leg_.next_recipient < mail_.recipients.size()) return;
  const Recipient* for_now = nullptr;
  const Recipient* for_good = nullptr;
  bool is_any_accepted = false;
  for (const Recipient& each : mail_.recipients) {
    if (each.state == Recipient::State::kAccepted) {
      is_any_accepted = true;
    } else {
      (each.refusal.starts_with('4') ? for_now : for_good) = &each;
    }
  }
  if (for_now == nullptr && for_good == nullptr) return;  // PumpEnvelope goes on
  // A reply that is temporary makes the sender try all again, and one that is not, none.
  for (const Recipient& each : mail_.recipients) {
    const bool is_for_good = each.refusal.starts_with('5');
    const bool is_told_now = !is_any_accepted && (for_now == nullptr || !is_for_good);
    if (each.state == Recipient::State::kRefused && !is_told_now)
      refusals_.Remember(mail_.from, each.address, each.refusal);
  }
  if (is_any_accepted) return Discard(Line(SmtpText::kSomeRefused));
  Discard(for_now != nullptr ? for_now->refusal : for_good->refusal);
}

}  // namespace postern::proto
