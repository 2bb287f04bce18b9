// smtp_chunks_test: sizes of chunks, newlines that stand alone in them, and dots for DATA.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/smtp_chunks.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "lb/base/rng.h"

namespace postern::proto {
namespace {

using Mode = SmtpChunkScanner::BareNewlines;

TEST(SmtpChunksTest, ReadsASize) {
  struct Row {
    const char* args;
    uint64_t size;
    bool is_last;
  };
  for (const Row& row : std::initializer_list<Row>{{"0", 0, false},
                                                   {"100", 100, false},
                                                   {"007", 7, false},
                                                   {"5 LAST", 5, true},
                                                   {"5 last", 5, true},
                                                   {"0 \t Last", 0, true},
                                                   {"18446744073709551615", UINT64_MAX, false}}) {
    const SmtpChunk chunk = ParseBdatArgs(row.args);
    EXPECT_TRUE(chunk.is_valid) << row.args;
    EXPECT_EQ(chunk.size, row.size) << row.args;
    EXPECT_EQ(chunk.is_last, row.is_last) << row.args;
  }
}

TEST(SmtpChunksTest, TakesNothingElseForASize) {
  for (const char* args : {"",
                           "LAST",
                           "x",
                           "-1",
                           "+5",
                           "0x10",
                           "5x",
                           "5LAST",
                           "5 LAS",
                           "5 LAST x",
                           "5 LASTLAST",
                           "5,5",
                           "5.0",
                           "1e3",
                           "5 5",
                           " 5",
                           "5 ",
                           "18446744073709551616",
                           "18446744073709551620",
                           "99999999999999999999",
                           "340282366920938463463374607431768211456"})
    EXPECT_FALSE(ParseBdatArgs(args).is_valid) << args;
}

// --- newlines ----------------------------------------------------------------------------------

struct Scanned {
  std::string text;
  bool has_bare_newline = false;
  bool operator==(const Scanned&) const = default;
};

// In pieces of piece_bytes (0: random sizes).
Scanned Scan(std::string_view octets, Mode mode, size_t piece_bytes, base::Rng* rng = nullptr) {
  SmtpChunkScanner scanner(mode);
  Scanned out;
  while (true) {
    const size_t size = rng != nullptr ? rng->Below(20) : piece_bytes;
    const std::string_view piece = octets.substr(0, size);
    octets.remove_prefix(piece.size());
    std::string made;
    out.text += scanner.Take(piece, octets.empty(), made);
    if (octets.empty()) break;
  }
  out.has_bare_newline = scanner.has_bare_newline();
  return out;
}

// What it should be, a byte at a time.
Scanned Told(std::string_view octets, Mode mode) {
  Scanned out;
  for (size_t i = 0; i < octets.size(); ++i) {
    if (octets.substr(i, 2) == "\r\n") {
      out.text += "\r\n";
      ++i;
    } else if (octets[i] == '\r' || octets[i] == '\n') {
      out.has_bare_newline = true;
      if (mode == Mode::kKeep) {
        out.text += octets[i];
      } else {
        out.text += "\r\n";
      }
    } else {
      out.text += octets[i];
    }
  }
  return out;
}

TEST(SmtpChunksTest, FindsNewlinesThatStandAlone) {
  EXPECT_FALSE(Scan("one\r\n.\r\n\r\n", Mode::kKeep, 100).has_bare_newline);
  for (const char* text : {"\n", "\r", "a\nb", "a\rb", "\r\r\n", "\r\n\n", "\n\r", "end\r"}) {
    EXPECT_TRUE(Scan(text, Mode::kKeep, 100).has_bare_newline) << text;
    EXPECT_EQ(Scan(text, Mode::kKeep, 100).text, text);
  }
  EXPECT_EQ(Scan("a\nb\rc\r\r\nd\n\re\r", Mode::kNormalize, 100).text,
            "a\r\nb\r\nc\r\n\r\nd\r\n\r\ne\r\n");
}

TEST(SmtpChunksTest, SeesTheSameInAnyCut) {
  base::SeededRng rng(7);
  for (int i = 0; i < 3000; ++i) {
    std::string octets;
    for (uint64_t left = rng.Below(40); left > 0; --left)
      octets += std::string_view("\r\n.ax\0\r\n", 8)[rng.Below(8)];
    for (const Mode mode : {Mode::kKeep, Mode::kNormalize}) {
      const Scanned told = Told(octets, mode);
      EXPECT_EQ(Scan(octets, mode, octets.size() + 1), told);
      EXPECT_EQ(Scan(octets, mode, 1), told);
      EXPECT_EQ(Scan(octets, mode, 0, &rng), told);
    }
  }
}

// Each byte is looked at a few times at most, however many newlines there are.
TEST(SmtpChunksTest, WholeTextsOfNewlinesAreNoTrouble) {
  for (const char* unit : {"\n", "\r", "\r\n", "\n\r"}) {
    std::string octets;
    for (int i = 0; i < 1'000'000; ++i) octets += unit;
    EXPECT_EQ(Scan(octets, Mode::kNormalize, octets.size()), Told(octets, Mode::kNormalize));
  }
}

// --- dots --------------------------------------------------------------------------------------

std::string Dotted(std::string_view text, size_t piece_bytes, bool* is_at_line_start = nullptr,
                   base::Rng* rng = nullptr) {
  SmtpDotStuffer stuffer;
  std::string out;
  while (!text.empty()) {
    const size_t size = rng != nullptr ? 1 + rng->Below(6) : piece_bytes;
    std::string made;
    out += stuffer.Take(text.substr(0, size), made);
    text.remove_prefix(std::min(size, text.size()));
  }
  if (is_at_line_start != nullptr) *is_at_line_start = stuffer.is_at_line_start();
  return out;
}

TEST(SmtpDotStufferTest, DoublesDotsThatBeginALine) {
  struct Row {
    const char* text;
    const char* dotted;
    bool is_at_line_start;
  };
  for (const Row& row :
       std::initializer_list<Row>{{"", "", true},
                                  {".", "..", false},
                                  {".\r\n", "..\r\n", true},
                                  {"a.\r\n.b\r\n..\r\n", "a.\r\n..b\r\n...\r\n", true},
                                  {"\r\n.\r\n.\r\n", "\r\n..\r\n..\r\n", true},
                                  {"no end", "no end", false},
                                  {"half\r", "half\r", false},
                                  // A newline that stands alone ends no line.
                                  {"a\n.\r.\n", "a\n.\r.\n", false},
                                  {"\n.\n", "\n.\n", false}})
    for (const size_t cut : {1, 2, 3, 100}) {
      bool is_at_line_start = false;
      EXPECT_EQ(Dotted(row.text, cut, &is_at_line_start), row.dotted);
      EXPECT_EQ(is_at_line_start, row.is_at_line_start) << row.text;
    }
}

TEST(SmtpDotStufferTest, DoublesTheSameInAnyCut) {
  base::SeededRng rng(8);
  for (int i = 0; i < 3000; ++i) {
    std::string text;
    for (uint64_t left = rng.Below(40); left > 0; --left) text += "\r\n..\r\nx"[rng.Below(7)];
    const std::string whole = Dotted(text, text.size() + 1);
    EXPECT_EQ(Dotted(text, 1), whole);
    EXPECT_EQ(Dotted(text, 0, nullptr, &rng), whole);
    EXPECT_EQ(("\r\n" + whole).find("\r\n.\r\n"), std::string::npos) << "it ends before its end";
  }
}

}  // namespace
}  // namespace postern::proto
