// line_reader: CRLF lines with a limit; says what is wrong with a line end instead of guessing.
//
// Does not: keep bytes. The caller's input holds the unfinished line and is looked at again.
// Rules:    RFC 5321 2.3.8, RFC 9051 2.2, RFC 1939 3: only CRLF ends a line, CR and LF mean nothing
//           else. Whoever meets another verdict than kLine answers an error: never two meanings.
// Limits:   the caller's, in bytes without the line end.
// Tests:    test/proto/line_reader_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "lb/base/bytes.h"

namespace postern::proto {

enum class LineVerdict : uint8_t {
  kNeedMore,  // no line end yet, and the limit not reached
  kLine,      // text is the line without its CRLF
  kTooLong,   // more than max_bytes without a line end; nothing is said about its size
  kBareLf,    // ended by LF alone
  kBareCr,    // ended by CRLF, but a CR stands within
  kNul,       // ended by CRLF, but a NUL stands within
};

struct LineRead {
  LineVerdict verdict = LineVerdict::kNeedMore;
  base::ByteView text;    // without the line end; a slice of the input
  size_t size_bytes = 0;  // with the line end: what to consume; 0 for kNeedMore and kTooLong
};

// The first line of input. The verdict depends on the bytes alone, not on how they were cut.
[[nodiscard]] LineRead ReadLine(base::ByteView input, size_t max_bytes);

// For those who go on after kTooLong: how much to consume up to and including the next LF; all of
// the input if there is none (is_at_end false: call again with what comes next).
struct Skipped {
  size_t size_bytes = 0;
  bool is_at_end = false;
};
[[nodiscard]] Skipped SkipLine(base::ByteView input);

}  // namespace postern::proto
