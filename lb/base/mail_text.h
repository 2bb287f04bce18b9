// mail_text: what can stand in a mail command as it is written.
//
// Asked by conf of what an operator writes, by the machines and health of what they then say: one
// answer, so that what `check` lets pass can be said.
// Rules:    RFC 5321 4.1.2 (more is let through: the server has the last word); RFC 3501 9
//           (quoted).
// Tests:    test/base/mail_text_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string_view>

#include "lb/base/bytes.h"

namespace postern::base {

// An address without its angle brackets: fit for MAIL, RCPT and a header line. Empty: the null
// sender, which is no recipient.
[[nodiscard]] bool IsUsableAddress(ByteView address);
// "<>" is how the null sender is written; "<a@b>" is a@b.
[[nodiscard]] ByteView WithoutBrackets(ByteView address);

inline constexpr size_t kMaxQuotedBytes = 1000;
// Can it stand between IMAP's quotes: short, 7 bits, no CR, LF, NUL?
[[nodiscard]] bool IsQuotable(ByteView text);

}  // namespace postern::base
