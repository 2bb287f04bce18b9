// smtp_data_fuzz: message text: the same in any cut, ended by CRLF.CRLF alone, and what is made of
// bare newlines ends for no reader.
// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "lb/base/check.h"
#include "lb/proto/smtp_data.h"

namespace {

using postern::proto::SmtpDataScanner;
using Mode = SmtpDataScanner::BareNewlines;

struct Scanned {
  std::string text;
  size_t consumed = 0;
  bool is_end = false;
  bool has_bare_newline = false;
  bool operator==(const Scanned&) const = default;
};

Scanned Scan(std::string_view input, Mode mode, size_t piece_bytes) {
  SmtpDataScanner scanner(mode);
  Scanned out;
  for (size_t at = 0; at < input.size() && !out.is_end; at += piece_bytes) {
    std::string_view piece = input.substr(at, piece_bytes);
    while (!out.is_end) {
      const SmtpDataScanner::Step step = scanner.Next(piece);
      POSTERN_CHECK(step.consumed <= piece.size());
      out.text += step.piece;
      out.consumed += step.consumed;
      out.is_end = step.is_end;
      piece.remove_prefix(step.consumed);
      if (step.consumed == 0 && step.piece.empty()) break;
    }
    POSTERN_CHECK(out.is_end || piece.empty());
  }
  out.has_bare_newline = scanner.has_bare_newline();
  return out;
}

bool HasBareNewline(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r')) return true;
    if (text[i] == '\r' && (i + 1 == text.size() || text[i + 1] != '\n')) return true;
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t piece = 1 + data[0] % 100;

  const Scanned kept = Scan(input, Mode::kKeep, input.size() + 1);
  POSTERN_CHECK(kept == Scan(input, Mode::kKeep, 1));
  POSTERN_CHECK(kept == Scan(input, Mode::kKeep, piece));
  const std::string lines = "\r\n" + std::string(input);
  const size_t end = lines.find("\r\n.\r\n");
  POSTERN_CHECK(kept.is_end == (end != std::string::npos));
  if (kept.is_end) {
    // Everything before the end, as it is.
    POSTERN_CHECK(kept.text == input.substr(0, end));
    POSTERN_CHECK(kept.consumed == end + 3);
    POSTERN_CHECK(kept.has_bare_newline == HasBareNewline(kept.text));
  }

  const Scanned made = Scan(input, Mode::kNormalize, input.size() + 1);
  POSTERN_CHECK(made == Scan(input, Mode::kNormalize, 1));
  POSTERN_CHECK(made == Scan(input, Mode::kNormalize, piece));
  POSTERN_CHECK(made.is_end == kept.is_end && made.consumed == kept.consumed);
  POSTERN_CHECK(!HasBareNewline(made.text) || !made.is_end);
  POSTERN_CHECK(("\r\n" + made.text).find("\r\n.\r\n") == std::string::npos);
  if (made.is_end && !made.has_bare_newline) POSTERN_CHECK(made.text == kept.text);
  return 0;
}
