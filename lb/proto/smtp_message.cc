// smtp_message: the text: read, passed on, kept for a move, ended, handed over.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "lb/proto/smtp_relay.h"

namespace postern::proto {

using base::ByteView;
using base::FaultKind;
using base::Phase;

namespace {
// The data timeout is renewed by this much of message.
constexpr uint64_t kClockBytes = 4096;
}  // namespace

void SmtpRelay::CountForClock(size_t num_bytes) {
  clock_bytes_ += num_bytes;
  if (clock_bytes_ >= kClockBytes) must_restart_clock_ = true;
}

size_t SmtpRelay::ReadText(ByteView input) {
  if (!MayRead(input.size())) return 0;
  made_text_.clear();
  ByteView text;  // of this read: one slice, or made_text_
  size_t consumed = 0;
  bool is_end = false;
  while (!is_end) {
    const SmtpDataScanner::Step step = scanner_.Next(input.substr(consumed));
    consumed += step.consumed;
    is_end = step.is_end;
    if (step.consumed == 0 && step.piece.empty()) break;
    if (step.piece.empty() || mail_.stage == Stage::kDiscarded) continue;
    if (text.empty()) {
      text = step.piece;
      continue;
    }
    if (made_text_.empty()) made_text_ = text;
    made_text_ += step.piece;
    text = made_text_;
  }
  CountForClock(consumed);
  if (mail_.stage == Stage::kText) PassOn(text, scanner_.has_bare_newline());
  if (is_end) OnEndOfText();
  return consumed;
}

// Text of one read; is there a newline that stands alone in all of the message so far?
void SmtpRelay::PassOn(ByteView text, bool has_bare_newline) {
  if (has_bare_newline && !mail_.has_counted_newline) {
    mail_.has_counted_newline = true;
    reports_.OnBareNewline();
  }
  if (has_bare_newline && settings_.bare_newline == conf::BareNewline::kReject)
    return Discard(Line(SmtpText::kBareNewline));
  if (text.size() > MessageLimit() - mail_.text_bytes)
    return Discard(Line(SmtpText::kMessageTooLarge));
  if (text.empty()) return;
  mail_.text_bytes += text.size();
  Keep(text);
  if (mail_.is_uncommitted) return;
  if (leg_.is_chunking) SayChunk(text.size());
  SendText(text);
}

// To the backend, as it takes it.
void SmtpRelay::SendText(ByteView text) {
  if (mail_.is_chunked && !leg_.is_chunking) {
    std::string dotted;
    text = leg_.stuffer.Take(text, dotted);
    if (!dotted.empty()) text = dotted_.emplace_back(std::move(dotted));
  }
  actions_.emplace_back(ToBack{text});
}

void SmtpRelay::OnEndOfText() {
  front_ = Front::kCommand;
  ++num_commands_;
  if (mail_.stage == Stage::kDiscarded) {
    const std::string reply = std::move(mail_.discard_reply);
    return EndText(reply, {base::SessionResult::kClientQuit, base::Side::kNone, Phase::kData, ""});
  }
  EndOfText();
}

// All of it was read, by DATA or in chunks.
void SmtpRelay::EndOfText() {
  mail_.stage = Stage::kEnding;
  wait_ = Wait::kDataEnd;  // OnLegUnsent hands over when the socket has taken everything
  if (mail_.is_uncommitted) Commit();
}

void SmtpRelay::HandOver() {
  // From here on the outcome is the backend's: nothing is replayed any more.
  mail_.stage = Stage::kHandedOver;
  ForgetJournal();
  if (leg_.is_chunking) {
    back_output_ += "BDAT 0 LAST\r\n";
  } else {
    // The dot stands on a line of its own, whatever the last octet of chunks was.
    if (!leg_.stuffer.is_at_line_start()) back_output_ += "\r\n";
    back_output_ += ".\r\n";
  }
  const size_t num_replies = leg_.facts.is_lmtp ? mail_.num_accepted : 1;
  leg_.expected.push_back({Expect::kEnd, mail_.number, 0, now_, num_replies - 1});
  ArmLeg();
}

// The text will not be delivered; it is read to its end, and then answered with this.
void SmtpRelay::Discard(ByteView reply) {
  std::string line(reply);
  LetGoOfLeg();
  ForgetJournal();
  if (mail_.stage == Stage::kEnding) {
    return EndText(line, {base::SessionResult::kClientQuit, base::Side::kNone, Phase::kData, ""});
  }
  mail_.stage = Stage::kDiscarded;
  mail_.discard_reply = std::move(line);
  wait_ = Wait::kNothing;
}

// The backend takes text from here on.
void SmtpRelay::OpenText() {
  if (mail_.stage != Stage::kDataAsked) return Replay();
  mail_.stage = Stage::kText;
  wait_ = Wait::kNothing;
}

// It speaks before the text has ended.
void SmtpRelay::OnEarlyReply(const SmtpReply& reply) {
  const bool is_policy = reply.HasSubject('7') && leg_.knows_client;
  if (reply.is_5yz() || (reply.is_4yz() && (!reply.is_goodbye() || is_policy)))
    return Discard(reply.is_goodbye() ? WithCode(reply.lines, 451) : std::string(reply.lines));
  OnLegFault(FaultNow(reply.is_goodbye() ? FaultKind::kTempfail : FaultKind::kProtocol,
                      "within the text: " + OneLine(reply.lines)));
}

void SmtpRelay::OnEndReply(const SmtpReply& reply, base::Duration took) {
  if (!reply.is_ok() && !reply.is_4yz() && !reply.is_5yz()) {
    SmtpLegFault fault = FaultNow(FaultKind::kProtocol, "end of data: " + OneLine(reply.lines));
    fault.phase = Phase::kDataReply;
    return OnLegFault(std::move(fault));
  }
  const std::string line =
      reply.is_goodbye() ? WithCode(reply.lines, 451) : std::string(reply.lines);
  // One of several of an LMTP backend: this recipient's.
  const bool has_more = !leg_.expected.empty();
  if (has_more) {
    SayFinal(line);
    if (!reply.is_goodbye()) return;
    CloseLeg(DropLeg::How::kAtOnce);
    return EndText(Line(SmtpText::kBackendLost),
                   {base::SessionResult::kBackendLost, base::Side::kBack, Phase::kDataReply,
                    OneLine(reply.lines)});
  }
  phases_ms_[static_cast<size_t>(Phase::kDataReply)] = base::Seconds(took) * 1000;
  reports_.OnPhase(leg_.id, Phase::kDataReply, took);
  leg_.is_data_open = leg_.is_chunking = leg_.is_mail_sent = false;
  if (reply.is_goodbye()) CloseLeg(DropLeg::How::kAtOnce);
  EndText(line, {base::SessionResult::kClientQuit, base::Side::kNone, Phase::kDataReply, ""});
}

// A reply to the text, of those that the client is due.
void SmtpRelay::SayFinal(ByteView reply) {
  NoteFinal(reply);
  Say(reply);
}

// It is the next accepted recipient's.
void SmtpRelay::NoteFinal(ByteView reply) {
  ++mail_.num_final;
  size_t& next = mail_.next_final;
  while (next < mail_.recipients.size() && !mail_.recipients[next].is_told) ++next;
  if (reply[0] != '2') {
    if (mail_.bad_final.empty()) mail_.bad_final = reply;
    if (next < mail_.recipients.size()) mail_.refused.push_back(mail_.recipients[next].address);
  }
  ++next;
}

// RFC 2033 4.2 and 4.3: to an LMTP client, a text, or its last chunk, is answered once for each
// recipient that was accepted.
size_t SmtpRelay::NumFinal() const {
  const bool is_text = !mail_.is_chunked || chunk_.is_last;
  return is_text ? std::max<size_t>(mail_.num_accepted, 1) : 1;
}

// reply: what all hear who have heard nothing yet.
void SmtpRelay::EndText(ByteView reply, base::EndCause cause) {
  if (!settings_.is_lmtp) {
    Say(reply);
  } else {
    while (mail_.num_final < NumFinal()) SayFinal(reply);
    while (mail_.num_final < mail_.num_accepted) NoteFinal(reply);  // of a chunk: one for all
  }
  wait_ = Wait::kNothing;
  const std::string told = mail_.bad_final.empty() ? std::string(reply) : mail_.bad_final;
  EndTransaction(told, std::move(cause));
}

}  // namespace postern::proto
