// smtp_extensions: what a server announces in EHLO, as far as Postern can relay it.
//
// Owner:    a value. Used for both legs: what a listener announces, what a backend has said.
// Rules:    RFC 5321 4.1.1.1; RFC 1870 (SIZE), 2920, 3207, 4954, 6152, 6531, 3461, 2034, 3030; XCLIENT.
// Tests:    test/proto/smtp_extensions_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lb/base/bytes.h"

namespace postern::proto {

struct SmtpExtensions {
  bool pipelining = false;
  bool size = false;
  bool eight_bit_mime = false;
  bool smtp_utf8 = false;
  bool dsn = false;
  bool enhanced_status_codes = false;
  bool chunking = false;
  bool binary_mime = false;
  bool starttls = false;
  bool auth = false;
  bool auth_plain = false;
  bool auth_login = false;
  bool auth_xoauth2 = false;
  bool auth_oauthbearer = false;
  bool xclient = false;
  uint8_t xclient_attributes = 0;  // bits of XclientAttribute
  uint64_t max_size = 0;           // 0: none was named

  // Text can go there by BDAT: in chunks that need not be answered one by one.
  [[nodiscard]] bool takes_chunks() const { return chunking && pipelining; }

  // One keyword with its parameters: "SIZE 10240000", "AUTH=PLAIN LOGIN". Unknown ones are no harm.
  void Learn(base::ByteView keyword_line);
};

// All keyword lines of a reply to EHLO, but the first line (the greeting).
[[nodiscard]] SmtpExtensions ParseEhloReply(base::ByteView lines);
// The same, as text: "SIZE 10240000", "8BITMIME", ...
[[nodiscard]] std::vector<std::string> EhloKeywords(base::ByteView lines);

}  // namespace postern::proto
