// imap_answer: answers of IMAP servers.
// SPDX-License-Identifier: Apache-2.0
#include "health/imap_answer.h"

#include <algorithm>
#include <utility>

namespace postern::health {
namespace {

using base::ByteView;

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

std::optional<uint64_t> ParseNumber(ByteView digits) {
  if (digits.empty() || digits.size() > 10 || !std::all_of(digits.begin(), digits.end(), IsDigit))
    return std::nullopt;
  uint64_t value = 0;
  for (const char c : digits) value = value * 10 + static_cast<uint64_t>(c - '0');
  return value;
}

std::optional<uint32_t> ParseUid(ByteView digits) {
  const auto value = ParseNumber(digits);
  if (!value || *value == 0 || *value > UINT32_MAX) return std::nullopt;
  return static_cast<uint32_t>(*value);
}

// "{n}" or "~{n}" at the end of a line: n. A server has no "{n+}".
std::optional<uint64_t> LiteralSize(ByteView line) {
  if (!line.ends_with('}')) return std::nullopt;
  const size_t open = line.rfind('{');
  if (open == ByteView::npos) return std::nullopt;
  return ParseNumber(line.substr(open + 1, line.size() - open - 2));
}

// Values of an answer, one after the other.
class Cursor {
 public:
  explicit Cursor(ByteView text) : rest_(text) {}
  [[nodiscard]] bool at_end() const { return rest_.empty(); }
  bool Take(char c) {
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool TakeWord(ByteView word) {
    if (!base::StartsWithIgnoreCase(rest_, word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  // Up to a blank or parenthesis; may be empty.
  ByteView TakeAtom() {
    const size_t end = std::min(rest_.find_first_of(" ()"), rest_.size());
    const ByteView atom = rest_.substr(0, end);
    rest_.remove_prefix(end);
    return atom;
  }
  // The name of a FETCH item: "BODY[HEADER.FIELDS (X Y)]<0>".
  ByteView TakeItemName() {
    size_t end = std::min(rest_.find_first_of(" ()["), rest_.size());
    if (end < rest_.size() && rest_[end] == '[') {
      end = std::min(rest_.find(']', end), rest_.size());
      end = std::min(rest_.find_first_of(" ()", end), rest_.size());
    }
    const ByteView name = rest_.substr(0, end);
    rest_.remove_prefix(end);
    return name;
  }
  // A quoted string or a literal.
  std::optional<std::string> TakeString() {
    std::string text;
    if (Take('"')) {
      for (size_t i = 0; i < rest_.size(); ++i) {
        if (rest_[i] == '"') {
          rest_.remove_prefix(i + 1);
          return text;
        }
        if (rest_[i] == '\\' && ++i == rest_.size()) return std::nullopt;
        text += rest_[i];
      }
      return std::nullopt;
    }
    (void)Take('~');
    if (!Take('{')) return std::nullopt;
    const size_t end = rest_.find("}\r\n");
    if (end == ByteView::npos) return std::nullopt;
    const auto size = ParseNumber(rest_.substr(0, end));
    rest_.remove_prefix(end + 3);
    if (!size || *size > rest_.size()) return std::nullopt;
    text = rest_.substr(0, static_cast<size_t>(*size));
    rest_.remove_prefix(text.size());
    return text;
  }
  [[nodiscard]] bool at_string() const {
    return rest_.starts_with('"') || rest_.starts_with('{') || rest_.starts_with("~{");
  }
  // Any value: atom, string, or a list of values.
  bool SkipValue(int depth = 0) {
    if (at_string()) return TakeString().has_value();
    if (!Take('(')) return !TakeItemName().empty();
    if (depth == kMaxDepth) return false;
    while (!Take(')')) {
      if (at_end()) return false;
      if (!Take(' ') && !SkipValue(depth + 1)) return false;
    }
    return true;
  }

 private:
  ByteView rest_;
};

}  // namespace

ImapAnswerReader::Result ImapAnswerReader::Next(ByteView input) {
  Result result;
  while (true) {
    if (line_ > kMaxBytes) {
      result.status = Status::kBad;
      return result;
    }
    if (scanned_ >= input.size() && scanned_ > line_) return result;
    if (line_ >= input.size()) return result;
    // A CR may have been the last byte so far.
    const size_t from = scanned_ > line_ ? scanned_ - 1 : line_;
    const size_t end = input.find("\r\n", from);
    if (end == ByteView::npos) {
      scanned_ = input.size();
      if (input.size() > kMaxBytes) result.status = Status::kBad;
      return result;
    }
    if (end + 2 > kMaxBytes) {
      result.status = Status::kBad;
      return result;
    }
    const auto literal = LiteralSize(input.substr(line_, end - line_));
    if (!literal) {
      result.status = Status::kAnswer;
      result.text = input.substr(0, end);
      result.consumed = end + 2;
      Reset();
      return result;
    }
    // Too large, and the sum stays small: a number has ten digits.
    line_ = scanned_ = end + 2 + static_cast<size_t>(*literal);
  }
}

void ImapAnswerReader::Reset() {
  line_ = scanned_ = 0;
}

std::optional<std::vector<uint32_t>> ParseSearch(ByteView answer) {
  Cursor cursor(answer);
  if (!cursor.TakeWord("* SEARCH")) return std::nullopt;
  std::vector<uint32_t> uids;
  while (cursor.Take(' ')) {
    const ByteView word = cursor.TakeAtom();
    if (word.empty()) continue;  // some end the line with a blank
    const auto uid = ParseUid(word);
    if (!uid) return std::nullopt;
    if (uids.size() == kMaxUids) return uids;
    uids.push_back(*uid);
  }
  // "(MODSEQ n)" would need to be asked for.
  if (!cursor.at_end()) return std::nullopt;
  return uids;
}

std::optional<FetchedHeader> ParseFetchedHeader(ByteView answer) {
  Cursor cursor(answer);
  if (!cursor.TakeWord("* ") || !ParseUid(cursor.TakeAtom()) || !cursor.TakeWord(" FETCH ("))
    return std::nullopt;
  FetchedHeader fetched;
  bool has_header = false;
  while (!cursor.Take(')')) {
    (void)cursor.Take(' ');
    const ByteView name = cursor.TakeItemName();
    if (name.empty() || !cursor.Take(' ')) return std::nullopt;
    if (base::EqualsIgnoreCase(name, "UID")) {
      const auto uid = ParseUid(cursor.TakeAtom());
      if (!uid) return std::nullopt;
      fetched.uid = *uid;
    } else if (base::StartsWithIgnoreCase(name, "BODY[HEADER") && cursor.at_string()) {
      auto text = cursor.TakeString();
      if (!text) return std::nullopt;
      fetched.header = std::move(*text);
      has_header = true;
    } else if (!cursor.SkipValue()) {
      return std::nullopt;
    }
  }
  if (!cursor.at_end() || !has_header || fetched.uid == 0) return std::nullopt;
  return fetched;
}

std::optional<ListedMailbox> ParseListed(ByteView answer) {
  Cursor cursor(answer);
  if (!cursor.TakeWord("* LIST (")) return std::nullopt;
  ListedMailbox listed;
  while (!cursor.Take(')')) {
    (void)cursor.Take(' ');
    const ByteView attribute = cursor.TakeAtom();
    if (attribute.empty()) return std::nullopt;
    if (base::EqualsIgnoreCase(attribute, "\\Junk")) listed.is_junk = true;
    if (base::EqualsIgnoreCase(attribute, "\\Noselect") ||
        base::EqualsIgnoreCase(attribute, "\\NonExistent"))
      listed.is_selectable = false;
  }
  if (!cursor.Take(' ') || !cursor.SkipValue() || !cursor.Take(' ')) return std::nullopt;
  if (cursor.at_string()) {
    auto name = cursor.TakeString();
    if (!name) return std::nullopt;
    listed.name = std::move(*name);
  } else {
    listed.name = cursor.TakeAtom();
  }
  if (listed.name.empty()) return std::nullopt;
  return listed;
}

std::vector<std::string> HeaderBodies(ByteView header, ByteView name) {
  std::vector<std::string> bodies;
  bool is_ours = false;
  while (!header.empty()) {
    const size_t end = std::min(header.find('\n'), header.size());
    ByteView line = header.substr(0, end);
    header.remove_prefix(std::min(end + 1, header.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.starts_with(' ') || line.starts_with('\t')) {
      if (is_ours) bodies.back() += line;
      continue;
    }
    is_ours = line.size() > name.size() && line[name.size()] == ':' &&
              base::StartsWithIgnoreCase(line, name);
    if (is_ours) bodies.emplace_back(line.substr(name.size() + 1));
  }
  for (std::string& body : bodies) {
    const size_t first = body.find_first_not_of(" \t");
    const size_t last = body.find_last_not_of(" \t");
    body = first == std::string::npos ? "" : body.substr(first, last - first + 1);
  }
  return bodies;
}

std::string PrintUidSet(std::vector<uint32_t> uids) {
  std::sort(uids.begin(), uids.end());
  uids.erase(std::unique(uids.begin(), uids.end()), uids.end());
  std::string set;
  for (size_t i = 0; i < uids.size();) {
    size_t last = i;
    while (last + 1 < uids.size() && uids[last + 1] == uids[last] + 1) ++last;
    if (!set.empty()) set += ',';
    set += std::to_string(uids[i]);
    if (last > i) set += ':' + std::to_string(uids[last]);
    i = last + 1;
  }
  return set;
}

}  // namespace postern::health
