// smtp_smuggling_test: every spelling of an end of data that some server takes for one, in every
// mode, by DATA and in chunks, cut at every place: exactly one message arrives, with the octets
// that the mode promises, or none.
//
// The lists are made of two halves around a dot; what arrived is compared octet for octet with a
// model that works on lines, not on states.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "test/support/smtp_bench.h"

namespace postern::proto {
namespace {

using conf::BareNewline;

constexpr std::string_view kEhlo = "EHLO client.example\r\n";
constexpr std::string_view kEnvelope = "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n";
// What a server runs that has taken what stands before it for the end.
constexpr std::string_view kSmuggled =
    "MAIL FROM:<evil@x.example>\r\nRCPT TO:<v@y.example>\r\nDATA\r\nsmuggled\r\n";

enum class Form { kData, kChunks, kChunksToData };

// Before or behind the dot.
std::vector<std::string> Halves() {
  std::vector<std::string> halves;
  const std::array<std::string, 4> units = {"\r", "\n", "\r\n", std::string(1, '\0')};
  halves.emplace_back();
  for (const std::string& first : units) {
    halves.push_back(first);
    for (const std::string& second : units) halves.push_back(first + second);
  }
  return halves;
}

struct Line {
  std::string text;
  std::string end;  // CRLF, CR, LF or, of the last one, nothing
};

std::vector<Line> LinesOf(std::string_view text) {
  std::vector<Line> lines;
  while (!text.empty()) {
    Line line;
    const size_t size = std::min(text.find_first_of("\r\n"), text.size());
    line.text = text.substr(0, size);
    text.remove_prefix(size);
    line.end = text.substr(0, text.substr(0, 2) == "\r\n" ? 2 : 1);
    text.remove_prefix(line.end.size());
    lines.push_back(line);
  }
  return lines;
}

bool HasBareNewline(std::string_view text) {
  for (const Line& line : LinesOf(text))
    if (line.end.size() == 1) return true;
  return false;
}

// Text as a client sends it by DATA, with each bare newline made a CRLF.
std::string NormalizedData(std::string_view text) {
  std::string out;
  bool is_made = false;
  for (const Line& line : LinesOf(text)) {
    const bool ends_made = line.end.size() == 1;
    // A dot that begins a line of our making, or would be alone on one, is text.
    if (line.text.substr(0, 1) == "." && (is_made || (line.text == "." && ends_made))) out += '.';
    out += line.text + (line.end.empty() ? "" : "\r\n");
    is_made = ends_made;
  }
  return out;
}

std::string NormalizedOctets(std::string_view text) {
  std::string out;
  for (const Line& line : LinesOf(text)) out += line.text + (line.end.empty() ? "" : "\r\n");
  return out;
}

// Octets of a message as DATA wants them, up to the lone dot.
std::string Dotted(std::string_view text) {
  std::string out(text);
  if (out.substr(0, 1) == ".") out.insert(0, 1, '.');
  for (size_t at = out.find("\r\n."); at != std::string::npos; at = out.find("\r\n.", at + 3))
    out.insert(at + 2, 1, '.');
  if (!out.empty() && !out.ends_with("\r\n")) out += "\r\n";
  return out;
}

// Where a server would see the end that takes any CR and LF for a line end; npos: nowhere.
size_t LenientEnd(std::string_view text) {
  const std::string lines = "\n" + std::string(text);
  for (size_t at = lines.find('.', 1); at != std::string::npos; at = lines.find('.', at + 1)) {
    const char before = lines[at - 1];
    if ((before == '\r' || before == '\n') && at + 1 < lines.size() &&
        (lines[at + 1] == '\r' || lines[at + 1] == '\n'))
      return at - 1;
  }
  return std::string::npos;
}

class Trial {
 public:
  Trial(BareNewline mode, Form form) : mode_(mode), form_(form) {
    bench_.capabilities.emplace_back("CHUNKING");
    bench_.settings.bare_newline = mode;
    if (form == Form::kChunks) b1().keywords.emplace_back("CHUNKING");
    bench_.Start();
    bench_.Send(std::string(kEhlo) + std::string(kEnvelope));
    EXPECT_EQ(bench_.Codes(), "220 250 250 250");
    if (form == Form::kData) {
      bench_.Send("DATA\r\n");
      EXPECT_EQ(bench_.Codes(), "354");
    }
    start_ = b1().octets.size();
  }

  // By DATA the text ends in CRLF; it is cut at `cut`, where chunks end too (npos: byte by byte).
  void Send(const std::string& text, size_t cut) {
    if (form_ == Form::kData) {
      const std::string all = text + ".\r\n";
      if (cut == std::string::npos) {
        bench_.cut = test::SmtpBench::Cut::kByByte;
        return bench_.Send(all);
      }
      bench_.Send(all.substr(0, cut));
      return bench_.Send(all.substr(cut));
    }
    if (cut == std::string::npos) {
      bench_.cut = test::SmtpBench::Cut::kByByte;
      cut = text.size();
    }
    bench_.Send("BDAT " + std::to_string(cut) + "\r\n" + text.substr(0, cut));
    bench_.Send("BDAT " + std::to_string(text.size() - cut) + " LAST\r\n" + text.substr(cut));
  }

  void Check(const std::string& text) {
    const std::string arrived = b1().octets.substr(start_);
    const std::string codes = bench_.Codes();
    if (mode_ == BareNewline::kReject && HasBareNewline(text)) {
      EXPECT_EQ(codes.substr(codes.size() - 3), "550");
      EXPECT_TRUE(b1().messages.empty());
      EXPECT_EQ(arrived.find("LAST"), std::string::npos);
      EXPECT_FALSE(form_ != Form::kChunks && arrived.ends_with("\r\n.\r\n"));
      return;
    }
    EXPECT_EQ(codes.substr(codes.size() - 3), "250");
    ASSERT_EQ(b1().messages.size(), 1U);
    const bool normalizes = mode_ == BareNewline::kNormalize;
    const std::string octets = normalizes ? NormalizedOctets(text) : text;
    switch (form_) {
      case Form::kData: {
        const std::string wanted = normalizes ? NormalizedData(text) : text;
        EXPECT_EQ(arrived, wanted + ".\r\n");
        break;
      }
      case Form::kChunks:
        EXPECT_EQ(b1().messages[0].text, octets);
        EXPECT_TRUE(b1().messages[0].is_chunked);
        EXPECT_TRUE(arrived.ends_with("BDAT 0 LAST\r\n"));
        break;
      case Form::kChunksToData:
        EXPECT_EQ(arrived, "DATA\r\n" + Dotted(octets) + ".\r\n");
        break;
    }
    // No server sees an end before the end, but where a mode passes on what it is asked to pass.
    if (mode_ == BareNewline::kPass || form_ == Form::kChunks) return;
    const size_t begin = form_ == Form::kData ? 0 : std::string_view("DATA\r\n").size();
    EXPECT_EQ(LenientEnd(arrived.substr(begin)), arrived.size() - begin - 3);
  }

 private:
  test::FakeBackend& b1() { return bench_.backend("B1"); }

  BareNewline mode_;
  Form form_;
  test::SmtpBench bench_;
  size_t start_ = 0;
};

std::string Printed(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '\r' ? "CR" : c == '\n' ? "LF" : c == '\0' ? "NUL" : ".";
  return out;
}

void Try(Form form, const std::string& before, const std::string& behind) {
  const std::string ending = before + "." + behind;
  // By DATA that is the end, and the rest are commands.
  if (form == Form::kData && ("first" + ending).find("\r\n.\r\n") != std::string::npos) return;
  const std::string text = "first" + ending + std::string(kSmuggled);
  for (const BareNewline mode :
       {BareNewline::kReject, BareNewline::kNormalize, BareNewline::kPass}) {
    std::vector<size_t> cuts = {std::string::npos};
    for (size_t at = 5; at <= 5 + ending.size(); ++at) cuts.push_back(at);
    for (const size_t cut : cuts) {
      SCOPED_TRACE(Printed(ending) + " mode " + std::to_string(static_cast<int>(mode)) + " cut " +
                   std::to_string(cut));
      Trial trial(mode, form);
      trial.Send(text, cut);
      trial.Check(text);
      if (testing::Test::HasFailure()) return;
    }
  }
}

class SmtpSmugglingTest : public testing::TestWithParam<Form> {};

TEST_P(SmtpSmugglingTest, NoSpellingOfAnEndIsOneButTheEnd) {
  int num_endings = 0;
  for (const std::string& before : Halves())
    for (const std::string& behind : Halves()) {
      Try(GetParam(), before, behind);
      if (HasFailure()) return;
      ++num_endings;
    }
  EXPECT_EQ(num_endings, 21 * 21);
}

std::string FormName(const testing::TestParamInfo<Form>& info) {
  switch (info.param) {
    case Form::kData:
      return "Data";
    case Form::kChunks:
      return "Chunks";
    case Form::kChunksToData:
      break;
  }
  return "ChunksToData";
}

INSTANTIATE_TEST_SUITE_P(Forms, SmtpSmugglingTest,
                         testing::Values(Form::kData, Form::kChunks, Form::kChunksToData),
                         FormName);

// The oracle itself: it finds what it is there to find.
TEST(SmtpSmugglingOracleTest, SeesLenientEnds) {
  for (const char* text : {"a\n.\nb", "a\r.\rb", "a\r\n.\nb", "a\n.\r\nb"})
    EXPECT_EQ(LenientEnd(text), std::string_view(text).find('.')) << Printed(text);
  EXPECT_EQ(LenientEnd("a\r\n..\r\nb.\r\n"), std::string::npos);
}

}  // namespace
}  // namespace postern::proto
