// escape: untrusted bytes in a form that a log line, a JSON string or a terminal can bear.
// Tests:    test/base/escape_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

#include "lb/base/bytes.h"

namespace postern::base {

// Control characters (C0, C1, line separators, changes of direction), double quotes, backslashes
// and bytes that are no valid UTF-8 as \xNN; at most max_bytes of input, then "...".
[[nodiscard]] std::string Printable(ByteView bytes, size_t max_bytes = 512);
// Appends a JSON string with its quotes; each byte of invalid UTF-8 becomes U+FFFD, the same
// control characters \uNNNN.
void AppendJsonString(std::string& out, ByteView bytes);
// As RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
[[nodiscard]] bool IsUtf8(ByteView bytes);
// True if any byte is CR, LF or NUL: what may never reach a line of another protocol.
[[nodiscard]] bool HasLineBreakOrNul(ByteView bytes);

}  // namespace postern::base
