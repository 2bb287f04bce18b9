// smtp_chunks: message text that came by BDAT: the command's size, bare newlines in the octets, and
// the same text dotted for a server that takes it by DATA.
//
// Octets of chunks are counted, never searched for an end. Where one chunk ends and the next begins
// is no place in the text: CR there and LF here are one CRLF.
// Does not: keep text. What is passed on is a slice of the input, or stands in the caller's string.
// Rules:    RFC 3030 2 and 4.2 (BDAT), RFC 5321 4.5.2 (dots); invariant: any cut of the same octets
//           gives the same text.
// Cost:     one search for CR and one for LF; this sees every byte of every message.
// Tests:    test/proto/smtp_chunks_test.cc, test/fuzz/smtp_chunks_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "lb/base/bytes.h"

namespace postern::proto {

// "BDAT 100 LAST", without the verb.
struct SmtpChunk {
  bool is_valid = false;  // if not, nobody can tell where the octets behind the line end
  uint64_t size = 0;      // octets behind the line
  bool is_last = false;
};
// size [SP LAST]; a size is digits only, and one beyond 64 bits is not valid.
[[nodiscard]] SmtpChunk ParseBdatArgs(base::ByteView args);

// Looks for CR and LF that stand alone. kNormalize makes CRLF of each.
class SmtpChunkScanner {
 public:
  enum class BareNewlines : uint8_t { kKeep, kNormalize };
  explicit SmtpChunkScanner(BareNewlines mode) : mode_(mode) {}

  // What to pass on of these octets: a slice of them, or `made` (which comes empty) where something
  // had to be changed. kNormalize holds a CR at their end back until it is known what follows it.
  [[nodiscard]] base::ByteView Take(base::ByteView octets, bool is_end, std::string& made);
  // In all the octets so far.
  [[nodiscard]] bool has_bare_newline() const { return has_bare_newline_; }

 private:
  BareNewlines mode_;
  bool is_behind_cr_ = false;
  bool has_bare_newline_ = false;
};

// Doubles the dots that begin a line: the text's first one, or one behind CRLF. A CR or LF that
// stands alone ends no line, here as in the server.
class SmtpDotStuffer {
 public:
  // The text as it goes out: itself, or `made` (which comes empty) where a dot was doubled.
  [[nodiscard]] base::ByteView Take(base::ByteView text, std::string& made);
  // Nothing is missing before the lone dot.
  [[nodiscard]] bool is_at_line_start() const { return place_ == Place::kLineStart; }

 private:
  enum class Place : uint8_t { kLineStart, kInLine, kBehindCr };
  Place place_ = Place::kLineStart;
};

}  // namespace postern::proto
