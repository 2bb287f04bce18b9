// smtp_text: every SMTP reply that Postern itself utters, one table.
//
// Replies of a backend are relayed as they came; these are the others. The codes are those of
// RFC 5321 4.2.3, RFC 4954 6, RFC 3207 4, RFC 3463 and of the contract ("No pool, no lie").
// Tests:    test/proto/smtp_text_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

namespace postern::proto {

enum class SmtpText : uint8_t {
  // The dialogue.
  kOk,
  kMailOk,
  kRecipientOk,
  kResetOk,
  kNoopOk,
  kVrfy,
  kHelp,
  kBye,
  kStartTlsGo,
  kStartData,
  kLoggedIn,
  // Refusals of commands.
  kUnknownCommand,
  kNotImplemented,
  kNotAllowed,
  kBadSyntax,
  kBadArgument,
  kBadCharacter,
  kBareLf,
  kLineTooLong,
  kBadHello,
  kBadChunk,
  kHelloFirst,
  kBadSequence,
  kNoMail,
  kNestedMail,
  kNoRecipients,
  kNoValidRecipients,
  kNoneAccepted,  // the same on LMTP
  kUnknownParameter,
  kBadSender,
  kBadRecipient,
  kNeedsUtf8,
  kNoConversion,
  kNoUtf8There,
  kTooLarge,
  kTooManyRecipients,
  kTlsNeeded,
  kTlsActive,
  kTlsUnavailable,
  kTlsPipelined,
  // Logins.
  kAuthNeeded,
  kAuthEncryption,
  kAuthTwice,
  kAuthInMail,
  kAuthUnknown,
  kAuthSyntax,
  kAuthCancelled,
  kAuthRefused,
  kAuthTempFail,
  // Transactions.
  kOtherHome,
  kUnknownUser,
  kRejected,
  kRouteTempFail,
  kNobodyThere,
  kBackendLost,
  kNotKept,
  kSomeRefused,
  kBareNewline,
  kMessageTooLarge,
  kChunkOk,
  // Goodbyes.
  kEarlyTalker,
  kNotHttp,
  kTooManyErrors,
  kTooManyFailures,
  kTimeout,
  kDraining,
  kShutdown,
  kInternal,
};
inline constexpr int kNumSmtpTexts = static_cast<int>(SmtpText::kInternal) + 1;

// The whole line, with its line end.
[[nodiscard]] std::string_view Line(SmtpText text);

}  // namespace postern::proto
