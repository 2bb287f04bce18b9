// lmtp_case: what tests of lmtp sessions share: envelopes in one packet, and their codes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "test/support/smtp_world.h"

namespace postern::test {

class LmtpCase : public testing::Test {
 protected:
  void Hello() {
    world_.Begin();
    EXPECT_THAT(world_.Read(), testing::StartsWith("220 mx.example LMTP"));
    EXPECT_THAT(world_.Ask("LHLO client.example"), testing::HasSubstr("250-PIPELINING"));
  }
  // All of a transaction in one packet but the text. w lives at q (b3), n nowhere, the rest at p.
  std::string Envelope(const std::string& recipients) {
    std::string group = "MAIL FROM:<a@x.example>\r\n";
    for (const char recipient : recipients)
      group += std::string("RCPT TO:<") + recipient +
               (recipient == 'w'   ? "@away.example>\r\n"
                : recipient == 'n' ? "@nowhere.example>\r\n"
                                   : "@y.example>\r\n");
    world_.Send(group + "DATA\r\n");
    return world_.Codes();
  }
  std::string Text(const std::string& text = "hello\r\n") {
    world_.Send(text + ".\r\n");
    return world_.Codes();
  }
  [[nodiscard]] const std::vector<SmtpServer::Message>& Messages(int backend) {
    return world_.server(backend).messages;
  }

  SmtpWorld world_{conf::Protocol::kLmtp};
};

}  // namespace postern::test
