// smtp_chunks: message text that came by BDAT.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/smtp_chunks.h"

#include <algorithm>

namespace postern::proto {

using base::ByteView;

SmtpChunk ParseBdatArgs(ByteView args) {
  SmtpChunk chunk;
  size_t at = 0;
  for (; at < args.size() && args[at] >= '0' && args[at] <= '9'; ++at) {
    const auto digit = static_cast<uint64_t>(args[at] - '0');
    if (chunk.size > (UINT64_MAX - digit) / 10) return {};
    chunk.size = chunk.size * 10 + digit;
  }
  if (at == 0) return {};
  ByteView rest = args.substr(at);
  if (!rest.empty()) {
    const size_t word = rest.find_first_not_of(" \t");
    if (word == 0 || word == ByteView::npos || !base::EqualsIgnoreCase(rest.substr(word), "LAST"))
      return {};
    chunk.is_last = true;
  }
  chunk.is_valid = true;
  return chunk;
}

// --- bare newlines ------------------------------------------------------------------------------

ByteView SmtpChunkScanner::Take(ByteView octets, bool is_end, std::string& made) {
  const bool normalizes = mode_ == BareNewlines::kNormalize;
  size_t given = 0;  // of the octets, what is in `made`
  size_t size = octets.size();
  // octets[from, to) is a newline that stands alone.
  const auto replace = [&](size_t from, size_t to) {
    has_bare_newline_ = true;
    if (!normalizes) return;
    made.append(octets, given, from - given).append("\r\n");
    given = to;
  };

  size_t at = 0;
  if (is_behind_cr_ && !octets.empty()) {
    is_behind_cr_ = false;
    if (octets.front() != '\n') {
      replace(0, 0);
    } else {
      at = 1;
      if (normalizes) {
        made = "\r\n";
        given = 1;
      }
    }
  }
  size_t cr = 0;
  for (bool is_known = false; at < octets.size();) {
    // Each octet is looked at once for CR and once for LF, however many there are of either.
    if (!is_known || cr < at) cr = std::min(octets.find('\r', at), octets.size());
    is_known = true;
    const size_t lf = octets.substr(0, cr).find('\n', at);
    if (lf != ByteView::npos) {
      replace(lf, lf + 1);
      at = lf + 1;
    } else if (cr == octets.size()) {
      break;
    } else if (cr + 1 == octets.size()) {
      is_behind_cr_ = true;
      if (normalizes) size = cr;
      break;
    } else if (octets[cr + 1] == '\n') {
      at = cr + 2;
    } else {
      replace(cr, cr + 1);
      at = cr + 1;
    }
  }

  if (is_end && is_behind_cr_) {
    is_behind_cr_ = false;
    replace(size, octets.size());
    size = octets.size();
  }
  if (made.empty()) return octets.substr(0, size);
  if (given < size) made.append(octets, given, size - given);
  return made;
}

// --- dots ---------------------------------------------------------------------------------------

ByteView SmtpDotStuffer::Take(ByteView text, std::string& made) {
  if (text.empty()) return text;
  size_t given = 0;
  const auto dot_at = [&](size_t at) {
    made.append(text, given, at - given).append(".");
    given = at;
  };
  if (place_ == Place::kLineStart && text.front() == '.') dot_at(0);
  if (place_ == Place::kBehindCr && text.substr(0, 2) == "\n.") dot_at(1);
  constexpr ByteView kLineOfDot = "\r\n.";
  for (size_t at = text.find(kLineOfDot); at != ByteView::npos; at = text.find(kLineOfDot, at + 2))
    dot_at(at + 2);

  const bool is_lf_behind_cr =
      text.back() == '\n' &&
      (text.size() > 1 ? text[text.size() - 2] == '\r' : place_ == Place::kBehindCr);
  place_ = is_lf_behind_cr       ? Place::kLineStart
           : text.back() == '\r' ? Place::kBehindCr
                                 : Place::kInLine;
  if (made.empty()) return text;
  made.append(text, given);
  return made;
}

}  // namespace postern::proto
