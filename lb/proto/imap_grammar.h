// imap_grammar: single IMAP commands and replies, taken apart and put together.
//
// Does not: keep bytes (imap_command_reader does) or know states.
// Rules:    RFC 9051 4 and 9: tag, atom, astring, quoted, literal ("{n}", "{n+}" of RFC 7888),
//           resp-text-code, continuation. A literal's size is 1*DIGIT and never wraps.
// Tests:    test/proto/imap_grammar_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lb/base/bytes.h"
#include "lb/base/mail_text.h"
#include "lb/base/secret.h"

namespace postern::proto {

inline constexpr size_t kMaxTagBytes = 64;

// 1 to kMaxTagBytes characters of an astring but "+".
[[nodiscard]] bool IsImapTag(base::ByteView tag);

struct ImapCommandParts {
  base::ByteView tag;
  base::ByteView verb;         // as written; empty if there is none
  base::ByteView arguments;    // behind the blank that follows the verb; literals with their "{n}"
  bool has_arguments = false;  // there was such a blank
};
// The tag is not checked.
[[nodiscard]] ImapCommandParts SplitImapCommand(base::ByteView command);

struct LiteralStart {
  uint64_t size_bytes = 0;  // UINT64_MAX: that or more
  bool is_sync = true;      // "{n}": the sender waits for "+"
};
// Does this line (without its line end) announce a literal? Not from within a quoted string.
[[nodiscard]] std::optional<LiteralStart> FindImapLiteral(base::ByteView line);
// Does the line end with "{n+}", wherever that stands? Then n bytes may follow that are no commands
// (RFC 7888 4), even if this is no place for a literal.
[[nodiscard]] bool MayAnnounceLiteral(base::ByteView line);

// Arguments of a complete command, one after the other.
class ImapArguments {
 public:
  explicit ImapArguments(base::ByteView text) : rest_(text) {}
  [[nodiscard]] bool at_end() const { return rest_.empty(); }
  // One blank.
  [[nodiscard]] bool TakeBlank();
  // Atom (no quotes, no wildcards), quoted string, or literal; a Secret, since it may be one.
  [[nodiscard]] std::optional<base::Secret> TakeAstring();

 private:
  [[nodiscard]] std::optional<base::Secret> TakeQuoted();
  [[nodiscard]] std::optional<base::Secret> TakeLiteral();
  base::ByteView rest_;
};

using base::IsQuotable;  // of what AppendQuoted takes
void AppendQuoted(std::string& out, base::ByteView text);

struct ImapReply {
  enum class Kind : uint8_t { kContinue, kUntagged, kTagged, kGarbage };
  enum class Condition : uint8_t { kNone, kOk, kNo, kBad, kBye, kPreauth };
  Kind kind = Kind::kGarbage;
  Condition condition = Condition::kNone;
  base::ByteView tag;            // of kTagged
  base::ByteView word;           // first word behind tag or "*": "OK", "CAPABILITY"
  base::ByteView code;           // within "[...]" of a condition, without brackets
  base::ByteView text;           // the rest; of kContinue all behind "+" and its blank
  base::ByteView code_and_text;  // of a condition: all behind its word
};
[[nodiscard]] ImapReply ParseImapReply(base::ByteView line);

}  // namespace postern::proto
