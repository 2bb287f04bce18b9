// pop3_grammar: single POP3 commands and replies.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/pop3_grammar.h"

#include <algorithm>

namespace postern::proto {

using base::ByteView;

Pop3Command SplitPop3Command(ByteView line) {
  Pop3Command command;
  const size_t end = std::min(line.find(' '), line.size());
  command.verb = line.substr(0, end);
  command.has_argument = end < line.size();
  if (command.has_argument) command.argument = line.substr(end + 1);
  return command;
}

namespace {

// The status word ends the line or is followed by a blank.
bool TakeStatus(ByteView& line, ByteView status) {
  if (!base::StartsWithIgnoreCase(line, status)) return false;
  if (line.size() > status.size() && line[status.size()] != ' ') return false;
  line.remove_prefix(std::min(status.size() + 1, line.size()));
  return true;
}

}  // namespace

Pop3Reply ParsePop3Reply(ByteView line) {
  Pop3Reply reply;
  if (TakeStatus(line, "+OK")) {
    reply.kind = Pop3Reply::Kind::kOk;
  } else if (TakeStatus(line, "-ERR")) {
    reply.kind = Pop3Reply::Kind::kErr;
    const size_t end = line.find(']');
    if (line.starts_with('[') && end != ByteView::npos) {
      reply.code = line.substr(1, end - 1);
      line.remove_prefix(end + 1);
      if (line.starts_with(' ')) line.remove_prefix(1);
    }
  } else if (TakeStatus(line, "+")) {
    reply.kind = Pop3Reply::Kind::kContinue;
  } else {
    return reply;
  }
  reply.text = line;
  return reply;
}

}  // namespace postern::proto
