// escape: untrusted bytes in a form that a log line, a JSON string or a terminal can bear.
// Tests:    test/base/escape_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

#include "lb/base/bytes.h"

namespace postern::base {

// Control characters, quotes, backslashes and bytes that are no valid UTF-8 as \xNN; at most
// max_bytes of input, then "...".
[[nodiscard]] std::string Printable(ByteView bytes, size_t max_bytes = 512);
// Appends a JSON string with its quotes; invalid UTF-8 becomes U+FFFD, control characters \u00NN.
void AppendJsonString(std::string& out, ByteView bytes);
// True if any byte is CR, LF or NUL: what may never reach a line of another protocol.
[[nodiscard]] bool HasLineBreakOrNul(ByteView bytes);

}  // namespace postern::base
