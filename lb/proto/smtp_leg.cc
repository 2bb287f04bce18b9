// smtp_leg: the one backend that a session is on: chosen, climbed up to, listened to, left.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "lb/proto/smtp_relay.h"

namespace postern::proto {

using base::ByteView;
using base::FaultKind;
using base::MonoTime;
using base::Phase;

namespace {
// How long a transaction waits for the client's name (XCLIENT); it is looked up since accept.
constexpr base::Duration kNameWait = std::chrono::seconds(1);
}  // namespace

// --- choosing ---------------------------------------------------------------------------------

// The idle leg where it may serve, else another connection.
void SmtpRelay::ChooseLeg(bool is_idle_leg_good) {
  const bool is_good = is_idle_leg_good && leg_.state == Leg::State::kReady && leg_.is_idle &&
                       leg_.hello == hello_ && leg_.is_esmtp == is_esmtp_ &&
                       CoversTransaction(leg_.extensions);
  if (is_good) return ReuseLeg();
  CloseLeg(DropLeg::How::kGently);
  OpenAnother();
}

void SmtpRelay::ReuseLeg() {
  leg_.is_idle = false;
  leg_.is_reused = true;
  leg_.next_recipient = 0;
  leg_.is_mail_sent = leg_.is_mail_refused = false;
  ++leg_.num_transactions;
  reports_.OnLegBusy(leg_.id);
  PumpEnvelope();
}

void SmtpRelay::OpenAnother() {
  POSTERN_DCHECK(leg_.id == 0);
  leg_.id = ++last_leg_;
  leg_.state = Leg::State::kPicking;
  actions_.emplace_back(OpenLeg{leg_.id});
}

void SmtpRelay::OnNobody(LegId leg, bool has_untried, MonoTime now) {
  now_ = now;
  if (leg != leg_.id) return;
  leg_ = {};
  if (work_ == Work::kLogin) {
    FailLogin(Line(SmtpText::kAuthTempFail));
  } else if (has_untried || tried_.empty() || mail_.lacking != tried_) {
    GiveUp(Line(SmtpText::kNobodyThere));
  } else {
    // They are there and well, but would not get it as it is.
    GiveUp(Line(mail_.body == SmtpBody::kBinaryMime || mail_.body == SmtpBody::k8BitMime
                    ? SmtpText::kNoConversion
                    : SmtpText::kNoUtf8There));
  }
  FinishCall();
}

bool SmtpRelay::MayShare(const SmtpLegFacts& facts) const {
  return settings_.passes_legs_on && !settings_.is_submission && login_ == nullptr &&
         facts.client_address == conf::ClientAddress::kNone;
}

void SmtpRelay::OnLegPicked(LegId leg, const SmtpLegFacts& facts, MonoTime now) {
  now_ = now;
  if (leg != leg_.id) return;
  BuildLadder(facts);
  leg_.phase = Phase::kConnect;
  leg_.deadline = now_ + settings_.timeouts.connect;
  FinishCall();
}

// What another client's messages have left there is cleared by RSET; the name of this one is said
// where that one's was another.
void SmtpRelay::OnLegTaken(LegId leg, const SmtpLegFacts& facts, const SmtpIdleLeg& idle,
                           MonoTime now) {
  now_ = now;
  if (leg != leg_.id) return;
  POSTERN_DCHECK(MayShare(facts));
  BuildLadder(facts);
  leg_.is_dirty = leg_.is_reused = true;
  leg_.num_transactions = idle.num_transactions;
  if (idle.hello == hello_) {
    leg_.ladder.reset();
    leg_.state = Leg::State::kReady;
    leg_.phase = Phase::kCommand;
    leg_.extensions = idle.extensions;
    ++leg_.num_transactions;
    PumpEnvelope();
  } else {
    leg_.phase = Phase::kHello;
    leg_.deadline = now_ + settings_.timeouts.greeting;
    RunLadder(leg_.ladder->OnReused(back_output_));
  }
  FinishCall();
}

void SmtpRelay::BuildLadder(const SmtpLegFacts& facts) {
  SmtpBackSettings settings;
  settings.tls = facts.tls;
  settings.is_lmtp = facts.is_lmtp;
  settings.client_address = facts.client_address;
  settings.own_name = settings_.hostname;
  settings.client_name = hello_;
  settings.is_esmtp = is_esmtp_;
  settings.client = client_.address;
  settings.local = client_.local;
  settings.limits = {settings_.limits.reply_lines, settings_.limits.reply_line};
  if (login_ != nullptr) {
    settings.login_user = facts.login_user;
    settings.vouches = is_logged_in_ && facts.reauth == conf::Reauth::kXclientLogin;
    if (!settings.vouches) settings.login = login_.get();
  }
  leg_.state = Leg::State::kLadder;
  leg_.facts = facts;
  leg_.facts.login_user = {};
  leg_.hello = hello_;
  leg_.is_esmtp = is_esmtp_;
  leg_.reader = SmtpReplyReader(settings.limits);
  leg_.ladder = std::make_unique<SmtpBack>(std::move(settings));
  leg_.phase_began = now_;
}

// --- the ladder -------------------------------------------------------------------------------

void SmtpRelay::OnLegConnected(LegId leg, MonoTime now) {
  now_ = now;
  if (leg != leg_.id || leg_.state != Leg::State::kLadder) return;
  leg_.deadline = now_ + settings_.timeouts.greeting;
  RunLadder(leg_.ladder->OnConnected(back_output_));
  FinishCall();
}

void SmtpRelay::OnLegTls(LegId leg, MonoTime now) {
  now_ = now;
  if (leg != leg_.id || leg_.state != Leg::State::kLadder) return;
  RunLadder(leg_.ladder->OnTls(back_output_));
  FinishCall();
}

void SmtpRelay::RunLadder(SmtpBack::Step step) {
  NotePhase(leg_.ladder->phase());
  if (leg_.ladder->is_authenticating()) has_secret_output_ = true;
  switch (step.event) {
    case SmtpBack::Event::kWait:
      break;
    case SmtpBack::Event::kStartTls:
      actions_.emplace_back(StartTlsOn{base::Side::kBack, leg_.id});
      break;
    case SmtpBack::Event::kNeedName:
      if (peer_name_) return RunLadder(leg_.ladder->OnPeerName(*peer_name_, back_output_));
      leg_.name_wanted = now_;
      leg_.name_deadline = now_ + kNameWait;
      break;
    case SmtpBack::Event::kReady:
      return OnLadderReady();
    case SmtpBack::Event::kFailed:
      return OnLegFault(leg_.ladder->fault());
  }
}

void SmtpRelay::NotePhase(Phase next) {
  if (next == leg_.phase) return;
  const base::Duration took = now_ - leg_.phase_began;
  double& sum = phases_ms_[static_cast<size_t>(leg_.phase)];
  sum = std::max(sum, 0.0) + base::Seconds(took) * 1000;
  reports_.OnPhase(leg_.id, leg_.phase, took);
  leg_.phase = next;
  leg_.phase_began = now_;
  if (next == Phase::kLogin) leg_.deadline = now_ + settings_.timeouts.auth;
}

void SmtpRelay::OnLadderReady() {
  leg_.extensions = leg_.ladder->extensions();
  leg_.knows_client = leg_.ladder->knows_client();
  reports_.OnLegReady(leg_.id, leg_.ladder->ehlo_lines());
  leg_.ladder.reset();
  leg_.state = Leg::State::kReady;
  leg_.deadline = kNever;
  if (work_ == Work::kLogin) {
    LoginOk();
    LetGoOfLeg();
  } else {
    ++leg_.num_transactions;
    PumpEnvelope();
  }
}

bool SmtpRelay::CoversTransaction(const SmtpExtensions& extensions) const {
  if (mail_.has_size && extensions.max_size != 0 && mail_.size > extensions.max_size) return false;
  return TakesText(extensions) && (!mail_.uses_dsn || extensions.dsn);
}

// Can its text and addresses go there as they are?
bool SmtpRelay::TakesText(const SmtpExtensions& extensions) const {
  if (mail_.body == SmtpBody::k8BitMime && !extensions.eight_bit_mime) return false;
  if (mail_.body == SmtpBody::kBinaryMime && !(extensions.binary_mime && extensions.takes_chunks()))
    return false;
  return !mail_.is_utf8 || extensions.smtp_utf8;
}

// --- replies ----------------------------------------------------------------------------------

size_t SmtpRelay::OnBack(LegId leg, ByteView input, MonoTime now) {
  now_ = now;
  size_t consumed = 0;
  // So many replies may be in the input: those to commands that had been sent before it came.
  uint64_t num_due = 0;
  if (leg == leg_.id && !leg_.is_early)
    for (const Expected& expected : leg_.expected) num_due += 1 + expected.num_more;
  while (!is_over() && leg == leg_.id) {
    const ByteView rest = input.substr(consumed);
    if (leg_.state == Leg::State::kLadder) {
      const SmtpBack::Step step = leg_.ladder->Next(rest, back_output_);
      consumed += step.consumed;
      if (step.consumed == 0 && step.event == SmtpBack::Event::kWait) break;
      RunLadder(step);
      continue;
    }
    if (leg_.state != Leg::State::kReady) break;
    if (num_due == 0 && !leg_.expected.empty() && !rest.empty()) {
      OnLegFault(FaultNow(FaultKind::kProtocol, "a reply before its command"));
      break;
    }
    const SmtpReplyReader::Result result = leg_.reader.Next(rest);
    if (result.status == SmtpReplyReader::Status::kNeedBytes) break;
    if (result.status == SmtpReplyReader::Status::kBad) {
      OnLegFault(FaultNow(FaultKind::kProtocol, "what it says is no SMTP reply"));
      break;
    }
    consumed += result.consumed;
    num_due -= std::min<uint64_t>(num_due, 1);
    TakeReply(result.reply);
  }
  if (leg == leg_.id) leg_.is_early = num_due == 0 && consumed < input.size();
  FinishCall();
  return consumed;
}

void SmtpRelay::TakeReply(const SmtpReply& reply) {
  if (leg_.expected.empty()) {
    if (leg_.is_idle) return CloseLeg(DropLeg::How::kAtOnce);  // its goodbye
    if (leg_.is_data_open) return OnEarlyReply(reply);
    return OnLegFault(FaultNow(reply.is_goodbye() ? FaultKind::kTempfail : FaultKind::kProtocol,
                               "unasked: " + OneLine(reply.lines)));
  }
  const Expected expected = leg_.expected.front();
  const bool is_in_text = expected.what == Expect::kChunk || expected.what == Expect::kEnd;
  if (reply.is_goodbye() && !is_in_text) {
    if (leg_.is_idle) return CloseLeg(DropLeg::How::kAtOnce);
    // A word on the client is said to the client, if the backend knows who that is.
    if (leg_.knows_client && reply.HasSubject('7') && expected.transaction == mail_.number) {
      const std::string verdict = WithCode(reply.lines, 451);
      CloseLeg(DropLeg::How::kAtOnce);
      return GiveUp(verdict);
    }
    return OnLegFault(FaultNow(FaultKind::kTempfail, OneLine(reply.lines)));
  }
  if (reply.code >= 400) leg_.has_refused = true;
  if (expected.num_more > 0) {
    --leg_.expected.front().num_more;
  } else {
    leg_.expected.erase(leg_.expected.begin());
  }
  ArmLeg();
  if (expected.what == Expect::kRset) {
    if (reply.code != 250)
      OnLegFault(FaultNow(FaultKind::kProtocol, "RSET: " + OneLine(reply.lines)));
  } else if (expected.transaction != mail_.number || leg_.is_idle) {
    return;  // of a transaction that was given up, though its text may still be read
  } else {
    const base::Duration took = now_ - expected.sent;
    switch (expected.what) {
      case Expect::kMail:
        OnMailReply(reply, took);
        break;
      case Expect::kRcpt:
        OnRcptReply(reply, expected);
        break;
      case Expect::kData:
        OnDataReply(reply, took);
        break;
      case Expect::kChunk:
        return OnChunkReply(reply);
      case Expect::kEnd:
        return OnEndReply(reply, took);
      case Expect::kRset:
        break;
    }
  }
  if (leg_.state == Leg::State::kReady) PumpEnvelope();
}

// --- deadlines --------------------------------------------------------------------------------

void SmtpRelay::ArmLeg() {
  const SmtpTimeouts& timeouts = settings_.timeouts;
  if (leg_.expected.empty()) {
    leg_.deadline = leg_.is_idle && !stays_ ? now_ + timeouts.leg_idle : kNever;
    return;
  }
  switch (leg_.expected.front().what) {
    case Expect::kRset:
    case Expect::kMail:
    case Expect::kRcpt:
      leg_.deadline = now_ + timeouts.reply;
      break;
    case Expect::kData:
      leg_.deadline = now_ + timeouts.data_start;
      break;
    case Expect::kChunk:
      leg_.deadline = now_ + timeouts.data_block;
      break;
    case Expect::kEnd:
      leg_.deadline = now_ + timeouts.data_done;
      break;
  }
}

void SmtpRelay::OnLegDeadline() {
  leg_.deadline = kNever;
  if (leg_.is_idle) return CloseLeg(DropLeg::How::kGently);
  OnLegFault(FaultNow(FaultKind::kTimeout, "no answer in time"));
}

void SmtpRelay::OnLegUnsent(LegId leg, size_t unsent_bytes, MonoTime now) {
  now_ = now;
  if (leg != leg_.id || !leg_.is_data_open) return;
  const size_t before = leg_.unsent_bytes;
  leg_.unsent_bytes = unsent_bytes;
  if (mail_.stage != Stage::kText && mail_.stage != Stage::kEnding) return;
  if (unsent_bytes > 0) {
    if (leg_.deadline == kNever || unsent_bytes < before)
      leg_.deadline = now_ + settings_.timeouts.data_block;
  } else if (leg_.is_replaying) {
    leg_.deadline = kNever;
    dotted_.clear();
    PumpReplay();
  } else if (!leg_.expected.empty()) {
    if (leg_.deadline == kNever) ArmLeg();  // chunks are not answered yet
  } else {
    leg_.deadline = kNever;
    if (mail_.stage == Stage::kEnding) HandOver();
  }
  FinishCall();
}

// --- ends -------------------------------------------------------------------------------------

// Of what the backend owes an answer to.
Phase SmtpRelay::ReplyPhase() const {
  if (leg_.expected.empty()) return leg_.is_data_open ? Phase::kData : Phase::kMail;
  switch (leg_.expected.front().what) {
    case Expect::kRset:
    case Expect::kMail:
      break;
    case Expect::kRcpt:
      return Phase::kRcpt;
    case Expect::kData:
    case Expect::kChunk:
      return Phase::kData;
    case Expect::kEnd:
      return Phase::kDataReply;
  }
  return Phase::kMail;
}

SmtpLegFault SmtpRelay::FaultNow(FaultKind kind, std::string why) const {
  if (leg_.state == Leg::State::kLadder) {
    leg_.ladder->Fail(kind, std::move(why));
    return leg_.ladder->fault();
  }
  SmtpLegFault fault;
  fault.kind = kind;
  fault.why = std::move(why);
  fault.phase = ReplyPhase();
  return fault;
}

void SmtpRelay::OnLegEnd(LegId leg, FaultKind kind, std::string why, MonoTime now) {
  now_ = now;
  if (leg != leg_.id || is_over()) return;
  if (leg_.is_idle) {
    CloseLeg(DropLeg::How::kAtOnce);
  } else {
    OnLegFault(FaultNow(kind, std::move(why)));
  }
  FinishCall();
}

void SmtpRelay::LeaveLeg(std::string why, MonoTime now) {
  now_ = now;
  // One that has no second stays for as long as its connection works.
  if (leg_.id == 0 || is_over() || stays_) return;
  const bool can_move =
      work_ == Work::kLogin || (work_ == Work::kTransaction && CanMoveText() &&
                                !(leg_.is_mail_sent && mail_.moves == settings_.retries));
  if (leg_.is_idle) {
    CloseLeg(DropLeg::How::kGently);
  } else if (can_move) {
    OnLegFault(FaultNow(FaultKind::kLost, std::move(why)));
  }
  FinishCall();
}

std::optional<SmtpRelay::Outstanding> SmtpRelay::outstanding() const {
  switch (leg_.state) {
    case Leg::State::kNone:
    case Leg::State::kPicking:
      break;
    case Leg::State::kLadder:
      if (leg_.name_deadline != kNever) break;  // it waits for us
      return Outstanding{leg_.phase, leg_.phase_began, !leg_.ladder->has_client_bytes()};
    case Leg::State::kReady:
      if (leg_.expected.empty()) break;
      return Outstanding{ReplyPhase(), leg_.expected.front().sent, false};
  }
  return std::nullopt;
}

void SmtpRelay::OnLegFault(SmtpLegFault fault) {
  const EndpointRef endpoint = leg_.facts.endpoint;
  const Work work = leg_.is_idle ? Work::kNone : work_;
  // One that served before and has died since says nothing about its backend: it is replaced.
  const bool was_stale = leg_.is_reused && fault.meaning == SmtpLegFault::Meaning::kFault;
  const bool was_envelope_sent = leg_.is_mail_sent;
  const bool is_login_refused =
      fault.meaning == SmtpLegFault::Meaning::kRefusal && work == Work::kLogin;
  if (!was_stale && !is_login_refused) reports_.OnLegFault(leg_.id, fault);
  CloseLeg(fault.kind == FaultKind::kTempfail ? DropLeg::How::kGently : DropLeg::How::kAtOnce);
  switch (work) {
    case Work::kNone:
      break;
    case Work::kLogin:
      OnLoginFault(std::move(fault), endpoint);
      break;
    case Work::kTransaction:
      MoveTransaction(fault, was_stale ? nullptr : endpoint, was_envelope_sent);
      break;
  }
}

// endpoint: not to be tried again; null: the leg was stale, and its move does not count.
void SmtpRelay::MoveTransaction(const SmtpLegFault& fault, EndpointRef endpoint,
                                bool was_envelope_sent) {
  if (mail_.stage == Stage::kHandedOver) {
    return EndText(Line(SmtpText::kBackendLost),
                   {base::SessionResult::kBackendLost, base::Side::kBack, fault.phase, fault.why});
  }
  if (mail_.num_waiting == 0 && (mail_.num_accepted == 0 || mail_.is_broken))
    return SettleVerdicts();  // nobody is left to be moved
  if (fault.meaning == SmtpLegFault::Meaning::kVerdict) return GiveUp(fault.reply);
  if (stays_) return GiveUp(Line(SmtpText::kNobodyThere));
  if (!CanMoveText()) return GiveUp(Line(SmtpText::kBackendLost));
  if (endpoint != nullptr) {
    tried_.push_back(endpoint);
    if (was_envelope_sent) {
      if (mail_.moves == settings_.retries) return GiveUp(Line(SmtpText::kNobodyThere));
      ++mail_.moves;
      search_began_ = now_;
      reports_.OnMoved(SmtpReports::Moved::kAfterEnvelope, fault.kind);
    } else {
      // Nothing of the message is in danger of going round, but the client's patience has an end.
      if (now_ - search_began_ > settings_.timeouts.reply)
        return GiveUp(Line(SmtpText::kNobodyThere));
      reports_.OnMoved(SmtpReports::Moved::kBeforeEnvelope, fault.kind);
    }
  }
  ForgetVerdicts();
  if (mail_.stage == Stage::kText) wait_ = Wait::kLeg;
  if (mail_.stage == Stage::kEnding) wait_ = Wait::kDataEnd;
  OpenAnother();
}

// Another backend will be asked about all to whom no refusal was told.
void SmtpRelay::ForgetVerdicts() {
  for (Recipient& recipient : mail_.recipients)
    if (recipient.state != Recipient::State::kRefused || recipient.is_told)
      recipient.state = Recipient::State::kNew;
}

// Is a command understood there now? Not before the greeting (that is what early talkers do),
// within a login, or within a text.
bool SmtpRelay::MaySayQuit() const {
  if (leg_.state == Leg::State::kReady) return !leg_.is_data_open && !leg_.is_data_sent;
  return leg_.state == Leg::State::kLadder && !leg_.ladder->is_authenticating() &&
         (leg_.phase == Phase::kHello || leg_.phase == Phase::kLogin);
}

void SmtpRelay::CloseLeg(DropLeg::How how) {
  if (leg_.id == 0) return;
  if (!MaySayQuit() && mail_.stage != Stage::kHandedOver) how = DropLeg::How::kAtOnce;
  if (how == DropLeg::How::kGently) back_output_ += kSmtpQuit;
  // Nobody will read what was still to be written there; the journal may be gone by then.
  for (SmtpAction& action : actions_)
    if (auto* const text = std::get_if<ToBack>(&action)) text->bytes = {};
  actions_.emplace_back(DropLeg{leg_.id, how});
  leg_ = {};
}

// The session is over: another client may have the leg that nothing is known to hang on.
void SmtpRelay::PassLegOn() {
  const bool is_clean = leg_.state == Leg::State::kReady && leg_.is_idle && leg_.expected.empty() &&
                        !leg_.is_early && !leg_.has_refused;
  if (!is_clean || !MayShare(leg_.facts) || leg_.deadline <= now_)
    return CloseLeg(DropLeg::How::kGently);
  auto idle = std::make_unique<SmtpIdleLeg>();
  idle->extensions = leg_.extensions;
  idle->hello = std::move(leg_.hello);
  idle->num_transactions = leg_.num_transactions;
  idle->idle_until = leg_.deadline;
  actions_.emplace_back(DropLeg{leg_.id, DropLeg::How::kAtOnce, std::move(idle)});
  leg_ = {};
}

// The work on it is done: it waits for the same client's next transaction, if it can serve one.
void SmtpRelay::LetGoOfLeg() {
  if (leg_.id == 0 || leg_.is_idle) return;
  const bool may_wait = stays_ || (leg_.num_transactions < settings_.leg_transactions &&
                                   settings_.timeouts.leg_idle > base::Duration::zero());
  const bool can_serve =
      leg_.state == Leg::State::kReady && !leg_.is_data_open && !leg_.is_data_sent && may_wait;
  if (!can_serve) return CloseLeg(DropLeg::How::kGently);
  if (leg_.is_mail_sent) leg_.is_dirty = true;
  leg_.is_idle = true;
  leg_.is_reused = false;
  reports_.OnLegIdle(leg_.id);
  ArmLeg();
}

}  // namespace postern::proto
