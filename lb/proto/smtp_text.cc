// smtp_text: every SMTP reply that Postern itself utters, one table.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/smtp_text.h"

#include <iterator>

namespace postern::proto {
namespace {

struct Row {
  SmtpText text;
  std::string_view line;
};

constexpr Row kRows[] = {
    {SmtpText::kOk, "250 2.0.0 Ok\r\n"},
    {SmtpText::kMailOk, "250 2.1.0 Sender noted\r\n"},
    {SmtpText::kRecipientOk, "250 2.1.5 Ok\r\n"},
    {SmtpText::kResetOk, "250 2.0.0 Forgotten\r\n"},
    {SmtpText::kNoopOk, "250 2.0.0 Ok\r\n"},
    {SmtpText::kVrfy, "252 2.5.0 Send mail, the recipient will be tried\r\n"},
    {SmtpText::kHelp, "214 2.0.0 See RFC 5321\r\n"},
    {SmtpText::kBye, "221 2.0.0 Goodbye\r\n"},
    {SmtpText::kStartTlsGo, "220 2.0.0 Ready to start TLS\r\n"},
    {SmtpText::kStartData, "354 Go ahead, end with a lone dot\r\n"},
    {SmtpText::kLoggedIn, "235 2.7.0 Authentication successful\r\n"},

    {SmtpText::kUnknownCommand, "500 5.5.1 Command not recognised\r\n"},
    {SmtpText::kNotImplemented, "502 5.5.1 Command not implemented\r\n"},
    {SmtpText::kNotAllowed, "550 5.7.1 Not allowed\r\n"},
    {SmtpText::kBadSyntax, "501 5.5.4 Syntax error\r\n"},
    {SmtpText::kBadArgument, "501 5.5.4 This command takes no argument\r\n"},
    {SmtpText::kBadCharacter, "501 5.5.2 Control character in a command\r\n"},
    {SmtpText::kBareLf, "500 5.5.2 Lines end with CR LF\r\n"},
    {SmtpText::kLineTooLong, "500 5.5.2 Line too long\r\n"},
    {SmtpText::kBadHello, "501 5.5.4 A name is needed, without control characters\r\n"},
    {SmtpText::kBadChunk, "501 5.5.4 BDAT wants a size in octets, then LAST or nothing\r\n"},
    {SmtpText::kHelloFirst, "503 5.5.1 Say EHLO first\r\n"},
    {SmtpText::kBadSequence, "503 5.5.1 Not now\r\n"},
    {SmtpText::kNoMail, "503 5.5.1 MAIL first\r\n"},
    {SmtpText::kNestedMail, "503 5.5.1 Sender given already\r\n"},
    {SmtpText::kNoRecipients, "503 5.5.1 RCPT first\r\n"},
    {SmtpText::kNoValidRecipients, "554 5.5.1 No valid recipients\r\n"},
    {SmtpText::kNoneAccepted, "503 5.5.1 No valid recipients\r\n"},
    {SmtpText::kUnknownParameter, "555 5.5.4 Parameter not recognised\r\n"},
    {SmtpText::kBadSender, "501 5.1.7 Bad sender address\r\n"},
    {SmtpText::kBadRecipient, "501 5.1.3 Bad recipient address\r\n"},
    {SmtpText::kNeedsUtf8, "553 5.6.7 This address needs SMTPUTF8\r\n"},
    {SmtpText::kNoConversion, "554 5.6.3 No server here takes this message unconverted\r\n"},
    {SmtpText::kNoUtf8There, "554 5.6.7 No server here takes SMTPUTF8\r\n"},
    {SmtpText::kTooLarge, "552 5.3.4 Message too large\r\n"},
    {SmtpText::kTooManyRecipients, "452 4.5.3 Too many recipients\r\n"},
    {SmtpText::kTlsNeeded, "530 5.7.0 Say STARTTLS first\r\n"},
    {SmtpText::kTlsActive, "503 5.5.1 TLS is active already\r\n"},
    {SmtpText::kTlsUnavailable, "502 5.5.1 TLS is not offered here\r\n"},
    {SmtpText::kTlsPipelined, "501 5.5.2 Nothing may follow STARTTLS\r\n"},

    {SmtpText::kAuthNeeded, "530 5.7.0 Authentication required\r\n"},
    {SmtpText::kAuthEncryption, "538 5.7.11 Encryption required, say STARTTLS first\r\n"},
    {SmtpText::kAuthTwice, "503 5.5.1 Authenticated already\r\n"},
    {SmtpText::kAuthInMail, "503 5.5.1 Not within a mail transaction\r\n"},
    {SmtpText::kAuthUnknown, "504 5.5.4 Mechanism not offered\r\n"},
    {SmtpText::kAuthSyntax, "501 5.5.2 Malformed authentication data\r\n"},
    {SmtpText::kAuthCancelled, "501 5.7.0 Authentication cancelled\r\n"},
    {SmtpText::kAuthRefused, "535 5.7.8 Authentication failed\r\n"},
    {SmtpText::kAuthTempFail, "454 4.7.0 Temporary authentication failure\r\n"},

    {SmtpText::kOtherHome, "452 4.5.3 Send this recipient in another transaction\r\n"},
    {SmtpText::kUnknownUser, "550 5.1.1 No such recipient here\r\n"},
    {SmtpText::kRejected, "550 5.7.1 Rejected\r\n"},
    {SmtpText::kRouteTempFail, "451 4.3.0 Try again later\r\n"},
    {SmtpText::kNobodyThere, "451 4.4.1 No server can take this now\r\n"},
    {SmtpText::kBackendLost, "451 4.4.2 Lost the mail server, try again\r\n"},
    {SmtpText::kNotKept, "451 4.3.1 The message could not be kept, try again\r\n"},
    {SmtpText::kSomeRefused, "451 4.1.0 Some recipients were refused, try again to hear which\r\n"},
    {SmtpText::kBareNewline, "550 5.6.11 Message contains bare CR or LF\r\n"},
    {SmtpText::kMessageTooLarge, "552 5.3.4 Message too large\r\n"},
    {SmtpText::kChunkOk, "250 2.0.0 Octets received\r\n"},

    {SmtpText::kEarlyTalker, "554 5.5.1 You spoke before the greeting\r\n"},
    {SmtpText::kNotHttp, "554 5.5.1 This is not HTTP\r\n"},
    {SmtpText::kTooManyErrors, "421 4.7.0 Too many errors\r\n"},
    {SmtpText::kTooManyFailures, "421 4.7.0 Too many authentication failures\r\n"},
    {SmtpText::kTimeout, "421 4.4.2 Timeout\r\n"},
    {SmtpText::kDraining, "421 4.3.2 Going down for maintenance, come again\r\n"},
    {SmtpText::kShutdown, "421 4.3.2 Shutting down\r\n"},
    {SmtpText::kInternal, "421 4.3.0 Internal error\r\n"},
};

constexpr bool RowsAreInOrder() {
  int number = 0;
  for (const Row& row : kRows)
    if (static_cast<int>(row.text) != number++) return false;
  return number == kNumSmtpTexts;
}
static_assert(RowsAreInOrder());

}  // namespace

std::string_view Line(SmtpText text) {
  return kRows[static_cast<int>(text)].line;
}

}  // namespace postern::proto
