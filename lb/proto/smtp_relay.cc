// smtp_relay: what comes in from the driver, the clocks of the client's side, and the ends.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/smtp_relay.h"

#include <algorithm>
#include <utility>

namespace postern::proto {

using base::ByteView;
using base::MonoTime;
using base::Phase;
using base::SessionResult;
using base::Side;

SmtpRelay::SmtpRelay(const SmtpSettings& settings, const SmtpClient& client, SmtpReports& reports,
                     ReplayBudget& budget, RefusalMemory& refusals)
    : settings_(settings),
      client_(client),
      reports_(reports),
      refusals_(refusals),
      has_tls_(settings.tls == SmtpFrontTls::kActive),
      journal_(budget, settings.replay_memory, settings.replay_limit),
      scanner_(SmtpDataScanner::BareNewlines::kKeep),
      chunk_scanner_(SmtpChunkScanner::BareNewlines::kKeep) {
  for (const std::string& keyword : settings_.capabilities) announced_.Learn(keyword);
  // Binary text may hold any CR and LF, and needs BDAT to every server that gets it.
  if (settings_.is_lmtp || settings_.bare_newline != conf::BareNewline::kPass ||
      !announced_.chunking)
    announced_.binary_mime = false;
  login_deadline_ = client_.accepted + settings_.timeouts.login;
  phases_ms_.fill(-1);
}

SmtpRelay::~SmtpRelay() {
  ClearBackOutput();
}

const std::string& SmtpRelay::user() const {
  static const std::string kNone;
  return is_logged_in_ ? login_->user : kNone;
}

bool SmtpRelay::is_idle() const {
  return work_ == Work::kNone && mail_.stage == Stage::kNone && wait_ == Wait::kNothing;
}

bool SmtpRelay::has_credentials() const {
  return login_ != nullptr && !(login_->password.empty() && login_->message.empty());
}

bool SmtpRelay::MayOpenTo(conf::Reauth reauth) const {
  if (!is_logged_in_) return true;
  switch (reauth) {
    case conf::Reauth::kReplay:
      return has_credentials();
    case conf::Reauth::kXclientLogin:
      return true;
    case conf::Reauth::kNever:
      break;
  }
  return false;
}

std::string_view SmtpRelay::pick_key() const {
  if (login_ != nullptr) return login_->user;
  return mail_.recipients.empty() ? recipient_.address : mail_.recipients.front().address;
}

void SmtpRelay::ClearBackOutput() {
  if (has_secret_output_) {
    base::WipeString(back_output_);
    has_secret_output_ = false;
  } else {
    back_output_.clear();
  }
}

// --- the client -------------------------------------------------------------------------------

void SmtpRelay::Start(MonoTime now, ByteView early) {
  now_ = now;
  if (!early.empty()) {
    RefuseEarlyTalker();
  } else if (settings_.greet_delay > base::Duration::zero()) {
    wait_ = Wait::kGreetDelay;
    front_deadline_ = now_ + settings_.greet_delay;
  } else {
    Greet();
  }
  FinishCall();
}

void SmtpRelay::Greet() {
  replies_.SayPart("220 ");
  replies_.SayPart(settings_.hostname);
  replies_.SayPart(settings_.is_lmtp ? " LMTP\r\n" : " ESMTP\r\n");
  front_ = Front::kCommand;
  wait_ = Wait::kNothing;
}

void SmtpRelay::RefuseEarlyTalker() {
  reports_.OnEarlyTalker();
  SayGoodbye(SmtpText::kEarlyTalker, SessionResult::kProtocolError, "spoke before the greeting");
}

size_t SmtpRelay::OnFront(ByteView input, MonoTime now) {
  now_ = now;
  if (is_over()) return 0;
  if (wait_ == Wait::kGreetDelay && !input.empty()) RefuseEarlyTalker();
  size_t consumed = 0;
  while (!is_over() && wait_ == Wait::kNothing) {
    const ByteView rest = input.substr(consumed);
    if (front_ == Front::kData || front_ == Front::kChunk) {
      consumed += front_ == Front::kData ? ReadText(rest) : ReadChunk(rest);
      break;  // what it made of the text must be written before there is more
    }
    const size_t taken = ReadCommand(rest);
    if (taken == 0) break;
    consumed += taken;
  }
  if (!is_over() && wait_ == Wait::kNothing) {
    if (is_front_eof_ && !replies_.has_pending()) {
      End(SessionResult::kClientLost, Side::kFront, "closed without QUIT");
    } else if (is_draining_ && consumed == input.size() && IsSafePoint()) {
      SayGoodbye(SmtpText::kDraining, SessionResult::kDrained, "draining");
    }
  }
  FinishCall();
  return consumed;
}

void SmtpRelay::OnFrontTls(MonoTime now) {
  now_ = now;
  if (wait_ != Wait::kTls) return;
  has_tls_ = true;
  wait_ = Wait::kNothing;
  FinishCall();
}

void SmtpRelay::OnFrontEof(MonoTime now) {
  now_ = now;
  is_front_eof_ = true;
  if (wait_ == Wait::kTls) End(SessionResult::kClientLost, Side::kFront, "closed in the handshake");
  FinishCall();
}

void SmtpRelay::OnFrontLost(MonoTime now, std::string why) {
  now_ = now;
  if (!is_over()) End(SessionResult::kClientLost, Side::kFront, std::move(why));
  FinishCall();
}

void SmtpRelay::OnRoute(const RouteAnswer& answer, MonoTime now) {
  now_ = now;
  if (wait_ != Wait::kRoute) return;
  wait_ = Wait::kNothing;
  if (mail_.stage == Stage::kNone) {
    OnLoginRoute(answer);
  } else {
    OnRecipientRoute(answer);
  }
  FinishCall();
}

void SmtpRelay::OnPeerName(const base::PeerName& name, MonoTime now) {
  now_ = now;
  peer_name_ = name;
  if (leg_.name_deadline == kNever) return;
  leg_.name_deadline = kNever;
  leg_.phase_began += now_ - leg_.name_wanted;  // a wait of our own is no latency of theirs
  RunLadder(leg_.ladder->OnPeerName(name, back_output_));
  FinishCall();
}

void SmtpRelay::BeginDrain(MonoTime now) {
  now_ = now;
  is_draining_ = true;  // OnFront says goodbye when it sees that nothing more was asked
}

void SmtpRelay::Kill(SessionResult why, MonoTime now) {
  now_ = now;
  if (is_over()) return;
  if (wait_ == Wait::kTls) {
    End(why, Side::kNone, "ended from outside");
  } else {
    SayGoodbye(SmtpText::kShutdown, why, "ended from outside");
  }
  FinishCall();
}

// --- time -------------------------------------------------------------------------------------

MonoTime SmtpRelay::deadline() const {
  if (is_over()) return kNever;
  return std::min({front_deadline_, login_deadline_, refusal_due_, leg_.deadline,
                   leg_.name_deadline, spool_deadline_});
}

void SmtpRelay::OnTimer(MonoTime now) {
  now_ = now;
  if (refusal_due_ <= now && !is_over()) SayRefusal();
  if (leg_.name_deadline <= now && !is_over()) OnPeerName(base::PeerName{}, now);
  if (leg_.deadline <= now && !is_over()) OnLegDeadline();
  if (spool_deadline_ <= now && !is_over()) LoseJournal(JournalLoss::kDisk);
  if (front_deadline_ <= now && !is_over()) OnFrontDeadline();
  if (login_deadline_ <= now && !is_over()) {
    static constexpr const char* kWhy = "took too long to begin";
    if (wait_ == Wait::kTls) {
      End(SessionResult::kIdle, Side::kFront, kWhy);  // within the handshake nothing can be said
    } else {
      SayGoodbye(SmtpText::kTimeout, SessionResult::kIdle, kWhy);
    }
  }
  FinishCall();
}

void SmtpRelay::OnFrontDeadline() {
  front_deadline_ = kNever;
  if (wait_ == Wait::kGreetDelay) return Greet();
  if (wait_ == Wait::kTls)
    return End(SessionResult::kProtocolError, Side::kFront, "the handshake took too long");
  if (front_clock_ == FrontClock::kData &&
      (leg_.unsent_bytes > 0 || journal_.waiting_bytes() > 0)) {
    must_restart_clock_ = true;  // it is the backend or the disk that is slow: with own deadlines
    return;
  }
  SayGoodbye(SmtpText::kTimeout, SessionResult::kIdle,
             front_clock_ == FrontClock::kData ? "no message text in time" : "no command in time");
}

// The client's clock runs only while it is the client's turn.
void SmtpRelay::FinishCall() {
  // A chunk of no octets ends without one that would wake us.
  if (front_ == Front::kChunk && chunk_.left == 0 && wait_ == Wait::kNothing) (void)ReadChunk({});
  if (is_over()) return;
  if (wait_ == Wait::kQueue && !replies_.is_full()) wait_ = Wait::kNothing;
  if (wait_ == Wait::kGreetDelay || wait_ == Wait::kTls) {
    front_clock_ = FrontClock::kOff;
    return;
  }
  FrontClock clock = FrontClock::kOff;
  if (wait_ == Wait::kNothing) {
    if (front_ == Front::kData || front_ == Front::kChunk) {
      clock = FrontClock::kData;
    } else if (!replies_.has_pending()) {
      clock = FrontClock::kCommand;
    }
  }
  if (clock == front_clock_ && !must_restart_clock_) return;
  front_clock_ = clock;
  must_restart_clock_ = false;
  clock_bytes_ = 0;
  switch (clock) {
    case FrontClock::kOff:
      front_deadline_ = kNever;
      break;
    case FrontClock::kCommand:
      front_deadline_ = now_ + settings_.timeouts.command;
      break;
    case FrontClock::kData:
      front_deadline_ = now_ + settings_.timeouts.data;
      break;
  }
}

// --- ends -------------------------------------------------------------------------------------

bool SmtpRelay::IsSafePoint() const {
  return mail_.stage == Stage::kNone && front_ == Front::kCommand && wait_ == Wait::kNothing &&
         !replies_.has_pending();
}

Phase SmtpRelay::FrontPhase() const {
  switch (wait_) {
    case Wait::kTls:
      return Phase::kTls;
    case Wait::kRoute:
      return Phase::kRoute;
    case Wait::kLogin:
    case Wait::kRefusal:
      return Phase::kLogin;
    case Wait::kDataEnd:
      return Phase::kDataReply;
    case Wait::kLeg:
      return Phase::kData;
    case Wait::kNothing:
    case Wait::kGreetDelay:
    case Wait::kVerdicts:
    case Wait::kQueue:
    case Wait::kDataStart:
      break;
  }
  switch (front_) {
    case Front::kGreeting:
      return Phase::kGreeting;
    case Front::kSasl:
      return Phase::kLogin;
    case Front::kData:
    case Front::kChunk:
      return Phase::kData;
    case Front::kCommand:
    case Front::kEnded:
      break;
  }
  switch (mail_.stage) {
    case Stage::kEnvelope:
      return mail_.num_rcpt_commands == 0 ? Phase::kMail : Phase::kRcpt;
    case Stage::kDataAsked:
      return Phase::kData;
    case Stage::kNone:
    case Stage::kText:
    case Stage::kDiscarded:
    case Stage::kEnding:
    case Stage::kHandedOver:
      break;
  }
  return Phase::kCommand;
}

void SmtpRelay::Bad(SmtpText text) {
  if (++num_bad_commands_ >= settings_.limits.bad_commands) {
    SayGoodbye(SmtpText::kTooManyErrors, SessionResult::kLimit, "too many errors");
  } else {
    Say(text);
  }
}

void SmtpRelay::SayGoodbye(SmtpText text, SessionResult result, std::string why) {
  replies_.Finish(Line(text));
  const bool is_ours = result == SessionResult::kDrained || result == SessionResult::kShutdown ||
                       result == SessionResult::kKicked;
  End(result, is_ours ? Side::kNone : Side::kFront, std::move(why));
}

void SmtpRelay::End(SessionResult result, Side side, std::string why) {
  base::EndCause cause{result, side, FrontPhase(), std::move(why)};
  if (mail_.stage != Stage::kNone) ReportTransaction({}, cause);
  const bool has_text = mail_.stage != Stage::kNone && mail_.stage != Stage::kEnvelope &&
                        mail_.stage != Stage::kHandedOver;
  if (has_text && !leg_.is_idle) {
    CloseLeg(DropLeg::How::kAtOnce);
  } else {
    PassLegOn();
  }
  replies_.Finish({});
  front_ = Front::kEnded;
  wait_ = Wait::kNothing;
  work_ = Work::kNone;
  mail_ = {};
  ForgetJournal();
  sasl_.reset();
  front_deadline_ = login_deadline_ = refusal_due_ = kNever;
  actions_.emplace_back(EndSession{std::move(cause)});
}

}  // namespace postern::proto
