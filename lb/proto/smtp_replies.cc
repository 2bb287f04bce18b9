// smtp_replies: the queue of replies to the client.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/smtp_replies.h"

#include "lb/base/check.h"

namespace postern::proto {

void SmtpReplies::Say(base::ByteView lines) {
  ++num_said_;
  if (entries_.empty()) {
    output_.append(lines);
  } else {
    entries_.push_back(Entry{0, false, std::string(lines)});
  }
}

SmtpReplies::Ticket SmtpReplies::Expect() {
  const Ticket ticket = next_ticket_++;
  entries_.push_back(Entry{ticket, true, {}});
  ++num_pending_;
  return ticket;
}

void SmtpReplies::Answer(Ticket ticket, base::ByteView lines) {
  for (Entry& entry : entries_) {
    if (!entry.is_pending || entry.ticket != ticket) continue;
    entry.is_pending = false;
    entry.lines = lines;
    --num_pending_;
    Release();
    return;
  }
  POSTERN_DCHECK(false);  // answered twice
}

void SmtpReplies::Release() {
  size_t count = 0;
  for (; count < entries_.size() && !entries_[count].is_pending; ++count)
    output_.append(entries_[count].lines);
  if (count > 0) entries_.erase(entries_.begin(), entries_.begin() + static_cast<ptrdiff_t>(count));
}

void SmtpReplies::ClearOutput() {
  if (!has_pending()) output_.clear();
}

void SmtpReplies::Finish(base::ByteView last) {
  entries_.clear();
  num_pending_ = 0;
  output_.append(last);
}

}  // namespace postern::proto
