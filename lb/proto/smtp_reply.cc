// smtp_reply: a backend's replies, whole, and what they mean for Postern.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/smtp_reply.h"

#include <cstring>

namespace postern::proto {
namespace {

using base::ByteView;

constexpr bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

// The code of a line without its line end, or 0 if it is none.
int CodeOf(ByteView line, bool& is_last) {
  if (line.size() < 3 || line[0] < '2' || line[0] > '5' || line[1] < '0' || line[1] > '9' ||
      !IsDigit(line[2]))
    return 0;
  if (line.size() > 3 && line[3] != ' ' && line[3] != '-') return 0;
  is_last = line.size() == 3 || line[3] == ' ';
  return (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
}

bool HasControl(ByteView line) {
  for (const char c : line) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\t') || byte == 0x7f) return true;
  }
  return false;
}

}  // namespace

ByteView SmtpReply::FirstText() const {
  const ByteView line = lines.substr(0, lines.find('\r'));
  return line.size() > 4 ? line.substr(4) : ByteView();
}

bool SmtpReply::HasSubject(char subject) const {
  const ByteView text = FirstText();
  if (text.size() < 5 || text[0] != static_cast<char>('0' + code / 100) || text[1] != '.' ||
      text[2] != subject || text[3] != '.' || !IsDigit(text[4]))
    return false;
  size_t end = 5;
  while (end < text.size() && IsDigit(text[end])) ++end;
  return end == text.size() || text[end] == ' ';
}

void SmtpReplyReader::Reset() {
  scanned_ = 0;
  num_lines_ = 0;
  code_ = 0;
}

SmtpReplyReader::Result SmtpReplyReader::Next(ByteView input) {
  // RFC 5321 4.5.3.1.5: a reply line has at most 512 octets; a lone long one is borne with.
  const size_t max_bytes = limits_.max_lines * 512 + limits_.max_line_bytes;
  const auto bad = [this] {
    Reset();
    return Result{Status::kBad, 0, {}};
  };
  while (true) {
    const ByteView rest = input.substr(scanned_);
    const void* found =
        std::memchr(rest.data(), '\n',
                    rest.size() < limits_.max_line_bytes ? rest.size() : limits_.max_line_bytes);
    if (found == nullptr) {
      if (rest.size() >= limits_.max_line_bytes) return bad();
      return {};
    }
    const size_t size = static_cast<size_t>(static_cast<const char*>(found) - rest.data());
    if (size == 0 || rest[size - 1] != '\r') return bad();
    const ByteView line = rest.substr(0, size - 1);
    bool is_last = false;
    const int code = CodeOf(line, is_last);
    if (code == 0 || (num_lines_ > 0 && code != code_) || HasControl(line)) return bad();
    code_ = code;
    scanned_ += size + 1;
    if (++num_lines_ > limits_.max_lines || scanned_ > max_bytes) return bad();
    if (!is_last) continue;
    const size_t consumed = scanned_;
    Reset();
    return Result{Status::kReply, consumed, SmtpReply{code, input.substr(0, consumed)}};
  }
}

std::string WithCode(ByteView lines, int code) {
  std::string out(lines);
  for (size_t at = 0; at + 3 <= out.size();) {
    out[at] = static_cast<char>('0' + code / 100);
    out[at + 1] = static_cast<char>('0' + code / 10 % 10);
    out[at + 2] = static_cast<char>('0' + code % 10);
    const size_t end = out.find('\n', at);
    if (end == std::string::npos) break;
    at = end + 1;
  }
  return out;
}

std::string OneLine(ByteView lines) {
  std::string out;
  out.reserve(lines.size());
  for (const char c : lines) {
    if (c == '\r') continue;
    out.push_back(c == '\n' ? ' ' : c);
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

}  // namespace postern::proto
