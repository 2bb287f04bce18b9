// imap_flow: follows a relayed IMAP session at almost no cost.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/imap_flow.h"

#include <algorithm>
#include <cstring>

namespace postern::proto {
namespace {

using base::ByteView;

constexpr uint64_t kHashStart = 14695981039346656037ULL;  // FNV-1a
constexpr uint64_t kHashFactor = 1099511628211ULL;
constexpr std::string_view kBye = "* BYE";

struct CommandRow {
  std::string_view verb;
  FlowCommand command;
};
constexpr CommandRow kCommands[] = {
    {"FETCH", FlowCommand::kFetch},   {"UID", FlowCommand::kUid},
    {"IDLE", FlowCommand::kIdle},     {"NOOP", FlowCommand::kNoop},
    {"SELECT", FlowCommand::kSelect}, {"STATUS", FlowCommand::kStatus},
    {"APPEND", FlowCommand::kAppend}, {"STORE", FlowCommand::kStore},
    {"SEARCH", FlowCommand::kSearch}, {"LIST", FlowCommand::kList},
    {"LOGOUT", FlowCommand::kQuit},
};

uint64_t Hash(uint64_t hash, char c) {
  return (hash ^ static_cast<unsigned char>(c)) * kHashFactor;
}

char Upper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

}  // namespace

void LiteralTail::Add(ByteView part) {
  if (part.size() >= kCapacity) {
    std::memcpy(bytes_.data(), part.data() + part.size() - kCapacity, kCapacity);
    size_ = kCapacity;
    return;
  }
  const size_t num_kept = std::min<size_t>(size_, kCapacity - part.size());
  std::memmove(bytes_.data(), bytes_.data() + size_ - num_kept, num_kept);
  if (!part.empty()) std::memcpy(bytes_.data() + num_kept, part.data(), part.size());
  size_ = static_cast<uint8_t>(num_kept + part.size());
}

std::optional<LiteralTail::Literal> LiteralTail::Find() const {
  ByteView text(bytes_.data(), size_);
  if (!text.ends_with("}\r")) return std::nullopt;
  text.remove_suffix(2);
  Literal literal;
  if (text.ends_with('+')) {
    literal.is_sync = false;
    text.remove_suffix(1);
  }
  const size_t open = text.rfind('{');
  if (open == ByteView::npos || open + 1 == text.size()) return std::nullopt;
  for (const char c : text.substr(open + 1)) {
    if (c < '0' || c > '9') return std::nullopt;
    const auto digit = static_cast<uint64_t>(c - '0');
    literal.size_bytes = literal.size_bytes > (UINT64_MAX - digit) / 10
                             ? UINT64_MAX
                             : literal.size_bytes * 10 + digit;
  }
  return literal;
}

FlowVerdict ImapFlow::FromClient(ByteView bytes) {
  while (!bytes.empty() && !is_opaque_) {
    is_literal_asked_ = false;
    if (client_left_ > 0) {
      const auto num = static_cast<size_t>(std::min<uint64_t>(client_left_, bytes.size()));
      client_left_ -= num;
      bytes.remove_prefix(num);
      continue;
    }
    const size_t end = bytes.find('\n');
    const ByteView part = bytes.substr(0, end);
    has_client_bytes_ = true;
    ReadClientHead(part);
    client_tail_.Add(part);
    if (end == ByteView::npos) break;
    bytes.remove_prefix(end + 1);
    if (EndClientLine() == FlowVerdict::kForbidden) return FlowVerdict::kForbidden;
  }
  return FlowVerdict::kPass;
}

void ImapFlow::ReadClientHead(ByteView part) {
  for (const char c : part) {
    switch (client_stage_) {
      case ClientStage::kTag:
        if (c == ' ') {
          client_stage_ = ClientStage::kVerb;
        } else if (c != '\r') {
          client_tag_ = Hash(client_tag_ == 0 ? kHashStart : client_tag_, c);
        }
        break;
      case ClientStage::kVerb:
        if (c == ' ' || c == '\r' || verb_size_ == verb_.size()) {
          client_stage_ = ClientStage::kRest;
          return;
        }
        verb_[verb_size_++] = Upper(c);
        break;
      case ClientStage::kRest:
        return;
    }
  }
}

FlowVerdict ImapFlow::EndClientLine() {
  const auto literal = client_tail_.Find();
  client_tail_.Clear();
  if (literal) {
    client_left_ = literal->size_bytes;
    is_literal_asked_ = literal->is_sync;
    client_stage_ = ClientStage::kRest;
    return FlowVerdict::kPass;
  }
  const FlowVerdict verdict = RunCommand();
  ResetClientLine();
  return verdict;
}

void ImapFlow::ResetClientLine() {
  client_stage_ = ClientStage::kTag;
  client_tag_ = 0;
  client_left_ = 0;
  verb_size_ = 0;
  client_tail_.Clear();
  has_client_bytes_ = false;
  is_literal_asked_ = false;
}

FlowVerdict ImapFlow::RunCommand() {
  const std::string_view verb(verb_.data(), verb_size_);
  // A line without a blank: DONE, or the answer to a "+".
  if (client_stage_ == ClientStage::kTag) {
    is_idle_ = false;
    return FlowVerdict::kPass;
  }
  if (verb == "UNAUTHENTICATE") return FlowVerdict::kForbidden;
  // Nothing may follow COMPRESS before its answer; whoever does so cannot be followed.
  if (is_compress_asked_) is_opaque_ = true;
  ++num_commands_;
  pending_ = client_tag_;
  running_ = FlowCommand::kOther;
  for (const CommandRow& row : kCommands)
    if (row.verb == verb) running_ = row.command;
  is_idle_ = running_ == FlowCommand::kIdle;
  if (running_ == FlowCommand::kQuit) has_quit_ = true;
  is_compress_asked_ = verb == "COMPRESS";
  return FlowVerdict::kPass;
}

void ImapFlow::FromBackend(ByteView bytes) {
  while (!bytes.empty() && !is_opaque_) {
    if (back_left_ > 0) {
      const auto num = static_cast<size_t>(std::min<uint64_t>(back_left_, bytes.size()));
      back_left_ -= num;
      bytes.remove_prefix(num);
      continue;
    }
    const size_t end = bytes.find('\n');
    const ByteView part = bytes.substr(0, end);
    has_back_bytes_ = true;
    if (back_stage_ != BackStage::kRest) ReadBackHead(part);
    back_tail_.Add(part);
    if (end == ByteView::npos) return;
    bytes.remove_prefix(end + 1);
    EndBackLine();
  }
}

void ImapFlow::ReadBackHead(ByteView part) {
  for (const char c : part) {
    switch (back_stage_) {
      case BackStage::kTag:
        if (back_tag_ == 0 && c == '*') {
          back_stage_ = BackStage::kStar;
          star_size_ = 1;
        } else if (c == ' ') {
          is_answer_ = pending_ != 0 && back_tag_ == pending_;
          back_stage_ = is_answer_ ? BackStage::kStatus : BackStage::kRest;
        } else {
          back_tag_ = Hash(back_tag_ == 0 ? kHashStart : back_tag_, c);
        }
        break;
      case BackStage::kStatus:
        is_ok_ = Upper(c) == 'O';
        back_stage_ = BackStage::kRest;
        return;
      case BackStage::kStar:
        if (Upper(c) != kBye[star_size_]) {
          back_stage_ = BackStage::kRest;
          return;
        }
        if (++star_size_ == kBye.size()) {
          has_said_bye_ = true;
          back_stage_ = BackStage::kRest;
          return;
        }
        break;
      case BackStage::kRest:
        return;
    }
  }
}

void ImapFlow::EndBackLine() {
  const auto literal = back_tail_.Find();
  back_tail_.Clear();
  if (literal) {
    back_left_ = literal->size_bytes;
    back_stage_ = BackStage::kRest;
    return;
  }
  if (is_answer_) CompleteCommand();
  // The literal that the client has announced was refused: it goes on with another command.
  if (is_literal_asked_ && back_tag_ != 0 && back_tag_ == client_tag_) ResetClientLine();
  back_stage_ = BackStage::kTag;
  back_tag_ = 0;
  has_back_bytes_ = false;
  is_answer_ = false;
}

void ImapFlow::CompleteCommand() {
  pending_ = 0;
  is_idle_ = false;
  is_completed_ = true;
  if (is_compress_asked_ && is_ok_) is_opaque_ = true;
  is_compress_asked_ = false;
}

bool ImapFlow::may_say_bye() const {
  return !is_opaque_ && !has_said_bye_ && !has_back_bytes_ && back_left_ == 0;
}

bool ImapFlow::is_safe() const {
  return may_say_bye() && !has_client_bytes_ && (pending_ == 0 || is_idle_);
}

std::optional<FlowCommand> ImapFlow::TakeCompleted() {
  if (!is_completed_) return std::nullopt;
  is_completed_ = false;
  return running_;
}

}  // namespace postern::proto
