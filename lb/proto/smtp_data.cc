// smtp_data: the text of a message behind 354: finds its end, and nothing else that looks like it.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/smtp_data.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace postern::proto {
namespace {

using base::ByteView;

// Where the scan is: what came before the next byte.
struct Before {
  bool is_cr = false;          // a CR
  bool is_line_start = false;  // CRLF, or the start of the text
};

#if defined(__SSE2__)
// Skips blocks of 64 bytes in which every CR is followed by LF, every LF is preceded by CR, and no
// dot follows an LF. Returns how many bytes were skipped.
size_t SkipPlainBlocks(const char* text, size_t size, Before& before) {
  const __m128i all_cr = _mm_set1_epi8('\r');
  const __m128i all_lf = _mm_set1_epi8('\n');
  const __m128i all_dot = _mm_set1_epi8('.');
  uint64_t is_cr = before.is_cr ? 1 : 0;
  uint64_t is_start = before.is_line_start ? 1 : 0;
  size_t at = 0;
  for (; at + 64 <= size; at += 64) {
    uint64_t cr = 0;
    uint64_t lf = 0;
    uint64_t dot = 0;
    for (unsigned part = 0; part < 4; ++part) {
      const __m128i bytes =
          _mm_loadu_si128(reinterpret_cast<const __m128i*>(text + at + size_t{16} * part));
      const auto mask = [&bytes](__m128i wanted) {
        return static_cast<uint64_t>(
            static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, wanted))));
      };
      cr |= mask(all_cr) << (16 * part);
      lf |= mask(all_lf) << (16 * part);
      dot |= mask(all_dot) << (16 * part);
    }
    if (((cr << 1) | is_cr) != lf || (((lf << 1) | is_start) & dot) != 0) break;
    is_cr = cr >> 63;
    is_start = lf >> 63;
  }
  before.is_cr = is_cr != 0;
  before.is_line_start = is_start != 0;
  return at;
}
#else
size_t SkipPlainBlocks(const char* /*text*/, size_t /*size*/, Before& /*before*/) {
  return 0;
}
#endif

// The first byte that is special: a dot at a line's start, an LF behind no CR, or any other byte
// behind a CR. size if there is none; `before` then describes what comes next.
size_t FindSpecial(const char* text, size_t size, Before& before) {
  size_t at = 0;
  while (at < size) {
    at += SkipPlainBlocks(text + at, size - at, before);
    const size_t end = size - at < 64 ? size : at + 64;
    for (; at < end; ++at) {
      const char c = text[at];
      if (before.is_cr ? c != '\n' : c == '\n') return at;
      if (c == '.' && before.is_line_start) return at;
      before.is_line_start = c == '\n';
      before.is_cr = c == '\r';
    }
  }
  return size;
}

}  // namespace

SmtpDataScanner::Step SmtpDataScanner::Next(ByteView input) {
  if (state_ == State::kMakeEnd) {
    state_ = State::kMadeStart;
    return {0, "\r\n", false};
  }
  if (input.empty()) return {};
  const char first = input.front();
  switch (state_) {
    case State::kDot:
      if (first == '\r') {
        state_ = State::kDotCr;
        return {1, {}, false};
      }
      return HeldDot(first);
    case State::kDotCr:
      if (first == '\n') {
        state_ = State::kLineStart;
        return {1, {}, true};
      }
      return HeldDot('\r');
    case State::kMadeStart:
      if (first == '.') {
        state_ = State::kInLine;
        return {1, "..", false};
      }
      return ScanText(input);
    case State::kCr:
      if (mode_ == BareNewlines::kNormalize) {
        if (first == '\n') {
          state_ = State::kLineStart;
          return {1, "\r\n", false};
        }
        has_bare_newline_ = true;
        state_ = State::kMadeStart;
        return {0, "\r\n", false};
      }
      return ScanText(input);
    case State::kLineStart:
    case State::kInLine:
      return ScanText(input);
    case State::kMakeEnd:
      break;
  }
  return {};
}

// Behind CRLF "." with `next` after it, which does not make it the terminator. For a CR, the held
// bytes are "." CR, and what follows is no LF.
SmtpDataScanner::Step SmtpDataScanner::HeldDot(char next) {
  const bool is_alone = next == '\r' || next == '\n';
  if (is_alone) has_bare_newline_ = true;
  if (mode_ == BareNewlines::kNormalize && is_alone) {
    // With its made line end this would be a line of one dot: a terminator.
    state_ = State::kMadeStart;
    return {next == '\n' ? size_t{1} : size_t{0}, "..\r\n", false};
  }
  state_ = State::kInLine;
  return next == '\r' ? Step{0, ".\r", false} : Step{0, ".", false};
}

// A dot at the start of a line, input[at]; what stands before it goes out with this step.
SmtpDataScanner::Step SmtpDataScanner::AtDot(ByteView input, size_t at) {
  const ByteView before = input.substr(0, at);
  const size_t left = input.size() - at;
  if (left >= 3 && input[at + 1] == '\r' && input[at + 2] == '\n') {
    state_ = State::kLineStart;
    return {at + 3, before, true};
  }
  if (left >= 2 && input[at + 1] == '\r') {
    state_ = State::kDotCr;
    return {at + 2, before, false};
  }
  state_ = State::kDot;
  return {at + 1, before, false};
}

SmtpDataScanner::Step SmtpDataScanner::ScanText(ByteView input) {
  Before before;
  before.is_line_start = state_ == State::kLineStart;
  before.is_cr = state_ == State::kCr;
  size_t at = 0;
  while (true) {
    at += FindSpecial(input.data() + at, input.size() - at, before);
    if (at == input.size()) break;
    if (before.is_line_start && input[at] == '.') {
      // A dot that certainly belongs to the text does not cut it.
      if (at + 1 >= input.size() || input[at + 1] == '\r' || input[at + 1] == '\n')
        return AtDot(input, at);
      before = Before{};
      ++at;
      continue;
    }
    has_bare_newline_ = true;
    if (mode_ == BareNewlines::kNormalize) {
      state_ = State::kMakeEnd;
      if (before.is_cr) return {at, input.substr(0, at - 1), false};
      return {at + 1, input.substr(0, at), false};
    }
    // Kept as it is. Behind a bare CR the byte is looked at again, on its own.
    if (!before.is_cr) ++at;
    before = Before{};
  }
  state_ = before.is_cr ? State::kCr : before.is_line_start ? State::kLineStart : State::kInLine;
  if (before.is_cr && mode_ == BareNewlines::kNormalize)
    return {input.size(), input.substr(0, input.size() - 1), false};
  return {input.size(), input, false};
}

}  // namespace postern::proto
