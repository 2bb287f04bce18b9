// smtp_extensions: what a server announces in EHLO, as far as Postern can relay it.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/smtp_extensions.h"

#include "lb/proto/xclient.h"

namespace postern::proto {
namespace {

using base::ByteView;
using base::EqualsIgnoreCase;

// The next word of a line; words are parted by blanks.
ByteView TakeWord(ByteView& line) {
  while (!line.empty() && line.front() == ' ') line.remove_prefix(1);
  size_t size = 0;
  while (size < line.size() && line[size] != ' ') ++size;
  const ByteView word = line.substr(0, size);
  line.remove_prefix(size);
  return word;
}

void LearnMechanisms(ByteView words, SmtpExtensions& extensions) {
  extensions.auth = true;
  for (ByteView word = TakeWord(words); !word.empty(); word = TakeWord(words)) {
    if (EqualsIgnoreCase(word, "PLAIN")) extensions.auth_plain = true;
    if (EqualsIgnoreCase(word, "LOGIN")) extensions.auth_login = true;
    if (EqualsIgnoreCase(word, "XOAUTH2")) extensions.auth_xoauth2 = true;
    if (EqualsIgnoreCase(word, "OAUTHBEARER")) extensions.auth_oauthbearer = true;
  }
}

// Calls with each line after the first, without code and line end.
template <typename Function>
void ForEachKeywordLine(ByteView lines, Function function) {
  bool is_first = true;
  while (!lines.empty()) {
    const size_t end = lines.find('\n');
    ByteView line = lines.substr(0, end);
    lines.remove_prefix(end == ByteView::npos ? lines.size() : end + 1);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (!is_first && line.size() > 4) function(line.substr(4));
    is_first = false;
  }
}

}  // namespace

void SmtpExtensions::Learn(ByteView line) {
  const ByteView keyword = TakeWord(line);
  if (EqualsIgnoreCase(keyword, "PIPELINING")) {
    pipelining = true;
  } else if (EqualsIgnoreCase(keyword, "SIZE")) {
    size = true;
    max_size = 0;
    for (const char c : TakeWord(line)) {
      if (c < '0' || c > '9' || max_size > UINT64_MAX / 100) {
        max_size = 0;
        break;
      }
      max_size = max_size * 10 + static_cast<uint64_t>(c - '0');
    }
  } else if (EqualsIgnoreCase(keyword, "8BITMIME")) {
    eight_bit_mime = true;
  } else if (EqualsIgnoreCase(keyword, "SMTPUTF8")) {
    smtp_utf8 = true;
  } else if (EqualsIgnoreCase(keyword, "DSN")) {
    dsn = true;
  } else if (EqualsIgnoreCase(keyword, "ENHANCEDSTATUSCODES")) {
    enhanced_status_codes = true;
  } else if (EqualsIgnoreCase(keyword, "CHUNKING")) {
    chunking = true;
  } else if (EqualsIgnoreCase(keyword, "BINARYMIME")) {
    binary_mime = true;
  } else if (EqualsIgnoreCase(keyword, "STARTTLS")) {
    starttls = true;
  } else if (EqualsIgnoreCase(keyword, "AUTH")) {
    LearnMechanisms(line, *this);
  } else if (base::StartsWithIgnoreCase(keyword, "AUTH=")) {
    // An old form that some servers still say beside the right one.
    LearnMechanisms(keyword.substr(5), *this);
    LearnMechanisms(line, *this);
  } else if (EqualsIgnoreCase(keyword, "XCLIENT")) {
    xclient = true;
    xclient_attributes = ParseXclientAttributes(line);
  }
}

SmtpExtensions ParseEhloReply(ByteView lines) {
  SmtpExtensions extensions;
  ForEachKeywordLine(lines, [&extensions](ByteView line) { extensions.Learn(line); });
  return extensions;
}

std::vector<std::string> EhloKeywords(ByteView lines) {
  std::vector<std::string> keywords;
  ForEachKeywordLine(lines, [&keywords](ByteView line) { keywords.emplace_back(line); });
  return keywords;
}

}  // namespace postern::proto
