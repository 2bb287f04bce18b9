// smtp_commit_case: a relay whose backend is chosen behind the text (commit after_data).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "test/support/smtp_fixture.h"

namespace postern::proto {

class SmtpCommitTest : public test::SmtpFixture {
 protected:
  SmtpCommitTest() { bench_.settings.commit = conf::Commit::kAfterData; }

  // MAIL and recipients, each a letter at y.example; their codes.
  std::string Group(const std::string& recipients) {
    std::string group = "MAIL FROM:<a@x.example>\r\n";
    for (const char recipient : recipients)
      group += std::string("RCPT TO:<") + recipient + "@y.example>\r\n";
    bench_.Send(group);
    return bench_.Codes();
  }
  // The reply to the end of the text.
  std::string DataReply(const std::string& text = "hello\r\n") {
    bench_.Line("DATA");
    EXPECT_EQ(bench_.Codes(), "354");
    Text(text);
    return bench_.Replies();
  }
  static std::string Lines(int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += "line " + std::to_string(i) + "\r\n";
    return text;
  }
  int num_connections() { return b1().num_connections + b2().num_connections; }
};

}  // namespace postern::proto
