// smtp_reply: a backend's replies, whole, and what they mean for Postern.
//
// Does not: know to which command a reply belongs.
// Rules:    RFC 5321 4.2 (lines of one reply carry one code; the last has a blank, or nothing,
//           after it), RFC 3463 (enhanced codes). Lines end with CRLF alone; control characters
//           but tab are garbage: what is relayed to a client is what was read here.
// Limits:   max_lines, max_line_bytes; an unfinished reply stays with the caller, at most
//           max_lines * 512 bytes.
// Tests:    test/proto/smtp_reply_test.cc, test/fuzz/smtp_reply_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "lb/base/bytes.h"

namespace postern::proto {

struct SmtpReply {
  int code = 0;
  base::ByteView lines;  // all of them, with their line ends; borrows the input

  [[nodiscard]] bool is_2yz() const { return code / 100 == 2; }
  [[nodiscard]] bool is_4yz() const { return code / 100 == 4; }
  [[nodiscard]] bool is_5yz() const { return code / 100 == 5; }
  // 25z: the only success of a mail transaction's commands.
  [[nodiscard]] bool is_ok() const { return code / 10 == 25; }
  // The first line, without its code and line end.
  [[nodiscard]] base::ByteView FirstText() const;
  // Begins the text with an enhanced code of this subject ("7" matches 4.7.1 and 5.7.0).
  [[nodiscard]] bool HasSubject(char subject) const;
  // 421: the backend is about to close, whatever was asked.
  [[nodiscard]] bool is_goodbye() const { return code == 421; }
};

class SmtpReplyReader {
 public:
  struct Limits {
    size_t max_lines = 128;
    size_t max_line_bytes = 8 << 10;
  };
  enum class Status : uint8_t { kNeedBytes, kReply, kBad };
  struct Result {
    Status status = Status::kNeedBytes;
    size_t consumed = 0;  // of a whole reply; zero otherwise
    SmtpReply reply;
  };
  explicit SmtpReplyReader(const Limits& limits) : limits_(limits) {}
  // input begins where the last reply ended, and has what was left unconsumed in front.
  [[nodiscard]] Result Next(base::ByteView input);
  // Another stream, or the same inside TLS.
  void Reset();

 private:
  Limits limits_;
  size_t scanned_ = 0;  // bytes of whole lines of the reply that is not complete yet
  size_t num_lines_ = 0;
  int code_ = 0;
};

// The reply with its code replaced on every line: a 421 that is said as 451.
[[nodiscard]] std::string WithCode(base::ByteView lines, int code);
// One line for a log: without line ends.
[[nodiscard]] std::string OneLine(base::ByteView lines);

}  // namespace postern::proto
