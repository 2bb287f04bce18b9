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
    --num_pending_;
    if (&entry == &entries_.front()) {
      output_.append(lines);
      entries_.pop_front();
      Release();
    } else {
      entry.lines = lines;
    }
    return;
  }
  POSTERN_DCHECK(false);  // answered twice
}

void SmtpReplies::SayBefore(Ticket ticket, base::ByteView lines) {
  POSTERN_DCHECK(!entries_.empty() && entries_.front().ticket == ticket);
  (void)ticket;
  output_.append(lines);
}

void SmtpReplies::Release() {
  while (!entries_.empty() && !entries_.front().is_pending) {
    output_.append(entries_.front().lines);
    entries_.pop_front();
  }
}

void SmtpReplies::ClearOutput() {
  output_.clear();
}

void SmtpReplies::Finish(base::ByteView last) {
  entries_.clear();
  num_pending_ = 0;
  output_.append(last);
}

}  // namespace postern::proto
