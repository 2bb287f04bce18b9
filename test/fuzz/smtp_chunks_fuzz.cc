// smtp_chunks_fuzz: BDAT's argument, and octets of chunks: the same in any cut, with every newline
// that stands alone seen, and dotted so that nothing in them ends them.
// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "lb/base/check.h"
#include "lb/proto/smtp_chunks.h"

namespace {

using namespace postern::proto;
using Mode = SmtpChunkScanner::BareNewlines;

void CheckArgs(std::string_view args) {
  const SmtpChunk chunk = ParseBdatArgs(args);
  if (!chunk.is_valid) return;
  // Digits that spell the size, and LAST or nothing.
  const std::string_view digits = args.substr(0, args.find_first_not_of("0123456789"));
  const size_t zeros = std::min(digits.find_first_not_of('0'), digits.size() - 1);
  POSTERN_CHECK(digits.substr(zeros) == std::to_string(chunk.size));
  POSTERN_CHECK(chunk.is_last == (digits.size() < args.size()));
}

struct Scanned {
  std::string text;
  bool has_bare_newline = false;
  bool operator==(const Scanned&) const = default;
};

Scanned Scan(std::string_view octets, Mode mode, size_t piece_bytes) {
  SmtpChunkScanner scanner(mode);
  Scanned out;
  do {
    const std::string_view piece = octets.substr(0, piece_bytes);
    octets.remove_prefix(piece.size());
    std::string made;
    out.text += scanner.Take(piece, octets.empty(), made);
  } while (!octets.empty());
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

std::string Dot(std::string_view text, size_t piece_bytes) {
  SmtpDotStuffer stuffer;
  std::string out;
  for (; !text.empty(); text.remove_prefix(std::min(text.size(), piece_bytes))) {
    std::string made;
    out += stuffer.Take(text.substr(0, piece_bytes), made);
  }
  POSTERN_CHECK(stuffer.is_at_line_start() == (out.empty() || out.ends_with("\r\n")));
  return out;
}

// As a server does it.
std::string Undot(std::string_view dotted) {
  std::string text = "\r\n" + std::string(dotted);
  for (size_t at = text.find("\r\n."); at != std::string::npos; at = text.find("\r\n.", at + 2))
    text.erase(at + 2, 1);
  return text.substr(2);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t piece = 1 + data[0] % 100;
  CheckArgs(input);

  const Scanned kept = Scan(input, Mode::kKeep, input.size() + 1);
  POSTERN_CHECK(kept == Scan(input, Mode::kKeep, 1));
  POSTERN_CHECK(kept == Scan(input, Mode::kKeep, piece));
  POSTERN_CHECK(kept.text == input);
  POSTERN_CHECK(kept.has_bare_newline == HasBareNewline(input));

  const Scanned made = Scan(input, Mode::kNormalize, input.size() + 1);
  POSTERN_CHECK(made == Scan(input, Mode::kNormalize, 1));
  POSTERN_CHECK(made == Scan(input, Mode::kNormalize, piece));
  POSTERN_CHECK(made.has_bare_newline == kept.has_bare_newline);
  POSTERN_CHECK(!HasBareNewline(made.text));
  if (!made.has_bare_newline) POSTERN_CHECK(made.text == input);

  const std::string dotted = Dot(input, input.size() + 1);
  POSTERN_CHECK(dotted == Dot(input, 1));
  POSTERN_CHECK(dotted == Dot(input, piece));
  POSTERN_CHECK(("\r\n" + dotted).find("\r\n.\r\n") == std::string::npos);
  POSTERN_CHECK(Undot(dotted) == input);
  return 0;
}
