// line_reader: CRLF lines with a limit.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/line_reader.h"

namespace postern::proto {

LineRead ReadLine(base::ByteView input, size_t max_bytes) {
  const base::ByteView window = input.substr(0, max_bytes + 2);
  const size_t end = window.find('\n');
  if (end == base::ByteView::npos) {
    const bool is_full = window.size() == max_bytes + 2;
    return {is_full ? LineVerdict::kTooLong : LineVerdict::kNeedMore, {}, 0};
  }
  const bool has_cr = end > 0 && window[end - 1] == '\r';
  const base::ByteView text = window.substr(0, has_cr ? end - 1 : end);
  if (text.size() > max_bytes) return {LineVerdict::kTooLong, {}, 0};
  LineVerdict verdict = LineVerdict::kLine;
  if (!has_cr) {
    verdict = LineVerdict::kBareLf;
  } else if (text.find('\r') != base::ByteView::npos) {
    verdict = LineVerdict::kBareCr;
  } else if (text.find('\0') != base::ByteView::npos) {
    verdict = LineVerdict::kNul;
  }
  return {verdict, text, end + 1};
}

Skipped SkipLine(base::ByteView input) {
  const size_t end = input.find('\n');
  if (end == base::ByteView::npos) return {input.size(), false};
  return {end + 1, true};
}

}  // namespace postern::proto
