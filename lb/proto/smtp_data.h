// smtp_data: the text of a message behind 354: finds its end, and nothing else that looks like it.
//
// Only CRLF "." CRLF ends the text; its own start counts as after a CRLF. A CR or LF that stands
// alone is found whatever the mode. kNormalize makes CRLF of it and doubles a dot that would then
// stand at the start of a line, so that no server behind can take it for the end.
// Does not: keep the text, nor unstuff dots. Pieces are slices of the input, or literal constants.
// Rules:    RFC 5321 4.1.1.4, 4.5.2; invariant: any cut of the same bytes gives the same text.
// Cost:     64 bytes a step where nothing happens; this sees every byte of every message.
// Tests:    test/proto/smtp_data_test.cc, test/fuzz/smtp_data_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "lb/base/bytes.h"

namespace postern::proto {

class SmtpDataScanner {
 public:
  enum class BareNewlines : uint8_t { kKeep, kNormalize };
  explicit SmtpDataScanner(BareNewlines mode) : mode_(mode) {}

  struct Step {
    size_t consumed = 0;
    base::ByteView piece;  // of the message, dots still stuffed; may be empty
    bool is_end = false;   // the terminator was consumed; it is no part of any piece
  };
  // Call again with the rest until it is empty or is_end. A step that consumes nothing has given
  // out what an earlier one had held back.
  [[nodiscard]] Step Next(base::ByteView input);
  // Of all the text so far.
  [[nodiscard]] bool has_bare_newline() const { return has_bare_newline_; }

 private:
  enum class State : uint8_t {
    kLineStart,  // behind CRLF
    kInLine,
    kCr,         // behind a CR: given out already by kKeep, held back by kNormalize
    kDot,        // behind CRLF "."; the dot is held back
    kDotCr,      // behind CRLF "." CR; both are held back
    kMakeEnd,    // a line end is to be made
    kMadeStart,  // behind a line end that was made
  };
  [[nodiscard]] Step ScanText(base::ByteView input);
  [[nodiscard]] Step AtDot(base::ByteView input, size_t at);
  [[nodiscard]] Step HeldDot(char next);

  BareNewlines mode_;
  State state_ = State::kLineStart;
  bool has_bare_newline_ = false;
};

}  // namespace postern::proto
