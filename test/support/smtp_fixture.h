// smtp_fixture: a SmtpBench as a GoogleTest fixture; every test runs with bytes whole, one by one,
// and in seeded pieces.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "test/support/smtp_bench.h"

namespace postern::test {

class SmtpFixture : public testing::TestWithParam<SmtpBench::Cut> {
 protected:
  SmtpFixture() { bench_.cut = GetParam(); }
  // Greeting and EHLO are done.
  void Begin() {
    bench_.Start();
    bench_.Line("EHLO client.example");
    ASSERT_EQ(bench_.Codes(), "220 250");
  }
  // The codes of the replies to these lines.
  std::string Ask(std::string_view line) {
    bench_.Line(line);
    return bench_.Codes();
  }
  // The replies, in full.
  std::string Say(std::string_view line) {
    bench_.Line(line);
    return bench_.Replies();
  }
  // MAIL, one RCPT and DATA in one packet.
  void Envelope(const std::string& recipient = "b@y.example") {
    bench_.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<" + recipient + ">\r\nDATA\r\n");
  }
  void Text(std::string_view text = "hello\r\n") { bench_.Send(std::string(text) + ".\r\n"); }
  std::string Deliver(const std::string& recipient = "b@y.example") {
    Envelope(recipient);
    Text();
    return bench_.Codes();
  }
  FakeBackend& b1() { return bench_.backend("B1"); }
  FakeBackend& b2() { return bench_.backend("B2"); }
  int CountEvents(std::string_view word) const {
    int count = 0;
    for (const std::string& event : bench_.events)
      if (event == word) ++count;
    return count;
  }
  // How often a backend was sent a line that begins so.
  static int CountLines(const FakeBackend& backend, std::string_view begin) {
    int count = 0;
    for (const std::string& line : backend.lines)
      if (line.compare(0, begin.size(), begin) == 0) ++count;
    return count;
  }

  SmtpBench bench_;
};

inline std::string CutName(const testing::TestParamInfo<SmtpBench::Cut>& info) {
  switch (info.param) {
    case SmtpBench::Cut::kWhole:
      return "Whole";
    case SmtpBench::Cut::kByByte:
      return "ByByte";
    case SmtpBench::Cut::kRandom:
      return "Random";
  }
  return "";
}

}  // namespace postern::test

// NOLINTNEXTLINE: gives a fixture its three cuts
#define POSTERN_IN_ALL_CUTS(fixture)                                                  \
  INSTANTIATE_TEST_SUITE_P(Cuts, fixture,                                             \
                           testing::Values(::postern::test::SmtpBench::Cut::kWhole,   \
                                           ::postern::test::SmtpBench::Cut::kByByte,  \
                                           ::postern::test::SmtpBench::Cut::kRandom), \
                           ::postern::test::CutName)
