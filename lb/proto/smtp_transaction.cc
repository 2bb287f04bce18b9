// smtp_transaction: the envelope: recipients find their home, go to the backend, and get answers.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "lb/proto/smtp_relay.h"

namespace postern::proto {

using base::ByteView;
using base::FaultKind;
using base::Phase;

// --- where a recipient goes --------------------------------------------------------------------

void SmtpRelay::OnRecipientRoute(const RouteAnswer& answer) {
  const auto words = [&answer](SmtpText own) {
    return answer.text.empty() ? std::string(Line(own)) : std::string(answer.text) + "\r\n";
  };
  switch (answer.kind) {
    case RouteAnswer::Kind::kHome:
      recipient_way_ = answer;
      recipient_way_.text = {};
      return PlaceRecipient();
    case RouteAnswer::Kind::kReject:
    case RouteAnswer::Kind::kRefused:
      return RefuseRecipient(words(SmtpText::kRejected), SmtpReports::Recipient::kRejected);
    case RouteAnswer::Kind::kTempFail:
    case RouteAnswer::Kind::kBlocked:
      return RefuseRecipient(words(SmtpText::kRouteTempFail), SmtpReports::Recipient::kRejected);
    case RouteAnswer::Kind::kUnknown:
      return RefuseRecipient(Line(SmtpText::kUnknownUser), SmtpReports::Recipient::kRejected);
  }
}

void SmtpRelay::RefuseRecipient(ByteView reply, SmtpReports::Recipient result) {
  mail_.last_refusal = reply;
  reports_.OnRecipient(result);
  reports_.OnCommand(SmtpVerb::kRcpt, now_ - recipient_.asked);
  Say(reply);
}

// The first accepted recipient's home is the transaction's, and its rule says what becomes of one
// who lives elsewhere: where no endpoint can take all, the whole goes to a pool that can, or that
// one comes in another transaction. So does a second one for an LMTP endpoint, of whatever home.
void SmtpRelay::PlaceRecipient() {
  if (work_ != Work::kTransaction) {
    work_ = Work::kTransaction;
    return BeginAtItsHome(recipient_way_.is_idle_leg_good);
  }
  const bool is_relayed = mail_.relay.home != nullptr && homes_.front() == mail_.relay;
  const HomeRef home = is_relayed && mail_.refusal.empty() ? mail_.relay : recipient_way_.home;
  const bool is_member =
      !mail_.is_uncommitted && leg_.facts.endpoint != nullptr && home.Contains(leg_.facts.endpoint);
  const bool is_known = std::find(homes_.begin(), homes_.end(), home) != homes_.end();
  const bool has_others = mail_.num_waiting > 0 || mail_.num_accepted > 0;
  const bool is_lmtp =
      mail_.is_uncommitted ? !is_relayed && !recipient_way_.takes_several : leg_.facts.is_lmtp;
  const bool is_full = has_others && (settings_.is_lmtp ? recipient_way_.takes_one : is_lmtp);
  // Whom nobody was accepted with looks for a member of its own, whoever was refused where.
  const bool is_held_alone = recipient_way_.takes_one && !has_others;
  if ((is_known || is_member) && !is_full && !is_held_alone) {
    if (!mail_.refusal.empty())
      return RefuseRecipient(std::string(mail_.refusal), SmtpReports::Recipient::kRejected);
    if (!is_known) homes_.push_back(home);  // from here on only members of both will do
    AddRecipient();
    // The last one went when there was nobody to move.
    if (leg_.id == 0 && !mail_.is_uncommitted) return OpenAnother();
    return PumpEnvelope();
  }
  if (!has_others && !mail_.is_broken) {
    // Nobody was accepted at the home tried so far: this one's may have the transaction.
    mail_.refusal.clear();
    mail_.recipients.clear();
    return BeginAtItsHome(false);
  }
  if (!mail_.is_broken && recipient_way_.has_common) {
    if (!is_known) homes_.push_back(home);
    return Gather();
  }
  if (!mail_.is_broken && !is_known && mail_.relay.home != nullptr) {
    homes_.assign(1, mail_.relay);
    return Gather();
  }
  if (mail_.num_waiting > 0) {
    has_held_recipient_ = true;
    wait_ = Wait::kVerdicts;
    return;
  }
  RefuseRecipient(Line(SmtpText::kOtherHome), SmtpReports::Recipient::kDeferred);
}

void SmtpRelay::BeginAtItsHome(bool is_idle_leg_good) {
  homes_.assign(1, recipient_way_.home);
  mail_.relay = recipient_way_.relay;
  tried_.clear();
  search_began_ = now_;
  mail_.is_idle_leg_good = is_idle_leg_good;
  AddRecipient();
  if (!mail_.is_uncommitted) ChooseLeg(is_idle_leg_good);
}

// The transaction goes, with one recipient more, to an endpoint of the homes as they are now: the
// envelope is said again there. Nobody has failed, so it is no move that smtp.retries counts; who
// has failed before is not tried again.
void SmtpRelay::Gather() {
  AddRecipient();
  if (mail_.is_uncommitted || IsLegAtHome()) return PumpEnvelope();
  CloseLeg(DropLeg::How::kGently);
  search_began_ = now_;
  ForgetVerdicts();
  OpenAnother();
}

// The session has one leg and no second: nothing is asked about, and nobody else can take it.
void SmtpRelay::PlaceWhereItStays() {
  if (leg_.id == 0 || !mail_.refusal.empty()) {
    const std::string reply(mail_.refusal.empty() ? Line(SmtpText::kNobodyThere)
                                                  : ByteView(mail_.refusal));
    return RefuseRecipient(reply, SmtpReports::Recipient::kRejected);
  }
  AddRecipient();
  if (work_ == Work::kTransaction) return PumpEnvelope();
  work_ = Work::kTransaction;
  homes_.clear();
  if (!mail_.is_uncommitted) ReuseLeg();
}

void SmtpRelay::AddRecipient() {
  recipient_.ticket = replies_.Expect();
  if (!recipient_.parameters.empty()) mail_.uses_dsn = true;
  mail_.recipients.push_back(std::move(recipient_));
  ++mail_.num_waiting;
  if (mail_.is_uncommitted)
    AnswerRecipient(mail_.recipients.back(), Line(SmtpText::kRecipientOk), true);
}

// --- to the backend ----------------------------------------------------------------------------

// Sends all of the envelope that may go out now: at once where the backend pipelines, else one
// command a reply.
void SmtpRelay::PumpEnvelope() {
  if (leg_.state != Leg::State::kReady || leg_.is_idle || leg_.is_mail_refused ||
      leg_.is_data_sent || leg_.is_data_open || work_ != Work::kTransaction)
    return;
  if (!CoversTransaction(leg_.extensions)) {
    if (!TakesText(leg_.extensions)) mail_.lacking.push_back(leg_.facts.endpoint);
    SmtpLegFault fault = FaultNow(FaultKind::kProtocol, "lacks an extension that was announced");
    fault.phase = Phase::kHello;
    return OnLegFault(std::move(fault));
  }
  const auto may_send = [this] { return leg_.extensions.pipelining || leg_.expected.empty(); };
  const bool was_waiting = !leg_.expected.empty();
  if (!leg_.is_mail_sent && may_send()) {
    if (leg_.is_dirty) {
      leg_.is_dirty = false;
      back_output_ += "RSET\r\n";
      leg_.expected.push_back({Expect::kRset, mail_.number, 0, now_});
    }
    if (may_send()) SendMail();
  }
  while (leg_.is_mail_sent && leg_.next_recipient < mail_.recipients.size()) {
    const size_t index = leg_.next_recipient;
    if (mail_.recipients[index].state == Recipient::State::kNew) {
      if (!may_send()) break;
      SendRecipient(index);
    }
    ++leg_.next_recipient;
  }
  if (leg_.next_recipient == mail_.recipients.size() && may_send() && CanAskData()) SendData();
  if (!was_waiting && !leg_.expected.empty()) ArmLeg();
}

void SmtpRelay::SendMail() {
  const SmtpExtensions& extensions = leg_.extensions;
  back_output_.append("MAIL FROM:<").append(mail_.from).append(">");
  if (mail_.has_size && extensions.size)
    back_output_.append(" SIZE=").append(std::to_string(mail_.size));
  if (mail_.body == SmtpBody::kBinaryMime) back_output_ += " BODY=BINARYMIME";
  if (mail_.body == SmtpBody::k8BitMime) back_output_ += " BODY=8BITMIME";
  if (mail_.body == SmtpBody::k7Bit && extensions.eight_bit_mime) back_output_ += " BODY=7BIT";
  if (mail_.is_utf8) back_output_ += " SMTPUTF8";
  back_output_ += mail_.parameters;
  if (!mail_.auth.empty() && extensions.auth) back_output_.append(" ").append(mail_.auth);
  back_output_ += "\r\n";
  leg_.is_mail_sent = true;
  leg_.expected.push_back({Expect::kMail, mail_.number, 0, now_});
}

void SmtpRelay::SendRecipient(size_t index) {
  Recipient& recipient = mail_.recipients[index];
  recipient.state = Recipient::State::kSent;
  back_output_.append("RCPT TO:<").append(recipient.address).append(">");
  back_output_.append(recipient.parameters).append("\r\n");
  leg_.expected.push_back({Expect::kRcpt, mail_.number, index, now_});
}

void SmtpRelay::SendData() {
  leg_.stuffer = {};
  if (mail_.is_chunked && leg_.extensions.takes_chunks()) {
    leg_.is_data_open = leg_.is_chunking = true;
    return OpenText();
  }
  back_output_ += "DATA\r\n";
  leg_.is_data_sent = true;
  leg_.expected.push_back({Expect::kData, mail_.number, 0, now_});
}

// DATA may follow the recipients in one packet. Not while the client holds a 250 for a recipient
// that this backend has not accepted yet: then the text must not go anywhere.
bool SmtpRelay::CanAskData() const {
  if (mail_.is_broken || (mail_.stage != Stage::kDataAsked && mail_.stage != Stage::kText &&
                          mail_.stage != Stage::kEnding))
    return false;
  if (has_held_recipient_) return false;
  bool has_one = false;
  for (const Recipient& recipient : mail_.recipients) {
    if (recipient.is_told && recipient.state != Recipient::State::kAccepted) return false;
    if (recipient.state == Recipient::State::kRefused) continue;
    has_one = true;
  }
  return has_one;
}

// --- and its answers ---------------------------------------------------------------------------

void SmtpRelay::OnMailReply(const SmtpReply& reply, base::Duration took) {
  if (reply.is_ok()) {
    leg_.is_reused = false;
    phases_ms_[static_cast<size_t>(Phase::kMail)] = base::Seconds(took) * 1000;
    reports_.OnPhase(leg_.id, Phase::kMail, took);
    return;
  }
  if (!reply.is_4yz() && !reply.is_5yz())
    return OnLegFault(FaultNow(FaultKind::kProtocol, "MAIL: " + OneLine(reply.lines)));
  if (reply.is_4yz() && reply.HasSubject('3')) {
    SmtpLegFault fault = FaultNow(FaultKind::kTempfail, OneLine(reply.lines));
    fault.phase = Phase::kMail;
    return OnLegFault(std::move(fault));
  }
  // MAIL itself was answered long ago: its refusal answers each recipient.
  leg_.is_reused = false;
  leg_.is_mail_refused = true;
  GiveUp(reply.lines);
}

void SmtpRelay::OnRcptReply(const SmtpReply& reply, const Expected& expected) {
  Recipient& recipient = mail_.recipients[expected.recipient];
  if (recipient.state != Recipient::State::kSent) return;  // answered by the refusal of MAIL
  if (!reply.is_ok() && !reply.is_4yz() && !reply.is_5yz()) {
    SmtpLegFault fault = FaultNow(FaultKind::kProtocol, "RCPT: " + OneLine(reply.lines));
    fault.phase = Phase::kRcpt;
    return OnLegFault(std::move(fault));
  }
  if (reply.is_ok()) {
    const base::Duration took = now_ - expected.sent;
    phases_ms_[static_cast<size_t>(Phase::kRcpt)] = base::Seconds(took) * 1000;
    reports_.OnPhase(leg_.id, Phase::kRcpt, took);
  }
  recipient.state = reply.is_ok() ? Recipient::State::kAccepted : Recipient::State::kRefused;
  if (!recipient.is_told) {
    AnswerRecipient(recipient, reply.lines, reply.is_ok());
  } else if (JudgesLate()) {
    return OnLateVerdict(recipient, reply);
  } else if (!reply.is_ok()) {
    // The client was told that it is accepted: without it the message must not go anywhere.
    CloseLeg(DropLeg::How::kGently);
    return GiveUp(Line(SmtpText::kBackendLost));
  }
  SettleVerdicts();
}

void SmtpRelay::AnswerRecipient(Recipient& recipient, ByteView reply, bool is_accepted) {
  --mail_.num_waiting;
  if (is_accepted) {
    recipient.is_told = true;
    ++mail_.num_accepted;
  } else {
    recipient.state = Recipient::State::kRefused;
    mail_.last_refusal = reply;
  }
  reports_.OnRecipient(is_accepted ? SmtpReports::Recipient::kAccepted
                                   : SmtpReports::Recipient::kRejected);
  reports_.OnCommand(SmtpVerb::kRcpt, now_ - recipient.asked);
  replies_.Answer(recipient.ticket, reply);
}

void SmtpRelay::AnswerWaiting(ByteView reply) {
  if (mail_.num_waiting == 0) return;
  for (Recipient& recipient : mail_.recipients)
    if (!recipient.is_told && recipient.state != Recipient::State::kRefused)
      AnswerRecipient(recipient, reply, false);
}

// Nobody at this home will take the transaction. The leg is closed, or is done with it.
void SmtpRelay::GiveUp(ByteView reply) {
  mail_.refusal = reply;
  AnswerWaiting(mail_.refusal);
  if (mail_.num_accepted > 0) mail_.is_broken = true;
  if (mail_.stage == Stage::kText || mail_.stage == Stage::kEnding)
    return Discard(JudgesLate() ? ByteView(mail_.refusal) : Line(SmtpText::kBackendLost));
  SettleVerdicts();
}

// Called when a verdict has come: what waited for the last one goes on.
void SmtpRelay::SettleVerdicts() {
  if (mail_.num_waiting > 0) return;
  if (has_held_recipient_) {
    has_held_recipient_ = false;
    wait_ = Wait::kNothing;
    return PlaceRecipient();
  }
  if (wait_ == Wait::kVerdicts) wait_ = Wait::kNothing;
  if (mail_.stage != Stage::kDataAsked || leg_.is_data_sent) return;
  if (mail_.is_broken) return AnswerData(Line(SmtpText::kBackendLost));
  if (mail_.num_accepted == 0) return AnswerData(NoValidRecipients());
}

void SmtpRelay::OnDataReply(const SmtpReply& reply, base::Duration took) {
  leg_.is_data_sent = false;
  if (reply.code == 354) leg_.is_data_open = true;
  if (mail_.stage == Stage::kDataAsked && (mail_.is_broken || mail_.num_accepted == 0)) {
    // It was asked in one packet with recipients of whom none is left. Without a terminator
    // nothing is sent.
    if (leg_.is_data_open) CloseLeg(DropLeg::How::kAtOnce);
    return AnswerData(mail_.is_broken ? Line(SmtpText::kBackendLost) : NoValidRecipients());
  }
  if (reply.code == 354) {
    phases_ms_[static_cast<size_t>(Phase::kData)] = base::Seconds(took) * 1000;
    const bool is_answer = mail_.stage == Stage::kDataAsked && !mail_.is_chunked;
    return is_answer ? StartText(reply.lines) : OpenText();
  }
  if (!reply.is_4yz() && !reply.is_5yz()) {
    SmtpLegFault fault = FaultNow(FaultKind::kProtocol, "DATA: " + OneLine(reply.lines));
    fault.phase = Phase::kData;
    return OnLegFault(std::move(fault));
  }
  if (mail_.stage == Stage::kDataAsked) return AnswerData(reply.lines);
  Discard(reply.lines);
}

// The client's DATA is answered with this 354.
void SmtpRelay::StartText(ByteView reply) {
  OpenText();
  front_ = Front::kData;
  scanner_ = SmtpDataScanner(settings_.bare_newline == conf::BareNewline::kNormalize
                                 ? SmtpDataScanner::BareNewlines::kNormalize
                                 : SmtpDataScanner::BareNewlines::kKeep);
  reports_.OnCommand(SmtpVerb::kData, now_ - mail_.data_asked);
  replies_.Answer(mail_.data_ticket, reply);
}

// RFC 2033 4.2 wants 503.
ByteView SmtpRelay::NoValidRecipients() const {
  return Line(settings_.is_lmtp ? SmtpText::kNoneAccepted : SmtpText::kNoValidRecipients);
}

void SmtpRelay::AnswerData(ByteView reply) {
  if (mail_.is_chunked) return RefuseChunks(reply);
  reports_.OnCommand(SmtpVerb::kData, now_ - mail_.data_asked);
  replies_.Answer(mail_.data_ticket, reply);
  wait_ = Wait::kNothing;
  const std::string line(reply);
  EndTransaction(line, {base::SessionResult::kClientQuit, base::Side::kNone, Phase::kData, ""});
}

// --- its end -----------------------------------------------------------------------------------

// RSET, a new hello, STARTTLS.
void SmtpRelay::ForgetTransaction() {
  failed_chunks_.clear();
  if (mail_.stage == Stage::kNone) return;
  EndTransaction({}, {base::SessionResult::kClientQuit, base::Side::kFront, FrontPhase(),
                      "given up by the client"});
}

void SmtpRelay::EndTransaction(ByteView reply, base::EndCause cause) {
  ReportTransaction(reply, std::move(cause));
  LetGoOfLeg();
  mail_ = {};
  work_ = Work::kNone;
  has_held_recipient_ = false;
  ForgetJournal();
  must_restart_clock_ = true;
}

void SmtpRelay::ReportTransaction(ByteView reply, base::EndCause cause) {
  if (mail_.num_rcpt_commands == 0) return;  // nothing was asked of anybody
  SmtpOutcome outcome;
  outcome.number = mail_.number;
  outcome.from = mail_.from;
  for (const Recipient& recipient : mail_.recipients)
    if (recipient.is_told) outcome.to.push_back(recipient.address);
  outcome.refused = mail_.refused;
  outcome.size = mail_.text_bytes;
  if (reply.empty() && outcome.to.empty()) reply = mail_.last_refusal;
  if (reply.size() >= 3)
    outcome.code = (reply[0] - '0') * 100 + (reply[1] - '0') * 10 + (reply[2] - '0');
  outcome.reply = OneLine(reply);
  if (outcome.code / 100 == 2) outcome.queue_id = FindQueueId(reply);
  outcome.is_lost = outcome.code == 0 && cause.result != base::SessionResult::kClientQuit;
  outcome.cause = std::move(cause);
  outcome.phases_ms = phases_ms_;
  reports_.OnTransaction(outcome);
}

}  // namespace postern::proto
