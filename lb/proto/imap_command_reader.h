// imap_command_reader: one whole IMAP command of a client before login, its literals included.
//
// A command without literals is a slice of the input; only one with literals is gathered.
// Does not: know verbs. It stops at each literal that wants a "+" so that its owner may refuse.
// Limits:   a line: `line` bytes, one of AUTHENTICATE `sasl_line`; a literal: `literal` bytes; all
//           of a command: line + 2 x literal.
// Tests:    test/dialogue/imap/, test/fuzz/imap_front_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "lb/base/bytes.h"
#include "lb/proto/line_reader.h"
#include "lb/proto/machine.h"

namespace postern::proto {

class ImapCommandReader {
 public:
  enum class Outcome : uint8_t {
    kNeedBytes,
    kCommand,        // command is complete
    kAskLiteral,     // the client waits for "+": say it and call Next, or refuse and Reset
    kBadLine,        // bare CR or LF, or NUL
    kLineTooLong,    // cannot go on
    kLiteralTooBig,  // refused; the client has not sent it: goes on
    kLiteralFlood,   // refused; the client sends it without being asked: cannot go on
    kStrayLiteral,   // "{n+}" where no literal may stand: what follows may be its bytes: likewise
  };
  struct Result {
    Outcome outcome = Outcome::kNeedBytes;
    size_t consumed = 0;
    base::ByteView command;  // what there is of it; without the last line end; until the next call
  };

  explicit ImapCommandReader(const FrontLimits& limits) : limits_(limits) {}
  ~ImapCommandReader() { Reset(); }
  ImapCommandReader(const ImapCommandReader&) = delete;
  ImapCommandReader& operator=(const ImapCommandReader&) = delete;

  [[nodiscard]] Result Next(base::ByteView input);
  // Forgets (and wipes) what was gathered.
  void Reset();
  // In the middle of a command with literals.
  [[nodiscard]] bool is_gathering() const { return state_ != State::kLine; }

 private:
  enum class State : uint8_t {
    kLine,     // the first line of a command
    kLiteral,  // num_left_ bytes to come
    kRest,     // the line that follows a literal
    kDone,     // given out; wiped by the next call
  };
  Result TakeLine(base::ByteView input);
  Result TakeLiteral(base::ByteView input);
  void Gather(base::ByteView bytes);
  Result StartLiteral(base::ByteView line, size_t consumed);

  const FrontLimits& limits_;
  State state_ = State::kLine;
  size_t num_left_ = 0;
  std::string gathered_;
};

}  // namespace postern::proto
