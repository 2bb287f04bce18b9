// imap_grammar: single IMAP commands and replies.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/imap_grammar.h"

#include <algorithm>
#include <array>

namespace postern::proto {
namespace {

using base::ByteView;
using base::Secret;

// ATOM-CHAR and "]": what an astring may hold without quotes.
bool IsAstringChar(char c) {
  const auto byte = static_cast<unsigned char>(c);
  if (byte <= 0x20 || byte >= 0x7f) return false;
  return std::string_view("(){%*\"\\").find(c) == std::string_view::npos;
}

bool IsQuotedChar(char c) {
  return c != '\0' && c != '\r' && c != '\n';
}

// 1*DIGIT; saturates.
std::optional<uint64_t> ParseSize(ByteView digits) {
  if (digits.empty()) return std::nullopt;
  uint64_t value = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return std::nullopt;
    const auto digit = static_cast<uint64_t>(c - '0');
    value = value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : value * 10 + digit;
  }
  return value;
}

// "{n}" or "{n+}", all of it.
std::optional<LiteralStart> ParseLiteralStart(ByteView text) {
  if (text.size() < 3 || text.front() != '{' || text.back() != '}') return std::nullopt;
  text = text.substr(1, text.size() - 2);
  const bool is_sync = text.back() != '+';
  if (!is_sync) text.remove_suffix(1);
  const auto size = ParseSize(text);
  if (!size) return std::nullopt;
  return LiteralStart{*size, is_sync};
}

ByteView TakeWord(ByteView& rest) {
  const size_t end = std::min(rest.find(' '), rest.size());
  const ByteView word = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return word;
}

ImapReply::Condition FindCondition(ByteView word) {
  using Condition = ImapReply::Condition;
  struct Row {
    std::string_view word;
    Condition condition;
  };
  constexpr std::array<Row, 5> kRows = {{{"OK", Condition::kOk},
                                         {"NO", Condition::kNo},
                                         {"BAD", Condition::kBad},
                                         {"BYE", Condition::kBye},
                                         {"PREAUTH", Condition::kPreauth}}};
  for (const Row& row : kRows)
    if (base::EqualsIgnoreCase(row.word, word)) return row.condition;
  return Condition::kNone;
}

}  // namespace

bool IsImapTag(ByteView tag) {
  return !tag.empty() && tag.size() <= kMaxTagBytes &&
         std::all_of(tag.begin(), tag.end(), [](char c) { return c != '+' && IsAstringChar(c); });
}

ImapCommandParts SplitImapCommand(ByteView command) {
  ImapCommandParts parts;
  parts.tag = TakeWord(command);
  parts.verb = command.substr(0, std::min(command.find(' '), command.size()));
  command.remove_prefix(parts.verb.size());
  parts.has_arguments = !command.empty();
  if (parts.has_arguments) parts.arguments = command.substr(1);
  return parts;
}

std::optional<LiteralStart> FindImapLiteral(ByteView line) {
  if (line.empty() || line.back() != '}') return std::nullopt;
  const size_t open = line.rfind('{');
  // Something stands before it, and it is the start of an argument.
  if (open == ByteView::npos || open == 0) return std::nullopt;
  if (line[open - 1] != ' ' && line[open - 1] != '(' && line[open - 1] != '~') return std::nullopt;
  bool is_quoted = false;
  for (size_t i = 0; i < open; ++i) {
    if (line[i] == '"') {
      is_quoted = !is_quoted;
    } else if (line[i] == '\\' && is_quoted) {
      ++i;
    }
  }
  if (is_quoted) return std::nullopt;
  return ParseLiteralStart(line.substr(open));
}

bool MayAnnounceLiteral(ByteView line) {
  const size_t open = line.rfind('{');
  if (open == ByteView::npos) return false;
  const auto start = ParseLiteralStart(line.substr(open));
  return start && !start->is_sync;
}

bool ImapArguments::TakeBlank() {
  if (!rest_.starts_with(' ')) return false;
  rest_.remove_prefix(1);
  return true;
}

std::optional<Secret> ImapArguments::TakeAstring() {
  if (rest_.starts_with('"')) return TakeQuoted();
  if (rest_.starts_with('{')) return TakeLiteral();
  const auto end = std::find_if_not(rest_.begin(), rest_.end(), IsAstringChar);
  const auto size = static_cast<size_t>(end - rest_.begin());
  if (size == 0) return std::nullopt;
  const Secret atom(rest_.substr(0, size));
  rest_.remove_prefix(size);
  return atom;
}

std::optional<Secret> ImapArguments::TakeQuoted() {
  std::string text;
  text.reserve(rest_.size());  // grows no more: no copies of a password are left behind
  size_t i = 1;
  for (; i < rest_.size() && rest_[i] != '"'; ++i) {
    if (rest_[i] == '\\') {
      ++i;
      if (i == rest_.size() || (rest_[i] != '"' && rest_[i] != '\\')) break;
    }
    if (!IsQuotedChar(rest_[i])) break;
    text += rest_[i];
  }
  const bool is_closed = i < rest_.size() && rest_[i] == '"';
  std::optional<Secret> quoted;
  if (is_closed) {
    quoted = Secret(text);
    rest_.remove_prefix(i + 1);
  }
  base::WipeString(text);
  return quoted;
}

std::optional<Secret> ImapArguments::TakeLiteral() {
  const size_t end = rest_.find("}\r\n");
  if (end == ByteView::npos) return std::nullopt;
  const auto start = ParseLiteralStart(rest_.substr(0, end + 1));
  rest_.remove_prefix(end + 3);
  if (!start || start->size_bytes > rest_.size()) return std::nullopt;
  const auto size = static_cast<size_t>(start->size_bytes);
  const Secret literal(rest_.substr(0, size));
  rest_.remove_prefix(size);
  return literal;
}

void AppendQuoted(std::string& out, ByteView text) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  out += '"';
}

ImapReply ParseImapReply(ByteView line) {
  ImapReply reply;
  if (line.starts_with('+')) {
    reply.kind = ImapReply::Kind::kContinue;
    line.remove_prefix(1);
    if (line.starts_with(' ')) line.remove_prefix(1);  // some servers leave the blank out
    reply.text = line;
    return reply;
  }
  const ByteView first = TakeWord(line);
  reply.word = TakeWord(line);
  if (reply.word.empty()) return reply;
  if (first == "*") {
    reply.kind = ImapReply::Kind::kUntagged;
  } else if (IsImapTag(first)) {
    reply.kind = ImapReply::Kind::kTagged;
    reply.tag = first;
  } else {
    return reply;
  }
  reply.text = line;
  reply.code_and_text = line;
  reply.condition = FindCondition(reply.word);
  if (reply.condition == ImapReply::Condition::kNone) return reply;
  const size_t end = line.find(']');
  if (!line.starts_with('[') || end == ByteView::npos) return reply;
  reply.code = line.substr(1, end - 1);
  reply.text = line.substr(end + 1);
  if (reply.text.starts_with(' ')) reply.text.remove_prefix(1);
  return reply;
}

}  // namespace postern::proto
