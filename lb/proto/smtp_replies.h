// smtp_replies: the queue of replies to the client: one for each command, in the client's order,
// whoever answers first.
//
// An entry is answered at once (by Postern) or later (by the backend). What is answered goes out
// when nothing before it waits, and is held back while anything behind it waits: a client that
// pipelined gets its replies in one piece.
// Rules:    RFC 2920 3.2 (replies in order; a server may send them together).
// Limits:   kMaxPending entries; whoever fills the queue stops reading commands.
// Owner:    one SmtpRelay.
// Tests:    test/proto/smtp_replies_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "lb/base/bytes.h"

namespace postern::proto {

class SmtpReplies {
 public:
  static constexpr size_t kMaxPending = 256;
  // Names a reply that is still to come; never reused within a session.
  using Ticket = uint64_t;

  // A command that is answered now.
  void Say(base::ByteView lines);
  // A command that will be answered.
  [[nodiscard]] Ticket Expect();
  // The answer to it, once.
  void Answer(Ticket ticket, base::ByteView lines);
  // An intermediate reply (334): part of a command's answer; nothing may wait before it.
  void SayPart(base::ByteView lines) { output_.append(lines); }

  [[nodiscard]] bool has_pending() const { return num_pending_ > 0; }
  [[nodiscard]] bool is_full() const { return entries_.size() >= kMaxPending; }
  // All that may go out now; the caller sends it and calls ClearOutput.
  [[nodiscard]] base::ByteView Output() const {
    return has_pending() ? base::ByteView() : base::ByteView(output_);
  }
  void ClearOutput();
  // The end of a session: what waits will not be answered; what is ready before it goes out, and
  // then this.
  void Finish(base::ByteView last);
  // Replies given and expected so far, for tests.
  [[nodiscard]] uint64_t num_commands() const { return num_said_ + next_ticket_; }

 private:
  struct Entry {
    Ticket ticket = 0;
    bool is_pending = false;
    std::string lines;
  };
  void Release();

  std::string output_;          // answered, and nothing before it waits
  std::vector<Entry> entries_;  // from the first that waits on
  size_t num_pending_ = 0;
  uint64_t next_ticket_ = 0;
  uint64_t num_said_ = 0;
};

}  // namespace postern::proto
