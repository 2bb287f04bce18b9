// smtp_commands: the client's verbs, each a function, with a table of when they may come.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "lb/proto/line_reader.h"
#include "lb/proto/smtp_relay.h"

namespace postern::proto {

using base::ByteView;
using base::SessionResult;
using base::Side;

namespace {

// What Postern can parse and relay; a listener's own list may name more, but not announce it.
bool IsKnownKeyword(ByteView line) {
  const ByteView keyword = line.substr(0, line.find(' '));
  for (const ByteView known :
       {ByteView("PIPELINING"), ByteView("SIZE"), ByteView("8BITMIME"), ByteView("SMTPUTF8"),
        ByteView("DSN"), ByteView("ENHANCEDSTATUSCODES"), ByteView("CHUNKING"),
        ByteView("BINARYMIME")})
    if (base::EqualsIgnoreCase(keyword, known)) return true;
  return false;
}

// RFC 2033 5: LMTP says these whatever the servers behind it do.
bool IsMustOfLmtp(ByteView keyword) {
  return base::EqualsIgnoreCase(keyword, "PIPELINING") ||
         base::EqualsIgnoreCase(keyword, "ENHANCEDSTATUSCODES");
}

void AppendEhloLine(std::string& out, ByteView text) {
  out.append("250-").append(text).append("\r\n");
}

// These change what the replies before them are about, so they wait for them.
bool WaitsForReplies(SmtpVerb verb) {
  switch (verb) {
    case SmtpVerb::kHelo:
    case SmtpVerb::kEhlo:
    case SmtpVerb::kLhlo:
    case SmtpVerb::kStartTls:
    case SmtpVerb::kAuth:
    case SmtpVerb::kRset:
    case SmtpVerb::kQuit:
    case SmtpVerb::kBdat:  // its octets go nowhere before there is a recipient
      return true;
    case SmtpVerb::kMail:
    case SmtpVerb::kRcpt:
    case SmtpVerb::kData:
    case SmtpVerb::kNoop:
    case SmtpVerb::kVrfy:
    case SmtpVerb::kHelp:
    case SmtpVerb::kExpn:
    case SmtpVerb::kEtrn:
    case SmtpVerb::kXclient:
    case SmtpVerb::kXforward:
    case SmtpVerb::kHttp:
    case SmtpVerb::kUnknown:
      break;
  }
  return false;
}

SmtpText TextFor(SmtpPath::Error error, SmtpText bad_address) {
  switch (error) {
    case SmtpPath::Error::kBadAddress:
      return bad_address;
    case SmtpPath::Error::kUnknownParameter:
      return SmtpText::kUnknownParameter;
    case SmtpPath::Error::kNone:
    case SmtpPath::Error::kSyntax:
    case SmtpPath::Error::kParameterSyntax:
      break;
  }
  return SmtpText::kBadSyntax;
}

}  // namespace

size_t SmtpRelay::LineLimit(ByteView input) const {
  const bool is_sasl = settings_.is_submission &&
                       (front_ == Front::kSasl || base::StartsWithIgnoreCase(input, "AUTH "));
  return is_sasl ? settings_.limits.sasl_line : settings_.limits.line;
}

// One line, or nothing if it is not complete or may not be run yet.
size_t SmtpRelay::ReadCommand(ByteView input) {
  if (input.empty()) return 0;
  if (replies_.is_full()) {
    wait_ = Wait::kQueue;
    return 0;
  }
  const LineRead line = is_skipping_line_ ? LineRead{LineVerdict::kTooLong, {}, 0}
                                          : ReadLine(input, LineLimit(input));
  if (line.verdict == LineVerdict::kNeedMore) return 0;
  if (line.verdict != LineVerdict::kLine && !is_skipping_line_ && front_ == Front::kCommand &&
      base::StartsWithIgnoreCase(input, "BDAT")) {
    Bdat({});  // whatever it wants to say: what follows may be octets
    return 0;
  }
  if (line.verdict == LineVerdict::kTooLong) {
    const Skipped skipped = SkipLine(input);
    is_skipping_line_ = !skipped.is_at_end;
    if (is_skipping_line_) return skipped.size_bytes;
  }
  if (line.verdict != LineVerdict::kLine) {
    // A SASL exchange is over as well: nobody knows what was meant.
    sasl_.reset();
    front_ = Front::kCommand;
    ++num_commands_;
    must_restart_clock_ = true;
    if (line.verdict == LineVerdict::kTooLong) {
      const size_t size = SkipLine(input).size_bytes;
      Bad(SmtpText::kLineTooLong);
      return size;
    }
    Bad(line.verdict == LineVerdict::kBareLf ? SmtpText::kBareLf : SmtpText::kBadCharacter);
    return line.size_bytes;
  }
  if (front_ == Front::kSasl) {
    must_restart_clock_ = true;
    SaslLine(line.text);
    return line.size_bytes;
  }
  const SmtpCommand command = ParseSmtpCommand(line.text);
  if (replies_.has_pending() && WaitsForReplies(command.verb)) {
    wait_ = Wait::kVerdicts;
    return 0;
  }
  ++num_commands_;
  must_restart_clock_ = true;
  RunCommand(command, input.substr(line.size_bytes));
  return line.size_bytes;
}

void SmtpRelay::RunCommand(const SmtpCommand& command, ByteView behind) {
  if (is_draining_ && IsSafePoint() && command.verb != SmtpVerb::kQuit)
    return SayGoodbye(SmtpText::kDraining, SessionResult::kDrained, "draining");
  if (command.has_control && command.verb != SmtpVerb::kBdat) return Bad(SmtpText::kBadCharacter);
  const ByteView args = command.args;
  switch (command.verb) {
    case SmtpVerb::kHelo:
    case SmtpVerb::kEhlo:
    case SmtpVerb::kLhlo:
      // RFC 2033 4.1: each protocol has its own, so that nobody takes one for the other.
      if ((command.verb == SmtpVerb::kLhlo) != settings_.is_lmtp)
        return Bad(SmtpText::kUnknownCommand);
      Hello(command.verb, args);
      break;
    case SmtpVerb::kStartTls:
      StartTls(args, behind);
      break;
    case SmtpVerb::kAuth:
      Auth(args);
      return;  // reported when it is answered
    case SmtpVerb::kMail:
      Mail(args);
      break;
    case SmtpVerb::kRcpt:
      Rcpt(args);
      return;
    case SmtpVerb::kData:
      Data(args);
      return;
    case SmtpVerb::kBdat:
      Bdat(args);
      break;
    case SmtpVerb::kRset:
      if (!args.empty()) return Bad(SmtpText::kBadArgument);
      ForgetTransaction();
      Say(SmtpText::kResetOk);
      break;
    case SmtpVerb::kNoop:
      Say(SmtpText::kNoopOk);
      break;
    case SmtpVerb::kVrfy:
      if (args.empty()) return Bad(SmtpText::kBadSyntax);
      Say(SmtpText::kVrfy);
      break;
    case SmtpVerb::kHelp:
      Say(SmtpText::kHelp);
      break;
    case SmtpVerb::kQuit:
      Quit(args);
      break;
    case SmtpVerb::kExpn:
    case SmtpVerb::kEtrn:
      Bad(SmtpText::kNotImplemented);
      break;
    case SmtpVerb::kXclient:
    case SmtpVerb::kXforward:
      Bad(SmtpText::kNotAllowed);
      break;
    case SmtpVerb::kHttp:
      SayGoodbye(SmtpText::kNotHttp, SessionResult::kProtocolError, "spoke HTTP");
      break;
    case SmtpVerb::kUnknown:
      Bad(SmtpText::kUnknownCommand);
      break;
  }
  reports_.OnCommand(command.verb, base::Duration::zero());
}

void SmtpRelay::Hello(SmtpVerb verb, ByteView args) {
  const ByteView name = args.substr(0, args.find_first_of(" \t"));
  if (!IsHelloName(name)) return Bad(SmtpText::kBadHello);
  ForgetTransaction();
  hello_ = name;
  is_esmtp_ = verb != SmtpVerb::kHelo;
  if (is_esmtp_) {
    SayEhlo();
  } else {
    Say("250 " + std::string(settings_.hostname) + "\r\n");
  }
}

void SmtpRelay::SayEhlo() {
  std::string out;
  out.reserve(256);
  AppendEhloLine(out, settings_.hostname);
  if (settings_.is_lmtp) out += "250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n";
  for (const std::string& keyword : settings_.capabilities) {
    if (!IsKnownKeyword(keyword) || (settings_.is_lmtp && IsMustOfLmtp(keyword))) continue;
    if (base::StartsWithIgnoreCase(keyword, "BINARYMIME") && !announced_.binary_mime) continue;
    if (!base::StartsWithIgnoreCase(keyword, "SIZE")) {
      AppendEhloLine(out, keyword);
      continue;
    }
    AppendEhloLine(out, "SIZE " + std::to_string(MessageLimit()));
  }
  if (settings_.tls == SmtpFrontTls::kOffered && !has_tls_) AppendEhloLine(out, "STARTTLS");
  if (settings_.is_submission && (has_tls_ || !settings_.auth_requires_tls)) {
    std::string mechanisms = "AUTH PLAIN LOGIN";
    if (settings_.offers_xoauth2) mechanisms += " XOAUTH2";
    if (settings_.offers_oauthbearer) mechanisms += " OAUTHBEARER";
    AppendEhloLine(out, mechanisms);
  }
  out[out.rfind("250-") + 3] = ' ';
  Say(out);
}

void SmtpRelay::StartTls(ByteView args, ByteView behind) {
  if (settings_.tls == SmtpFrontTls::kNone) return Bad(SmtpText::kTlsUnavailable);
  if (has_tls_) return Bad(SmtpText::kTlsActive);
  if (!args.empty()) return Bad(SmtpText::kBadArgument);
  if (!behind.empty()) {
    // RFC 3207 4.2: what came in clear must not be taken as if it came inside TLS.
    wait_ = Wait::kTls;  // the phase for the log
    return SayGoodbye(SmtpText::kTlsPipelined, SessionResult::kProtocolError,
                      "bytes behind STARTTLS");
  }
  ForgetTransaction();
  CloseLeg(DropLeg::How::kGently);
  hello_.clear();
  login_.reset();
  is_logged_in_ = stays_ = false;
  Say(SmtpText::kStartTlsGo);
  actions_.emplace_back(StartTlsOn{Side::kFront, 0});
  wait_ = Wait::kTls;
  front_deadline_ = now_ + settings_.timeouts.tls;
}

SmtpText SmtpRelay::CheckParameters(const SmtpPath& path) const {
  uint16_t allowed = 0;
  if (announced_.size) allowed |= kParamSize;
  if (announced_.eight_bit_mime || announced_.binary_mime) allowed |= kParamBody;
  if (announced_.smtp_utf8) allowed |= kParamSmtpUtf8;
  if (announced_.dsn) allowed |= kParamRet | kParamEnvid | kParamNotify | kParamOrcpt;
  if (settings_.is_submission) allowed |= kParamAuth;
  if (path.body == SmtpBody::kBinaryMime && !announced_.binary_mime)
    return SmtpText::kUnknownParameter;
  return (path.parameters & ~allowed) == 0 ? SmtpText::kOk : SmtpText::kUnknownParameter;
}

// What is announced as SIZE.
uint64_t SmtpRelay::MessageLimit() const {
  const uint64_t own = settings_.limits.message;
  return announced_.max_size == 0 || own == UINT64_MAX ? own : std::min(own, announced_.max_size);
}

void SmtpRelay::Mail(ByteView args) {
  if (mail_.stage != Stage::kNone) return Bad(SmtpText::kNestedMail);
  if (settings_.require_tls && !has_tls_) return Bad(SmtpText::kTlsNeeded);
  if (hello_.empty()) return Bad(SmtpText::kHelloFirst);
  if (settings_.is_submission && !is_logged_in_) return Bad(SmtpText::kAuthNeeded);
  const SmtpPath path = ParseMailArgs(args);
  if (path.error != SmtpPath::Error::kNone) return Bad(TextFor(path.error, SmtpText::kBadSender));
  if (const SmtpText text = CheckParameters(path); text != SmtpText::kOk) return Bad(text);
  const bool is_utf8 = (path.parameters & kParamSmtpUtf8) != 0;
  if (path.has_8bit && !is_utf8) return Bad(SmtpText::kNeedsUtf8);
  if (path.size > MessageLimit()) return Say(SmtpText::kTooLarge);

  failed_chunks_.clear();
  mail_.stage = Stage::kEnvelope;
  mail_.number = ++num_transactions_;
  mail_.from = path.address;
  mail_.is_uncommitted = JudgesLate();
  mail_.has_size = (path.parameters & kParamSize) != 0;
  mail_.size = path.size;
  mail_.body = path.body;
  mail_.is_utf8 = is_utf8;
  mail_.auth = path.auth;
  for (const ByteView parameter : {path.ret, path.envid}) {
    if (parameter.empty()) continue;
    mail_.parameters.append(" ").append(parameter);
    mail_.uses_dsn = true;
  }
  if (!settings_.is_submission) login_deadline_ = kNever;
  phases_ms_.fill(-1);
  Say(SmtpText::kMailOk);
}

void SmtpRelay::Rcpt(ByteView args) {
  if (mail_.stage != Stage::kEnvelope)
    return Bad(mail_.stage == Stage::kNone ? SmtpText::kNoMail : SmtpText::kBadSequence);
  if (++mail_.num_rcpt_commands > settings_.limits.recipients)
    return Say(SmtpText::kTooManyRecipients);
  const SmtpPath path = ParseRcptArgs(args);
  if (path.error != SmtpPath::Error::kNone)
    return Bad(TextFor(path.error, SmtpText::kBadRecipient));
  if (const SmtpText text = CheckParameters(path); text != SmtpText::kOk) return Bad(text);
  if (path.has_8bit && !mail_.is_utf8) return Bad(SmtpText::kNeedsUtf8);

  recipient_ = Recipient{};
  recipient_.address = path.address;
  recipient_.asked = now_;
  for (const ByteView parameter : {path.notify, path.orcpt})
    if (!parameter.empty()) recipient_.parameters.append(" ").append(parameter);
  if (JudgesLate()) {
    const std::string reply = refusals_.Recall(mail_.from, recipient_.address);
    if (!reply.empty()) return RefuseRecipient(reply, SmtpReports::Recipient::kRejected);
  }
  if (stays_) return PlaceWhereItStays();
  if (settings_.is_submission && work_ == Work::kTransaction) {
    recipient_way_ = {};
    recipient_way_.home = homes_.front();  // the user's; recipients do not route
    return PlaceRecipient();
  }
  wait_ = Wait::kRoute;
  if (settings_.is_submission) {
    actions_.emplace_back(AskRoute{AskRoute::By::kUser, login_->user});
  } else {
    actions_.emplace_back(AskRoute{AskRoute::By::kRecipient, recipient_.address});
  }
}

void SmtpRelay::Data(ByteView args) {
  if (!args.empty()) return Bad(SmtpText::kBadArgument);
  if (mail_.stage != Stage::kEnvelope || mail_.body == SmtpBody::kBinaryMime)
    return Bad(mail_.stage == Stage::kNone ? SmtpText::kNoMail : SmtpText::kBadSequence);
  if (mail_.num_rcpt_commands == 0) return Bad(SmtpText::kNoRecipients);
  mail_.stage = Stage::kDataAsked;
  mail_.data_ticket = replies_.Expect();
  mail_.data_asked = now_;
  if (mail_.is_uncommitted && mail_.num_accepted > 0) return StartText(Line(SmtpText::kStartData));
  wait_ = Wait::kDataStart;
  PumpEnvelope();
  SettleVerdicts();
}

void SmtpRelay::Quit(ByteView args) {
  if (!args.empty()) return Bad(SmtpText::kBadArgument);
  Say(SmtpText::kBye);
  End(SessionResult::kClientQuit, Side::kFront, "");
}

}  // namespace postern::proto
