// pop3_flow: follows a relayed POP3 session at almost no cost.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/pop3_flow.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace postern::proto {
namespace {

using base::ByteView;

constexpr std::string_view kEndOfBody = "\r\n.\r\n";

enum class Multi : uint8_t { kNo, kYes, kWithoutArgument };
struct CommandRow {
  std::string_view verb;
  FlowCommand command;
  Multi multi;
};
constexpr CommandRow kCommands[] = {
    {"RETR", FlowCommand::kRetr, Multi::kYes},
    {"DELE", FlowCommand::kDele, Multi::kNo},
    {"UIDL", FlowCommand::kUidl, Multi::kWithoutArgument},
    {"LIST", FlowCommand::kList, Multi::kWithoutArgument},
    {"STAT", FlowCommand::kStat, Multi::kNo},
    {"TOP", FlowCommand::kTop, Multi::kYes},
    {"NOOP", FlowCommand::kNoop, Multi::kNo},
    {"CAPA", FlowCommand::kOther, Multi::kYes},
    {"LANG", FlowCommand::kOther, Multi::kWithoutArgument},
    {"QUIT", FlowCommand::kQuit, Multi::kNo},
};

char Upper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

}  // namespace

FlowVerdict Pop3Flow::FromClient(ByteView bytes) {
  for (const char c : bytes) {
    if (c == '\n') {
      RunCommand();
    } else if (c == ' ') {
      has_blank_ = true;
    } else if (c == '\r') {
      continue;
    } else if (has_blank_) {
      has_argument_ = true;
    } else if (verb_size_ < verb_.size()) {
      verb_[verb_size_++] = Upper(c);
    }
  }
  return FlowVerdict::kPass;
}

void Pop3Flow::RunCommand() {
  const std::string_view verb(verb_.data(), verb_size_);
  ++num_commands_;
  if (answer_ != Answer::kNone) is_lost_ = true;
  running_ = FlowCommand::kOther;
  is_multi_ = false;
  for (const CommandRow& row : kCommands) {
    if (row.verb != verb) continue;
    running_ = row.command;
    is_multi_ =
        row.multi == Multi::kYes || (row.multi == Multi::kWithoutArgument && !has_argument_);
  }
  if (running_ == FlowCommand::kDele) has_dele_ = true;
  if (running_ == FlowCommand::kQuit) has_quit_ = true;
  answer_ = Answer::kStart;
  verb_size_ = 0;
  has_blank_ = false;
  has_argument_ = false;
}

void Pop3Flow::FromBackend(ByteView bytes) {
  if (bytes.empty() || is_lost_) return;
  if (answer_ == Answer::kNone) {
    is_lost_ = true;  // nothing was asked: what this is, or where it ends, nobody knows
    return;
  }
  if (answer_ == Answer::kStart) {
    is_positive_ = bytes.front() == '+';
    answer_ = Answer::kLine;
  }
  if (answer_ == Answer::kLine) {
    const size_t end = bytes.find('\n');
    if (end == ByteView::npos) return;
    bytes.remove_prefix(end + 1);
    if (!is_multi_ || !is_positive_) {
      Complete();
      if (!bytes.empty()) is_lost_ = true;
      return;
    }
    answer_ = Answer::kBody;
    // An empty body's dot follows the first line's own CRLF.
    tail_ = {'?', '?', '?', '\r', '\n'};
  }
  // Nothing follows an answer before the next command: its end is the end of what has come.
  const size_t num_new = std::min(bytes.size(), tail_.size());
  std::memmove(tail_.data(), tail_.data() + num_new, tail_.size() - num_new);
  if (num_new > 0)
    std::memcpy(tail_.data() + tail_.size() - num_new, bytes.data() + bytes.size() - num_new,
                num_new);
  if (std::string_view(tail_.data(), tail_.size()) == kEndOfBody) Complete();
}

void Pop3Flow::Complete() {
  answer_ = Answer::kNone;
  is_completed_ = true;
}

std::optional<FlowCommand> Pop3Flow::TakeCompleted() {
  if (!is_completed_) return std::nullopt;
  is_completed_ = false;
  return running_;
}

}  // namespace postern::proto
