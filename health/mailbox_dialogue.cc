// mailbox_dialogue: one IMAP session of a delivery probe.
// SPDX-License-Identifier: Apache-2.0
#include "health/mailbox_dialogue.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "health/delivery_message.h"
#include "lb/base/secret.h"

namespace postern::health {

using base::ByteView;
using base::FaultKind;
using base::Phase;
using Condition = proto::ImapReply::Condition;

Phase MailboxDialogue::phase() const {
  if (state_ == State::kLadder) return ladder_ ? ladder_->phase() : Phase::kConnect;
  return Phase::kCommand;
}

Dialogue::Step MailboxDialogue::OnConnected(const Ends& ends, std::string& out) {
  // Some servers take "UNKNOWN" for a fault: version 1 names ourselves.
  if (plan_.proxy == proto::ProxyVersion::kV1)
    out += proto::PrintProxyHeader(proto::ProxyVersion::kV1, ends.local, ends.peer);
  if (plan_.proxy == proto::ProxyVersion::kV2)
    out += proto::PrintLocalProxyHeader(proto::ProxyVersion::kV2);
  proto::BackPlan plan;
  plan.tls = plan_.tls;
  plan.login = &plan_.login;
  plan.user = plan_.login.user;
  ladder_ = proto::MakeBack(proto::MailProtocol::kImap, plan);
  if (plan_.tls == conf::TlsMode::kImplicit) return {0, Want::kStartTls};
  return {};
}

Dialogue::Step MailboxDialogue::OnTls(std::string& out) {
  if (plan_.tls != conf::TlsMode::kStartTls) return {};
  ladder_->TlsUp();
  return Climb("", out);
}

Dialogue::Step MailboxDialogue::Next(ByteView input, std::string& out) {
  if (state_ == State::kOver) return {0, Want::kOver};
  if (state_ == State::kLadder) return Climb(input, out);
  const ImapAnswerReader::Result result = reader_.Next(input);
  if (result.status == ImapAnswerReader::Status::kNeedBytes) return {};
  num_bytes_ += result.consumed;
  if (result.status == ImapAnswerReader::Status::kBad || num_bytes_ > kMaxCommandBytes)
    return Broken(FaultKind::kProtocol, "it answers without end");
  Step step = TakeAnswer(result.text, out);
  step.consumed = result.consumed;
  return step;
}

Dialogue::Step MailboxDialogue::Climb(ByteView input, std::string& out) {
  Step step;
  while (true) {
    const proto::BackStep rung = ladder_->Next(input);
    step.consumed += rung.consumed;
    input.remove_prefix(rung.consumed);
    if (const auto* send = std::get_if<proto::Send>(&rung.event)) {
      out += send->bytes;
    } else if (std::holds_alternative<proto::NeedBytes>(rung.event)) {
      return step;
    } else if (std::holds_alternative<proto::StartTls>(rung.event)) {
      step.want = Want::kStartTls;
      return step;
    } else if (const auto* in = std::get_if<proto::LoggedIn>(&rung.event)) {
      capabilities_ = proto::SplitAtoms(in->capabilities);
      Step next;
      if (capabilities_.empty()) {
        Command(State::kCapability, {"CAPABILITY"}, out);
      } else {
        next = BecomeReady(out);
      }
      next.consumed = step.consumed;
      return next;
    } else {
      const Phase phase_of_fault = phase();
      state_ = State::kOver;
      if (const auto* refusal = std::get_if<proto::Refusal>(&rung.event)) {
        out += "D0 LOGOUT\r\n";
        return Fail(Phase::kLogin, FaultKind::kTempfail,
                    "login refused: " + std::string(refusal->code) +
                        (refusal->code.empty() ? "" : " ") + std::string(refusal->text),
                    step.consumed);
      }
      if (const auto* failed = std::get_if<proto::Failed>(&rung.event))
        return Fail(failed->phase, failed->kind, std::string(failed->text), step.consumed);
      // A challenge of a token mechanism, which is not used.
      return Fail(phase_of_fault, FaultKind::kProtocol, "a challenge that nobody expects",
                  step.consumed);
    }
  }
}

bool MailboxDialogue::Has(std::string_view capability) const {
  return proto::HasCapability(capabilities_, capability);
}

Dialogue::Step MailboxDialogue::BecomeReady(std::string& out) {
  if (!Has("SPECIAL-USE")) return Done();
  // RFC 6154 2: asking for these alone needs extended LIST; a plain one may tell them too.
  if (Has("LIST-EXTENDED") || Has("IMAP4rev2")) {
    Command(State::kList, {R"(LIST (SPECIAL-USE) "" "*")"}, out);
  } else {
    Command(State::kList, {R"(LIST "" "*")"}, out);
  }
  return {};
}

// --- orders -----------------------------------------------------------------------------------

void MailboxDialogue::Look(const std::string& mailbox, std::string& out) {
  uids_.clear();
  found_.clear();
  has_more_ = false;
  refusal_.clear();
  wanted_ = mailbox;
  if (selected_ == wanted_) return Command(State::kNoop, {"NOOP"}, out);
  selected_.clear();
  is_read_only_ = false;
  std::string name;
  proto::AppendQuoted(name, mailbox);
  Command(State::kSelect, {"SELECT ", name}, out);
}

void MailboxDialogue::Remove(const std::vector<uint32_t>& uids, std::string& out) {
  uids_ = uids;
  num_left_ = 0;
  const std::string set = PrintUidSet(uids_);
  Command(State::kStore, {"UID STORE ", set, R"( +FLAGS.SILENT (\Deleted))"}, out);
}

void MailboxDialogue::Farewell(std::string& out) {
  // Inside a command the goodbye would wait behind it; before TLS nothing is said at all.
  if (state_ == State::kIdle) out += "D0 LOGOUT\r\n";
  state_ = State::kOver;
}

void MailboxDialogue::Command(State state, std::initializer_list<std::string_view> parts,
                              std::string& out) {
  state_ = state;
  num_bytes_ = 0;
  tag_ = 'D' + std::to_string(++num_commands_);
  out += tag_;
  out += ' ';
  for (const std::string_view part : parts) out += part;
  out += "\r\n";
}

// --- answers ----------------------------------------------------------------------------------

Dialogue::Step MailboxDialogue::TakeAnswer(ByteView answer, std::string& out) {
  const proto::ImapReply reply = proto::ParseImapReply(answer);
  switch (reply.kind) {
    case proto::ImapReply::Kind::kUntagged:
      if (reply.condition == Condition::kBye)
        return Broken(FaultKind::kTempfail, "BYE " + std::string(reply.code_and_text));
      TakeUntagged(answer);
      return {};
    case proto::ImapReply::Kind::kTagged:
      if (state_ == State::kIdle || reply.tag != tag_) break;
      return TakeTagged(reply, out);
    case proto::ImapReply::Kind::kContinue:
    case proto::ImapReply::Kind::kGarbage:
      break;
  }
  return Broken(FaultKind::kProtocol, "no IMAP answer: " + std::string(answer.substr(0, 100)));
}

void MailboxDialogue::TakeUntagged(ByteView answer) {
  if (state_ == State::kCapability) {
    constexpr std::string_view kWord = "* CAPABILITY ";
    if (base::StartsWithIgnoreCase(answer, kWord))
      capabilities_ = proto::SplitAtoms(answer.substr(kWord.size()));
  } else if (state_ == State::kList) {
    const auto listed = ParseListed(answer);
    if (listed && listed->is_junk && listed->is_selectable && junk_.empty() &&
        proto::IsQuotable(listed->name))
      junk_ = listed->name;
  } else if (state_ == State::kSearch || state_ == State::kSearchDeleted) {
    std::vector<uint32_t>& uids = state_ == State::kSearch ? uids_ : deleted_;
    const auto more = ParseSearch(answer);
    // Some servers give their result in several answers.
    if (more && uids.size() + more->size() <= kMaxUids)
      uids.insert(uids.end(), more->begin(), more->end());
  } else if (state_ == State::kFetch) {
    const auto fetched = ParseFetchedHeader(answer);
    if (!fetched || !std::binary_search(uids_.begin(), uids_.end(), fetched->uid)) return;
    const bool is_known = std::any_of(found_.begin(), found_.end(), [&fetched](const Found& each) {
      return each.uid == fetched->uid;
    });
    if (is_known) return;
    if (auto id = DeliveryIdOf(fetched->header, plan_.owner))
      found_.push_back({fetched->uid, std::move(*id)});
  }
}

Dialogue::Step MailboxDialogue::TakeTagged(const proto::ImapReply& reply, std::string& out) {
  const bool is_ok = reply.condition == Condition::kOk;
  const std::string text(reply.code_and_text);
  switch (state_) {
    case State::kCapability:
      return BecomeReady(out);
    case State::kList:
      return Done();  // refused: then there is no junk folder to look at
    case State::kSelect:
      if (!is_ok) {
        refusal_ = "SELECT: " + text;
        return Done();
      }
      selected_ = wanted_;
      if (base::EqualsIgnoreCase(reply.code, "READ-ONLY")) {
        refusal_ = "it may not be changed (READ-ONLY)";
        selected_.clear();
        return Done();
      }
      Search(out);
      return {};
    case State::kNoop:
      if (!is_ok) return Broken(FaultKind::kTempfail, "NOOP: " + text);
      Search(out);
      return {};
    case State::kSearch:
      if (!is_ok) return Broken(FaultKind::kTempfail, "UID SEARCH: " + text);
      if (uids_.empty()) return Done();
      Fetch(out);
      return {};
    case State::kFetch:
      if (!is_ok) return Broken(FaultKind::kTempfail, "UID FETCH: " + text);
      return Done();
    case State::kStore:
      if (!is_ok) return Broken(FaultKind::kTempfail, "UID STORE: " + text);
      if (Has("UIDPLUS") || Has("IMAP4rev2")) {
        Command(State::kExpunge, {"UID EXPUNGE ", PrintUidSet(uids_)}, out);
        return {};
      }
      deleted_.clear();
      Command(State::kSearchDeleted, {"UID SEARCH DELETED"}, out);
      return {};
    case State::kSearchDeleted:
      if (!is_ok) return Broken(FaultKind::kTempfail, "UID SEARCH: " + text);
      return Expunge(out);
    case State::kExpunge:
      if (!is_ok) return Broken(FaultKind::kTempfail, "EXPUNGE: " + text);
      return Done();
    case State::kLadder:
    case State::kIdle:
    case State::kOver:
      break;
  }
  return Broken(FaultKind::kProtocol, "unasked answer");
}

void MailboxDialogue::Search(std::string& out) {
  Command(State::kSearch, {"UID SEARCH HEADER ", kDeliveryHeader, " \"", plan_.owner, "\""}, out);
}

void MailboxDialogue::Fetch(std::string& out) {
  std::sort(uids_.begin(), uids_.end());
  uids_.erase(std::unique(uids_.begin(), uids_.end()), uids_.end());
  // The rest is for a later look, once these are gone.
  has_more_ = uids_.size() > kMaxFound;
  if (has_more_) uids_.erase(uids_.begin(), uids_.end() - kMaxFound);
  Command(
      State::kFetch,
      {"UID FETCH ", PrintUidSet(uids_), " (UID BODY.PEEK[HEADER.FIELDS (", kDeliveryHeader, ")])"},
      out);
}

// Without UIDPLUS everything that is marked would go.
Dialogue::Step MailboxDialogue::Expunge(std::string& out) {
  std::sort(uids_.begin(), uids_.end());
  const bool is_ours_alone = std::all_of(deleted_.begin(), deleted_.end(), [this](uint32_t uid) {
    return std::binary_search(uids_.begin(), uids_.end(), uid);
  });
  if (!is_ours_alone) {
    num_left_ = uids_.size();
    return Done();
  }
  Command(State::kExpunge, {"EXPUNGE"}, out);
  return {};
}

Dialogue::Step MailboxDialogue::Done() {
  state_ = State::kIdle;
  num_bytes_ = 0;
  return {0, Want::kTurn};
}

Dialogue::Step MailboxDialogue::Broken(FaultKind kind, std::string why) {
  state_ = State::kOver;
  return Fail(Phase::kCommand, kind, std::move(why));
}

}  // namespace postern::health
