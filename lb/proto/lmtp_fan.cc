// lmtp_fan: one LMTP transaction shared out among homes.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/lmtp_fan.h"

#include <algorithm>
#include <utility>

#include "lb/proto/line_reader.h"
#include "lb/proto/smtp_grammar.h"
#include "lb/proto/smtp_text.h"

namespace postern::proto {

using base::ByteView;

LmtpFan::LmtpFan(const Limits& limits, ByteView hostname, Driver& driver)
    : limits_(limits),
      driver_(driver),
      hostname_(hostname),
      scanner_(SmtpDataScanner::BareNewlines::kKeep) {
  output_.append("220 ").append(hostname_).append(" LMTP\r\n");
}

// --- the client's relay ------------------------------------------------------------------------

size_t LmtpFan::OnFront(ByteView input) {
  size_t consumed = 0;
  while (state_ == State::kCommand) {
    const ByteView rest = input.substr(consumed);
    const LineRead line = ReadLine(rest, limits_.line_bytes);
    if (line.verdict == LineVerdict::kNeedMore) return consumed;
    if (line.verdict != LineVerdict::kLine) {
      // No relay of ours says that.
      output_ += Line(SmtpText::kBadCharacter);
      return input.size();
    }
    consumed += line.size_bytes;
    RunCommand(rest.substr(0, line.size_bytes));
  }
  if (state_ == State::kText) consumed += ReadText(input.substr(consumed));
  return consumed;
}

// line: with its line end.
void LmtpFan::RunCommand(ByteView line) {
  const SmtpCommand command = ParseSmtpCommand(line.substr(0, line.size() - 2));
  switch (command.verb) {
    case SmtpVerb::kLhlo:
      Reset();
      hello_ = line;
      // All that a listener may announce; what a home lacks its own relay finds out.
      output_.append("250-").append(hostname_);
      output_ +=
          "\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n"
          "250 ENHANCEDSTATUSCODES\r\n";
      return;
    case SmtpVerb::kMail:
      return Mail(line);
    case SmtpVerb::kRcpt:
      return Rcpt(line, command.args);
    case SmtpVerb::kData:
      return Data();
    case SmtpVerb::kRset:
      Reset();
      output_ += Line(SmtpText::kResetOk);
      return;
    case SmtpVerb::kQuit:
      Reset();
      output_ += Line(SmtpText::kBye);
      return;
    default:
      output_ += Line(SmtpText::kUnknownCommand);
  }
}

void LmtpFan::Mail(ByteView line) {
  Reset();
  mail_ = line;
  output_ += Line(SmtpText::kMailOk);
}

void LmtpFan::Rcpt(ByteView line, ByteView args) {
  if (mail_.empty()) {
    output_ += Line(SmtpText::kNoMail);
    return;
  }
  Recipient& recipient = recipients_.emplace_back();
  recipient.line = line;
  recipient.home = driver_.HomeOf(ParseRcptArgs(args).address);
  Place(recipients_.size() - 1);
  SettleRecipients();
}

void LmtpFan::Data() {
  if (mail_.empty()) {
    output_ += Line(SmtpText::kNoMail);
    return;
  }
  state_ = State::kDataAsked;
  SettleRecipients();
}

// Each leg gets what came, dots and terminator included.
size_t LmtpFan::ReadText(ByteView input) {
  size_t consumed = 0;
  bool is_end = false;
  while (!is_end) {
    const SmtpDataScanner::Step step = scanner_.Next(input.substr(consumed));
    consumed += step.consumed;
    is_end = step.is_end;
    if (step.consumed == 0 && step.piece.empty()) break;
  }
  if (consumed == 0) return 0;
  for (const auto& leg : legs_)
    if (leg->takes_text) driver_.ToLeg(leg->id, input.substr(0, consumed));
  if (!is_end) return consumed;
  state_ = State::kFinals;
  is_answered_ = true;
  for (size_t i = 0; i < recipients_.size(); ++i) {
    Leg* const leg = Find(recipients_[i].leg);
    if (recipients_[i].state == Recipient::State::kAccepted && leg != nullptr && leg->takes_text)
      leg->expected.push_back({Expect::kFinal, transaction_, i});
  }
  for (const auto& leg : legs_) leg->takes_text = false;
  SettleFinals();
  return consumed;
}

// The transaction, if there is one, is given up.
void LmtpFan::Reset() {
  for (const auto& leg : legs_)
    if (leg->is_in_use) Send(*leg, "RSET\r\n", {Expect::kReset});
  EndTransaction();
}

void LmtpFan::GiveUp() {
  if (state_ == State::kCommand && num_said_ == recipients_.size()) Reset();
}

void LmtpFan::EndTransaction() {
  ++transaction_;
  state_ = State::kCommand;
  mail_.clear();
  recipients_.clear();
  num_said_ = num_finals_ = num_data_due_ = 0;
  go_ahead_.clear();
  for (const auto& leg : legs_) {
    leg->is_in_use = leg->is_full = leg->takes_text = false;
    leg->num_asked = leg->num_accepted = 0;
    leg->mail_refusal.clear();
  }
  while (legs_.size() > limits_.kept_legs) {
    const auto oldest = std::min_element(
        legs_.begin(), legs_.end(),
        [](const auto& one, const auto& other) { return one->used < other->used; });
    Drop((*oldest)->id);
  }
}

// --- where a recipient goes --------------------------------------------------------------------

void LmtpFan::Place(size_t index) {
  Recipient& recipient = recipients_[index];
  Leg* const leg = Choose(recipient.home);
  if (leg == nullptr) {
    recipient.state = Recipient::State::kRefused;
    recipient.reply = Line(SmtpText::kOtherHome);
    return;
  }
  leg->used = ++last_use_;
  leg->home = recipient.home.key;
  if (!leg->is_in_use) {
    leg->is_in_use = true;
    Send(*leg, mail_, {Expect::kMail, transaction_});
  }
  recipient.leg = leg->id;
  ++leg->num_asked;
  Send(*leg, recipient.line, {Expect::kRecipient, transaction_, index});
}

// That of its home in this transaction; else one that was there last; else another.
LmtpFan::Leg* LmtpFan::Choose(const Home& home) {
  Leg* was_there = nullptr;
  Leg* oldest = nullptr;
  for (const auto& leg : legs_) {
    const bool has_others = leg->num_asked + leg->num_accepted > 0;
    if (leg->is_in_use && leg->home == home.key && !leg->is_full && !(home.takes_one && has_others))
      return leg.get();
    if (leg->is_in_use && (has_others || leg->is_full || !leg->mail_refusal.empty())) continue;
    if (leg->home == home.key) was_there = leg.get();
    if (oldest == nullptr || leg->used < oldest->used) oldest = leg.get();
  }
  if (was_there != nullptr) return was_there;
  if (legs_.size() < limits_.kept_legs) return &Open();
  if (oldest != nullptr) return oldest;
  return legs_.size() < limits_.legs ? &Open() : nullptr;
}

LmtpFan::Leg& LmtpFan::Open() {
  Leg& leg = *legs_.emplace_back(std::make_unique<Leg>());
  leg.id = ++last_leg_;
  leg.reader = SmtpReplyReader({limits_.reply_lines, limits_.reply_line_bytes});
  driver_.OpenLeg(leg.id);
  leg.expected.push_back({Expect::kGreeting});
  Send(leg, hello_, {Expect::kHello});
  return leg;
}

LmtpFan::Leg* LmtpFan::Find(LegId id) {
  for (const auto& leg : legs_)
    if (leg->id == id) return leg.get();
  return nullptr;
}

bool LmtpFan::TakesText(LegId id) const {
  return std::any_of(legs_.begin(), legs_.end(),
                     [id](const auto& leg) { return leg->id == id && leg->takes_text; });
}

void LmtpFan::Send(Leg& leg, ByteView line, Expected expected) {
  leg.expected.push_back(expected);
  driver_.ToLeg(leg.id, line);
}

// --- what legs say -----------------------------------------------------------------------------

size_t LmtpFan::OnLeg(LegId id, ByteView input) {
  size_t consumed = 0;
  for (Leg* leg = Find(id); leg != nullptr; leg = Find(id)) {
    const SmtpReplyReader::Result result = leg->reader.Next(input.substr(consumed));
    if (result.status == SmtpReplyReader::Status::kNeedBytes) break;
    const bool is_bad = result.status == SmtpReplyReader::Status::kBad || leg->expected.empty();
    if (is_bad || result.reply.is_goodbye()) {
      Lose(id,
           is_bad ? std::string(Line(SmtpText::kBackendLost)) : WithCode(result.reply.lines, 451));
      return input.size();
    }
    consumed += result.consumed;
    TakeReply(*leg, result.reply);
  }
  return consumed;
}

void LmtpFan::OnLegEnd(LegId id) {
  Lose(id, Line(SmtpText::kBackendLost));
}

void LmtpFan::TakeReply(Leg& leg, const SmtpReply& reply) {
  const Expected expected = leg.expected.front();
  leg.expected.pop_front();
  switch (expected.what) {
    case Expect::kGreeting:
    case Expect::kHello:
      if (!reply.is_2yz()) Lose(leg.id, Line(SmtpText::kBackendLost));
      return;
    case Expect::kReset:
      return;
    case Expect::kMail:
      if (expected.transaction == transaction_ && !reply.is_ok()) leg.mail_refusal = reply.lines;
      return;
    case Expect::kRecipient:
      if (expected.transaction == transaction_) OnRecipientReply(leg, expected.recipient, reply);
      return;
    case Expect::kData:
      if (expected.transaction == transaction_) OnDataReply(leg, reply);
      return;
    case Expect::kFinal:
      if (expected.transaction != transaction_) return;
      recipients_[expected.recipient].final = reply.lines;
      return SettleFinals();
  }
}

void LmtpFan::OnRecipientReply(Leg& leg, size_t index, const SmtpReply& reply) {
  --leg.num_asked;
  Recipient& recipient = recipients_[index];
  const bool takes_no_more =
      reply.code == 452 && reply.FirstText().starts_with("4.5.3") && leg.num_accepted > 0;
  if (takes_no_more) {
    leg.is_full = true;
    Place(index);
  } else if (!leg.mail_refusal.empty()) {
    recipient.state = Recipient::State::kRefused;
    recipient.reply = leg.mail_refusal;
  } else {
    recipient.state = reply.is_ok() ? Recipient::State::kAccepted : Recipient::State::kRefused;
    recipient.reply = reply.lines;
    if (reply.is_ok()) ++leg.num_accepted;
  }
  SettleRecipients();
}

// Passes on what is answered, in order.
void LmtpFan::SettleRecipients() {
  for (; num_said_ < recipients_.size(); ++num_said_) {
    Recipient& recipient = recipients_[num_said_];
    if (recipient.state == Recipient::State::kAsked) return;
    output_ += recipient.reply;
    recipient.reply.clear();
  }
  if (state_ == State::kDataAsked && num_data_due_ == 0) AskData();
}

void LmtpFan::AskData() {
  for (const auto& leg : legs_) {
    if (!leg->is_in_use) continue;
    if (leg->num_accepted > 0) {
      ++num_data_due_;
      Send(*leg, "DATA\r\n", {Expect::kData, transaction_});
    } else {
      leg->is_in_use = false;
      Send(*leg, "RSET\r\n", {Expect::kReset});
    }
  }
  if (num_data_due_ == 0) SettleData();
}

void LmtpFan::OnDataReply(Leg& leg, const SmtpReply& reply) {
  --num_data_due_;
  if (reply.code == 354) {
    leg.takes_text = true;
    if (go_ahead_.empty()) go_ahead_ = reply.lines;
  } else {
    leg.is_in_use = false;  // its transaction has ended
    for (Recipient& recipient : recipients_)
      if (recipient.leg == leg.id && recipient.state == Recipient::State::kAccepted)
        recipient.final =
            reply.is_4yz() || reply.is_5yz() ? reply.lines : Line(SmtpText::kBackendLost);
  }
  SettleData();
}

// All legs have answered DATA: the text comes if one of them takes it.
void LmtpFan::SettleData() {
  if (num_data_due_ > 0) return;
  if (!go_ahead_.empty()) {
    output_ += go_ahead_;
    state_ = State::kText;
    scanner_ = SmtpDataScanner(SmtpDataScanner::BareNewlines::kKeep);
    return;
  }
  // One reply for all; who may come again is better told so.
  const std::string* words = nullptr;
  for (const Recipient& recipient : recipients_)
    if (!recipient.final.empty() && (words == nullptr || recipient.final[0] == '4'))
      words = &recipient.final;
  output_ += words == nullptr ? Line(SmtpText::kNoneAccepted) : ByteView(*words);
  is_answered_ = true;
  EndTransaction();
}

void LmtpFan::SettleFinals() {
  if (state_ != State::kFinals) return;
  for (; num_finals_ < recipients_.size(); ++num_finals_) {
    const Recipient& recipient = recipients_[num_finals_];
    if (recipient.state != Recipient::State::kAccepted) continue;
    if (recipient.final.empty()) return;
    output_ += recipient.final;
  }
  EndTransaction();
}

// --- ends --------------------------------------------------------------------------------------

void LmtpFan::Lose(LegId id, ByteView words) {
  const Leg* const leg = Find(id);
  if (leg == nullptr) return;
  const bool owes_data =
      std::any_of(leg->expected.begin(), leg->expected.end(), [this](const Expected& expected) {
        return expected.what == Expect::kData && expected.transaction == transaction_;
      });
  for (Recipient& recipient : recipients_) {
    if (recipient.leg != id) continue;
    if (recipient.state == Recipient::State::kAsked) {
      recipient.state = Recipient::State::kRefused;
      recipient.reply = words;
    } else if (recipient.state == Recipient::State::kAccepted && recipient.final.empty()) {
      recipient.final = words;
    }
  }
  Drop(id);
  if (owes_data) {
    --num_data_due_;
    return SettleData();
  }
  if (state_ == State::kFinals) return SettleFinals();
  if (state_ != State::kText) SettleRecipients();
}

void LmtpFan::Drop(LegId id) {
  driver_.CloseLeg(id);
  std::erase_if(legs_, [id](const auto& leg) { return leg->id == id; });
}

}  // namespace postern::proto
