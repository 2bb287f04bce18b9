// smtp_grammar: one SMTP command line, taken apart and put together again.
//
// Does not: know states, limits of a session, or what was announced.
// Rules:    RFC 5321 4.1.1, 4.1.2 (tolerant of blanks after the colon and of missing angle
//           brackets, as real clients want it); RFC 1870, 6152, 6531, 3461, 3030, 4954 5 (parameters);
//           RFC 3461 4 (xtext). A control character anywhere is an error: what is put together
//           from the parts can be one line only.
// Owner:    nobody; views into the line that was given.
// Tests:    test/proto/smtp_grammar_test.cc, test/fuzz/smtp_command_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "lb/base/bytes.h"

namespace postern::proto {

// RFC 5321 4.5.3.1.3 has 256 octets for a path, and 255 for a name; twice that is borne with, so
// that what is kept of a transaction has a bound and every line to a backend fits.
inline constexpr size_t kMaxSmtpAddressBytes = 512;
inline constexpr size_t kMaxSmtpHelloBytes = 500;

enum class SmtpVerb : uint8_t {
  kHelo,
  kEhlo,
  kLhlo,  // RFC 2033 4.1
  kStartTls,
  kAuth,
  kMail,
  kRcpt,
  kData,
  kRset,
  kNoop,
  kVrfy,
  kHelp,
  kQuit,
  kExpn,
  kEtrn,
  kBdat,
  kXclient,
  kXforward,
  kHttp,     // GET, POST, ...: a browser that was talked into speaking to us
  kUnknown,  // anything else
};

struct SmtpCommand {
  SmtpVerb verb = SmtpVerb::kUnknown;
  base::ByteView args;  // without surrounding blanks
  bool has_control = false;
};

// The line comes without its line end. A tab counts as a blank between words.
[[nodiscard]] SmtpCommand ParseSmtpCommand(base::ByteView line);

// A bit for each parameter seen; one seen twice is an error.
enum SmtpParameter : uint16_t {
  kParamSize = 1,
  kParamBody = 2,
  kParamSmtpUtf8 = 4,
  kParamRet = 8,
  kParamEnvid = 16,
  kParamAuth = 32,
  kParamNotify = 64,
  kParamOrcpt = 128,
};

enum class SmtpBody : uint8_t { kNone, k7Bit, k8BitMime, kBinaryMime };

// MAIL or RCPT, taken apart.
struct SmtpPath {
  enum class Error : uint8_t {
    kNone,
    kSyntax,            // 501 5.5.4
    kBadAddress,        // 501 5.1.3 or 5.1.7
    kUnknownParameter,  // 555 5.5.4
    kParameterSyntax,   // 501 5.5.4
  };
  Error error = Error::kNone;
  base::ByteView address;  // without brackets and source route; empty: <>
  bool has_8bit = false;   // in the address
  uint16_t parameters = 0;
  uint64_t size = 0;
  SmtpBody body = SmtpBody::kNone;
  // As they were given, "KEYWORD=value", for those that are passed on as they are.
  base::ByteView ret, envid, auth, notify, orcpt;
};

// args of "MAIL", beginning with "FROM:"; only parameters that belong to MAIL are known.
[[nodiscard]] SmtpPath ParseMailArgs(base::ByteView args);
// args of "RCPT", beginning with "TO:".
[[nodiscard]] SmtpPath ParseRcptArgs(base::ByteView args);

// True if it may be said in EHLO: not empty, not too long, no control characters, no blanks.
[[nodiscard]] bool IsHelloName(base::ByteView name);

// RFC 3461 4: '+', '=' and all but printable ASCII as +XX.
void AppendXtext(std::string& out, base::ByteView value);

// The queue id in a final 250, as Postfix, Exim, Exchange, Sendmail and others word it; empty if
// none is recognised. text: everything after the code and enhanced code.
[[nodiscard]] base::ByteView FindQueueId(base::ByteView reply);

}  // namespace postern::proto
