// imap_command_reader: one whole IMAP command of a client before login.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/imap_command_reader.h"

#include <algorithm>

#include "lb/base/secret.h"
#include "lb/proto/imap_grammar.h"

namespace postern::proto {
namespace {

// "tag AUTHENTICATE ": such a line may hold a token.
bool IsAuthenticate(base::ByteView line) {
  const ImapCommandParts parts = SplitImapCommand(line.substr(0, kMaxTagBytes + 16));
  return parts.has_arguments && base::EqualsIgnoreCase(parts.verb, "AUTHENTICATE");
}

}  // namespace

void ImapCommandReader::Reset() {
  if (!gathered_.empty()) base::WipeString(gathered_);
  state_ = State::kLine;
  num_left_ = 0;
}

ImapCommandReader::Result ImapCommandReader::Next(base::ByteView input) {
  if (state_ == State::kDone) Reset();
  size_t num_taken = 0;
  while (true) {
    const base::ByteView rest = input.substr(num_taken);
    Result result = state_ == State::kLiteral ? TakeLiteral(rest) : TakeLine(rest);
    num_taken += result.consumed;
    // Part of a command was taken: there may be more of it.
    if (result.outcome == Outcome::kNeedBytes && result.consumed > 0) continue;
    result.consumed = num_taken;
    return result;
  }
}

// Grows without leaving a copy of what may be a password in freed memory.
void ImapCommandReader::Gather(base::ByteView bytes) {
  if (gathered_.size() + bytes.size() > gathered_.capacity()) {
    std::string bigger;
    bigger.reserve(std::max(2 * gathered_.capacity(), gathered_.size() + bytes.size()));
    bigger = gathered_;
    base::WipeString(gathered_);
    gathered_.swap(bigger);
  }
  gathered_ += bytes;
}

ImapCommandReader::Result ImapCommandReader::TakeLiteral(base::ByteView input) {
  const size_t num_taken = std::min(num_left_, input.size());
  Gather(input.substr(0, num_taken));
  num_left_ -= num_taken;
  if (num_left_ == 0) state_ = State::kRest;
  if (num_left_ == 0 && num_taken == 0) return TakeLine(input);
  return {Outcome::kNeedBytes, num_taken, {}};
}

ImapCommandReader::Result ImapCommandReader::TakeLine(base::ByteView input) {
  size_t max_bytes = limits_.line;
  if (state_ == State::kLine && input.size() > max_bytes && IsAuthenticate(input))
    max_bytes = std::max(max_bytes, limits_.sasl_line);
  const LineRead line = ReadLine(input, max_bytes);
  switch (line.verdict) {
    case LineVerdict::kNeedMore:
      return {Outcome::kNeedBytes, 0, {}};
    case LineVerdict::kTooLong:
      return {Outcome::kLineTooLong, 0, {}};
    case LineVerdict::kBareLf:
    case LineVerdict::kBareCr:
    case LineVerdict::kNul:
      Reset();
      return {MayAnnounceLiteral(line.text) ? Outcome::kStrayLiteral : Outcome::kBadLine,
              line.size_bytes,
              {}};
    case LineVerdict::kLine:
      break;
  }
  if (FindImapLiteral(line.text)) return StartLiteral(line.text, line.size_bytes);
  if (MayAnnounceLiteral(line.text)) {
    Reset();
    return {Outcome::kStrayLiteral, line.size_bytes, {}};
  }
  if (state_ == State::kLine) return {Outcome::kCommand, line.size_bytes, line.text};
  Gather(line.text);
  state_ = State::kDone;
  return {Outcome::kCommand, line.size_bytes, gathered_};
}

ImapCommandReader::Result ImapCommandReader::StartLiteral(base::ByteView line, size_t consumed) {
  const LiteralStart start = *FindImapLiteral(line);
  const size_t max_bytes = limits_.line + 2 * limits_.literal;
  Gather(line);
  const bool is_too_big =
      start.size_bytes > limits_.literal || gathered_.size() + start.size_bytes + 2 > max_bytes;
  if (is_too_big) {
    state_ = State::kDone;
    return {start.is_sync ? Outcome::kLiteralTooBig : Outcome::kLiteralFlood, consumed, gathered_};
  }
  Gather("\r\n");
  num_left_ = static_cast<size_t>(start.size_bytes);
  state_ = State::kLiteral;
  if (!start.is_sync) return {Outcome::kNeedBytes, consumed, {}};
  const base::ByteView so_far(gathered_);
  return {Outcome::kAskLiteral, consumed, so_far.substr(0, so_far.size() - 2)};
}

}  // namespace postern::proto
