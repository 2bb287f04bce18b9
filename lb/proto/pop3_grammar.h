// pop3_grammar: single POP3 commands and replies, taken apart.
//
// Rules:    RFC 1939 3 (keyword, blank, argument; "+OK", "-ERR"), RFC 2449 8 (response codes).
// Tests:    test/proto/pop3_grammar_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "lb/base/bytes.h"

namespace postern::proto {

struct Pop3Command {
  base::ByteView verb;        // as written
  base::ByteView argument;    // behind one blank, blanks at its ends kept: a password may have them
  bool has_argument = false;  // there was such a blank
};
[[nodiscard]] Pop3Command SplitPop3Command(base::ByteView line);

struct Pop3Reply {
  enum class Kind : uint8_t { kOk, kErr, kContinue, kGarbage };
  Kind kind = Kind::kGarbage;
  base::ByteView code;  // within "[...]" of -ERR, without brackets; empty: none
  base::ByteView text;  // behind status, blank and code; of kContinue all behind "+" and its blank
};
// First line of a reply. "+" alone, or with a blank, is a continuation.
[[nodiscard]] Pop3Reply ParsePop3Reply(base::ByteView line);

}  // namespace postern::proto
