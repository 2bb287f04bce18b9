// smtp_data_test: the end of a message's text, and what must not be taken for it.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/smtp_data.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "lb/base/rng.h"

namespace postern::proto {
namespace {

using Mode = SmtpDataScanner::BareNewlines;

struct Scanned {
  std::string text;
  size_t consumed = 0;
  bool is_end = false;
  bool has_bare_newline = false;
  bool operator==(const Scanned&) const = default;
};

// Feeds pieces of at most piece_bytes (0: random sizes from rng).
Scanned Scan(std::string_view input, Mode mode, size_t piece_bytes, base::Rng* rng = nullptr) {
  SmtpDataScanner scanner(mode);
  Scanned out;
  size_t at = 0;
  while (at < input.size() && !out.is_end) {
    const size_t size = rng != nullptr ? 1 + rng->Below(200) : piece_bytes;
    std::string_view piece = input.substr(at, size);
    at += piece.size();
    while (!out.is_end) {
      const SmtpDataScanner::Step step = scanner.Next(piece);
      out.text += step.piece;
      out.consumed += step.consumed;
      out.is_end = step.is_end;
      piece.remove_prefix(step.consumed);
      if (step.consumed == 0 && step.piece.empty()) break;
    }
    if (!out.is_end) {
      EXPECT_TRUE(piece.empty());
    }
  }
  out.has_bare_newline = scanner.has_bare_newline();
  return out;
}

struct Row {
  const char* input;
  const char* kept;        // text in kKeep; null: it does not end
  const char* normalized;  // null: it does not end
  bool has_bare_newline;
};

// What follows the end is not consumed; a text without an end gives all of it but what is held
// back.
constexpr Row kRows[] = {
    {".\r\n", "", "", false},
    {"a\r\n.\r\n", "a\r\n", "a\r\n", false},
    {"a\r\n.\r\nQUIT\r\n", "a\r\n", "a\r\n", false},
    {"\r\n.\r\n", "\r\n", "\r\n", false},
    {"..\r\n.\r\n", "..\r\n", "..\r\n", false},
    {".a\r\n.\r\n", ".a\r\n", ".a\r\n", false},
    {"a.\r\n.\r\n", "a.\r\n", "a.\r\n", false},
    {"a\r\n..\r\n...\r\n.\r\n", "a\r\n..\r\n...\r\n", "a\r\n..\r\n...\r\n", false},
    // Bare LF around the dot.
    {"a\n.\n", nullptr, nullptr, true},
    {"a\n.\r\n.\r\n", "a\n.\r\n", "a\r\n..\r\n", true},
    {"a\r\n.\nb\r\n.\r\n", "a\r\n.\nb\r\n", "a\r\n..\r\nb\r\n", true},
    {"\n.\r\n.\r\n", "\n.\r\n", "\r\n..\r\n", true},
    {".\n.\r\n", nullptr, nullptr, true},
    {".\n.\r\n.\r\n", ".\n.\r\n", "..\r\n..\r\n", true},
    {".\n\r\n.\r\n", ".\n\r\n", "..\r\n\r\n", true},
    // Bare CR around the dot.
    {"a\r.\r\n.\r\n", "a\r.\r\n", "a\r\n..\r\n", true},
    {"a\r\n.\rb\r\n.\r\n", "a\r\n.\rb\r\n", "a\r\n..\r\nb\r\n", true},
    {"a\r\n.\r.\r\n.\r\n", "a\r\n.\r.\r\n", "a\r\n..\r\n..\r\n", true},
    {"a\r\r\n.\r\n", "a\r\r\n", "a\r\n\r\n", true},
    {"\r\r\r\n.\r\n", "\r\r\r\n", "\r\n\r\n\r\n", true},
    {"a\r\n.\r\r\n.\r\n", "a\r\n.\r\r\n", "a\r\n..\r\n\r\n", true},
    {"a\rb\nc\r\n.\r\n", "a\rb\nc\r\n", "a\r\nb\r\nc\r\n", true},
    // A mixture that some servers take for an end.
    {"a\n\r\n.\r\n", "a\n\r\n", "a\r\n\r\n", true},
    {"a\r\n.\n\r\n.\r\n", "a\r\n.\n\r\n", "a\r\n..\r\n\r\n", true},
};

TEST(SmtpDataTest, FindsTheEndAndNothingElse) {
  for (const Row& row : kRows) {
    const std::string_view input = row.input;
    for (size_t piece = 1; piece <= input.size(); ++piece) {
      const Scanned kept = Scan(input, Mode::kKeep, piece);
      EXPECT_EQ(kept.is_end, row.kept != nullptr) << row.input;
      EXPECT_EQ(kept.has_bare_newline, row.has_bare_newline) << row.input;
      if (row.kept != nullptr) {
        EXPECT_EQ(kept.text, row.kept) << row.input << " in pieces of " << piece;
      }
      const Scanned made = Scan(input, Mode::kNormalize, piece);
      EXPECT_EQ(made.is_end, row.normalized != nullptr) << row.input;
      EXPECT_EQ(made.has_bare_newline, row.has_bare_newline) << row.input;
      if (row.normalized != nullptr) {
        EXPECT_EQ(made.text, row.normalized) << row.input << " in pieces of " << piece;
      }
    }
  }
}

TEST(SmtpDataTest, LeavesWhatIsBehindTheEnd) {
  EXPECT_EQ(Scan("a\r\n.\r\nQUIT\r\n", Mode::kKeep, 100).consumed, 6U);
}

// One byte at a time, with the state of the grammar alone: what the fast scan must agree with.
Scanned Reference(std::string_view input) {
  Scanned out;
  std::string held;
  bool at_start = true;
  char before = '\n';
  before = 0;
  for (const char c : input) {
    ++out.consumed;
    if (at_start && held.empty() && c == '.') {
      held = ".";
      continue;
    }
    if (held == "." && c == '\r') {
      held = ".\r";
      continue;
    }
    if (held == ".\r" && c == '\n') {
      out.is_end = true;
      return out;
    }
    if (!held.empty()) {
      out.text += held;
      before = held.back();
      held.clear();
    }
    if ((before == '\r') != (c == '\n')) out.has_bare_newline = true;
    at_start = before == '\r' && c == '\n';
    out.text += c;
    before = c;
  }
  return out;
}

TEST(SmtpDataTest, AgreesWithTheGrammarOnRandomTexts) {
  base::SeededRng rng(7);
  constexpr std::string_view kAlphabets[] = {"\r\n.", "\r\n.ab",
                                             "\r\n\r\n.abcdefghijklmnopqrstuvw"};
  for (int round = 0; round < 3000; ++round) {
    const std::string_view alphabet = kAlphabets[round % 3];
    std::string input;
    const size_t size = rng.Below(round % 7 == 0 ? 700 : 90);
    while (input.size() < size) {
      // Whole lines are common, so that long clean stretches occur.
      if (rng.Below(4) == 0) {
        input += alphabet[rng.Below(alphabet.size())];
      } else {
        input += std::string(rng.Below(80), 'x') + "\r\n";
      }
    }
    Scanned wanted = Reference(input);
    const Scanned whole = Scan(input, Mode::kKeep, input.size() + 1);
    const Scanned cut = Scan(input, Mode::kKeep, 0, &rng);
    EXPECT_EQ(whole, cut) << input;
    EXPECT_EQ(whole.is_end, wanted.is_end) << input;
    EXPECT_EQ(whole.has_bare_newline, wanted.has_bare_newline) << input;
    if (wanted.is_end) {
      EXPECT_EQ(whole.text, wanted.text) << input;
      EXPECT_EQ(whole.consumed, wanted.consumed) << input;
    }
  }
}

// What is made of any input has no bare newline, and nothing in it ends it for a strict reader, nor
// for one that takes bare newlines for line ends.
TEST(SmtpDataTest, MakesTextThatEndsForNobody) {
  base::SeededRng rng(11);
  for (int round = 0; round < 5000; ++round) {
    std::string input;
    const size_t size = rng.Below(60);
    for (size_t i = 0; i < size; ++i) input += "\r\n.ax"[rng.Below(5)];
    input += "\r\n.\r\n";
    const Scanned made = Scan(input, Mode::kNormalize, 0, &rng);
    EXPECT_EQ(made.text, Scan(input, Mode::kNormalize, input.size()).text) << input;
    const Scanned again = Reference(made.text + (made.is_end ? ".\r\n" : ""));
    EXPECT_FALSE(again.has_bare_newline) << input;
    EXPECT_EQ(again.text, made.text) << input;
    EXPECT_EQ(("\r\n" + made.text).find("\r\n.\r\n"), std::string::npos) << input;
  }
}

TEST(SmtpDataTest, GivesLongCleanTextInOnePiece) {
  std::string input;
  for (int i = 0; i < 2000; ++i) input += "..a line with stuffed dots. and others.\r\n";
  SmtpDataScanner scanner(Mode::kKeep);
  const SmtpDataScanner::Step step = scanner.Next(input);
  EXPECT_EQ(step.piece.size(), input.size());
  EXPECT_EQ(step.piece.data(), input.data());
}

}  // namespace
}  // namespace postern::proto
