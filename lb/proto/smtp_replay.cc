// smtp_replay: the journal of a message, in memory and in a file, and how the next backend gets it.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "lb/proto/smtp_relay.h"

namespace postern::proto {

using base::ByteView;

namespace {
// Given to a leg, or read of the file, at once; the next piece follows when the socket has taken
// it.
constexpr size_t kPieceBytes = 64 << 10;
// A disk that does nothing for so long has failed: the client and the next backend wait for it.
constexpr base::Duration kSpoolPatience = std::chrono::seconds(10);
}  // namespace

// Keeps what the backend gets, if that is possible.
void SmtpRelay::Keep(ByteView text) {
  if (journal_.loss()) return;
  const bool had_file = journal_.has_file();
  const bool was_waiting = journal_.waiting_bytes() > 0;
  const ByteView for_file = journal_.Append(text);
  if (journal_.loss()) {
    if (had_file) CloseSpool();
    reports_.OnJournalLost(*journal_.loss());
  } else if (!for_file.empty()) {
    actions_.emplace_back(SpoolAppend{for_file});
    if (!was_waiting) ArmSpool();
  }
}

// The next backend takes text: it gets what the last one got. The client's further bytes wait
// with the client meanwhile, so that whatever was kept is enough for the move, and no cap can stop
// it half way.
void SmtpRelay::Replay() {
  leg_.is_replaying = true;
  leg_.replayed_bytes = 0;
  wait_ = mail_.stage == Stage::kText ? Wait::kLeg : Wait::kDataEnd;
  if (leg_.is_chunking && journal_.size() > 0) SayChunk(journal_.size());
  dotted_.clear();
  PumpReplay();
}

void SmtpRelay::PumpReplay() {
  uint64_t& at = leg_.replayed_bytes;
  for (size_t given = 0; at < journal_.memory_bytes() && given < kPieceBytes;) {
    const ByteView piece = journal_.Memory(at);
    SendText(piece);
    at += piece.size();
    given += piece.size();
  }
  if (at < journal_.memory_bytes()) return;
  if (at == journal_.size()) {
    leg_.is_replaying = false;
    if (mail_.stage == Stage::kText) wait_ = Wait::kNothing;
    return;
  }
  if (reading_for_ != 0) return;
  reading_for_ = leg_.id;
  actions_.emplace_back(
      SpoolRead{at - journal_.memory_bytes(),
                static_cast<size_t>(std::min<uint64_t>(kPieceBytes, journal_.size() - at))});
  ArmSpool();
}

void SmtpRelay::OnSpoolStored(uint64_t total_bytes, base::MonoTime now) {
  now_ = now;
  if (!journal_.has_file()) return;
  journal_.OnStored(total_bytes);
  ArmSpool();
  FinishCall();
}

void SmtpRelay::OnSpoolRead(ByteView bytes, base::MonoTime now) {
  now_ = now;
  if (reading_for_ == 0) return;
  dotted_.clear();
  const bool is_wanted = reading_for_ == leg_.id;  // else that leg is gone
  reading_for_ = 0;
  ArmSpool();
  if (leg_.is_replaying) {
    if (is_wanted) {
      leg_.replayed_bytes += bytes.size();
      SendText(bytes);
    }
    // The rest follows as the socket takes this.
    if (!is_wanted || leg_.replayed_bytes == journal_.size()) PumpReplay();
  }
  FinishCall();
}

void SmtpRelay::OnSpoolFailed(JournalLoss why, base::MonoTime now) {
  now_ = now;
  if (!is_over()) LoseJournal(why);
  FinishCall();
}

// Is there no text yet, or can what was read of it be given to another backend?
bool SmtpRelay::CanMoveText() const {
  if (mail_.stage == Stage::kHandedOver) return false;
  const bool has_text = mail_.stage == Stage::kText || mail_.stage == Stage::kEnding;
  return !has_text || !journal_.loss();
}

// A message that is with a backend as far as it has come goes on without its copy.
void SmtpRelay::LoseJournal(JournalLoss why) {
  if (!journal_.has_file()) return;
  CloseSpool();
  journal_.Lose(why);
  reports_.OnJournalLost(why);
  const bool has_all = leg_.is_data_open && !leg_.is_replaying;
  if (!has_all) GiveUp(Line(JudgesLate() ? SmtpText::kNotKept : SmtpText::kBackendLost));
}

void SmtpRelay::ForgetJournal() {
  if (journal_.has_file()) CloseSpool();
  journal_.Clear();
}

void SmtpRelay::CloseSpool() {
  actions_.emplace_back(SpoolClose{});
  reading_for_ = 0;
  spool_deadline_ = kNever;
}

// Something was heard of the disk, or is now due from it.
void SmtpRelay::ArmSpool() {
  const bool is_due = journal_.waiting_bytes() > 0 || reading_for_ != 0;
  spool_deadline_ = is_due ? now_ + kSpoolPatience : kNever;
}

}  // namespace postern::proto
