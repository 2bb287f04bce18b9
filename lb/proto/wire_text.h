// wire_text: every reply that Postern itself utters in IMAP and POP3, one row each.
//
// The words are fixed: no peer's text, nothing about why a login was refused. (SMTP's are in
// smtp_text.)
// Rules:    RFC 9051 7.1, RFC 5530 (codes); RFC 2449 8, RFC 3206 (POP3 codes).
// Tests:    test/proto/wire_text_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

namespace postern::proto {

enum class ImapText : uint8_t {
  kCapabilityDone,
  kNoopDone,
  kIdDone,
  kLogoutDone,
  kLoggedIn,
  kBeginTls,
  kBadTag,
  kBadCommand,
  kBadArguments,
  kBadLineEnd,
  kLineTooLong,
  kLiteralTooBig,
  kStrayLiteral,
  kAlreadyTls,
  kNoTls,
  kBytesBehindTls,
  kBadMechanism,
  kBadSasl,
  kCancelled,
  kNeedsTls,
  kRefused,
  kRefusedText,  // behind another code: text alone
  kUnavailable,
  kBye,
  kByeTooManyBad,
  kByeTooManyLogins,
  kByeHttp,
  kByeStrayLiteral,
  kByeTimeout,
  kByeDrain,
  kByeShutdown,
  kByeKicked,
  kByeForbidden,
  kByeBackendLost,
};
// Condition, code and text, without tag and line end: "NO [UNAVAILABLE] ...".
[[nodiscard]] std::string_view Text(ImapText text);

enum class Pop3Text : uint8_t {
  kCapaFollows,
  kMechanismsFollow,
  kUserOk,
  kLoggedIn,
  kNoop,
  kBeginTls,
  kBye,
  kBadCommand,
  kBadArguments,
  kBadLineEnd,
  kLineTooLong,
  kNoUser,
  kAlreadyTls,
  kNoTls,
  kBytesBehindTls,
  kBadMechanism,
  kBadSasl,
  kCancelled,
  kNeedsTls,
  kRefused,
  kNotNowText,  // behind a code: text alone
  kUnavailable,
  kTooManyBad,
  kHttp,
  kTimeout,
  kDrain,
  kShutdown,
  kKicked,
};
// "+OK ..." or "-ERR [CODE] ...", without line end.
[[nodiscard]] std::string_view Text(Pop3Text text);

}  // namespace postern::proto
