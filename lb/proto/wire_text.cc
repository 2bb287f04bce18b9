// wire_text: every reply that Postern itself utters in IMAP and POP3.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/wire_text.h"

#include <array>
#include <cstddef>

namespace postern::proto {
namespace {

template <typename Id>
struct Row {
  Id id;
  std::string_view text;
};
template <typename Id>
Row(Id, std::string_view) -> Row<Id>;  // clang 14 deduces none for aggregates

constexpr std::array kImap = {
    Row{ImapText::kCapabilityDone, "OK Capability completed"},
    Row{ImapText::kNoopDone, "OK Noop completed"},
    Row{ImapText::kIdDone, "OK ID completed"},
    Row{ImapText::kLogoutDone, "OK Logout completed"},
    Row{ImapText::kLoggedIn, "OK Logged in"},
    Row{ImapText::kBeginTls, "OK Begin TLS negotiation now"},
    Row{ImapText::kBadTag, "BAD Invalid tag"},
    Row{ImapText::kBadCommand, "BAD Unknown command"},
    Row{ImapText::kBadArguments, "BAD Invalid arguments"},
    Row{ImapText::kBadLineEnd, "BAD Lines end with CRLF, without CR, LF or NUL within"},
    Row{ImapText::kLineTooLong, "BYE Line too long"},
    Row{ImapText::kLiteralTooBig, "BAD Literal too large"},
    Row{ImapText::kStrayLiteral, "BAD Literal where none may stand"},
    Row{ImapText::kAlreadyTls, "BAD TLS is active already"},
    Row{ImapText::kNoTls, "BAD No TLS here"},
    Row{ImapText::kBytesBehindTls, "BAD Nothing may follow STARTTLS before TLS is up"},
    Row{ImapText::kBadMechanism, "NO Unsupported authentication mechanism"},
    Row{ImapText::kBadSasl, "BAD Invalid authentication data"},
    Row{ImapText::kCancelled, "BAD Authentication cancelled"},
    Row{ImapText::kNeedsTls, "NO [PRIVACYREQUIRED] Logging in needs TLS: use STARTTLS first"},
    Row{ImapText::kRefused, "NO [AUTHENTICATIONFAILED] Authentication failed"},
    Row{ImapText::kRefusedText, "Authentication failed"},
    Row{ImapText::kUnavailable, "NO [UNAVAILABLE] Temporarily unavailable, try again later"},
    Row{ImapText::kBye, "BYE Logging out"},
    Row{ImapText::kByeTooManyBad, "BYE Too many invalid commands"},
    Row{ImapText::kByeTooManyLogins, "BYE Too many failed logins"},
    Row{ImapText::kByeHttp, "BYE This is an IMAP server"},
    Row{ImapText::kByeStrayLiteral, "BYE Cannot tell commands from literals"},
    Row{ImapText::kByeTimeout, "BYE Disconnected for inactivity"},
    Row{ImapText::kByeDrain, "BYE Server is going down for maintenance, please reconnect"},
    Row{ImapText::kByeShutdown, "BYE Server is shutting down"},
    Row{ImapText::kByeKicked, "BYE Session ended by the administrator"},
    Row{ImapText::kByeForbidden, "BYE Command not allowed here"},
    Row{ImapText::kByeBackendLost, "BYE Mailbox server has gone away, please reconnect"},
};

constexpr std::array kPop3 = {
    Row{Pop3Text::kCapaFollows, "+OK Capabilities follow"},
    Row{Pop3Text::kMechanismsFollow, "+OK Mechanisms follow"},
    Row{Pop3Text::kUserOk, "+OK Send the password"},
    Row{Pop3Text::kLoggedIn, "+OK Logged in"},
    Row{Pop3Text::kNoop, "+OK"},
    Row{Pop3Text::kBeginTls, "+OK Begin TLS negotiation now"},
    Row{Pop3Text::kBye, "+OK Goodbye"},
    Row{Pop3Text::kBadCommand, "-ERR Unknown command"},
    Row{Pop3Text::kBadArguments, "-ERR Invalid arguments"},
    Row{Pop3Text::kBadLineEnd, "-ERR Lines end with CRLF, without CR, LF or NUL within"},
    Row{Pop3Text::kLineTooLong, "-ERR Line too long"},
    Row{Pop3Text::kNoUser, "-ERR USER comes first"},
    Row{Pop3Text::kAlreadyTls, "-ERR TLS is active already"},
    Row{Pop3Text::kNoTls, "-ERR No TLS here"},
    Row{Pop3Text::kBytesBehindTls, "-ERR Nothing may follow STLS before TLS is up"},
    Row{Pop3Text::kBadMechanism, "-ERR Unsupported authentication mechanism"},
    Row{Pop3Text::kBadSasl, "-ERR Invalid authentication data"},
    Row{Pop3Text::kCancelled, "-ERR Authentication cancelled"},
    Row{Pop3Text::kNeedsTls, "-ERR Logging in needs TLS: use STLS first"},
    Row{Pop3Text::kRefused, "-ERR [AUTH] Authentication failed"},
    Row{Pop3Text::kNotNowText, "Cannot log in now"},
    Row{Pop3Text::kUnavailable, "-ERR [SYS/TEMP] Temporarily unavailable, try again later"},
    Row{Pop3Text::kTooManyBad, "-ERR Too many invalid commands"},
    Row{Pop3Text::kHttp, "-ERR This is a POP3 server"},
    Row{Pop3Text::kTimeout, "-ERR Disconnected for inactivity"},
    Row{Pop3Text::kDrain, "-ERR [SYS/TEMP] Server is going down for maintenance"},
    Row{Pop3Text::kShutdown, "-ERR [SYS/TEMP] Server is shutting down"},
    Row{Pop3Text::kKicked, "-ERR Session ended by the administrator"},
};

template <typename Table>
constexpr bool IsInOrder(const Table& table) {
  for (size_t i = 0; i < table.size(); ++i)
    if (static_cast<size_t>(table[i].id) != i) return false;
  return true;
}
static_assert(IsInOrder(kImap) && kImap.size() == size_t{1} + size_t(ImapText::kByeBackendLost));
static_assert(IsInOrder(kPop3) && kPop3.size() == size_t{1} + size_t(Pop3Text::kKicked));

}  // namespace

std::string_view Text(ImapText text) {
  return kImap[static_cast<size_t>(text)].text;
}

std::string_view Text(Pop3Text text) {
  return kPop3[static_cast<size_t>(text)].text;
}

}  // namespace postern::proto
