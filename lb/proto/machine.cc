// machine: which protocol has which machines.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/machine.h"

#include <algorithm>
#include <array>

#include "lb/base/check.h"
#include "lb/proto/imap_back.h"
#include "lb/proto/imap_front.h"
#include "lb/proto/pop3_back.h"
#include "lb/proto/pop3_front.h"

namespace postern::proto {

std::optional<MailProtocol> MailProtocolOf(conf::Protocol protocol) {
  switch (protocol) {
    case conf::Protocol::kImap:
      return MailProtocol::kImap;
    case conf::Protocol::kPop3:
      return MailProtocol::kPop3;
    case conf::Protocol::kSmtp:
    case conf::Protocol::kSubmission:
    case conf::Protocol::kLmtp:
    case conf::Protocol::kSieve:
    case conf::Protocol::kTcp:
      break;
  }
  return std::nullopt;
}

bool IsHttpVerb(base::ByteView word) {
  constexpr std::array<std::string_view, 9> kVerbs = {
      "GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "CONNECT", "PATCH", "TRACE"};
  return std::find(kVerbs.begin(), kVerbs.end(), word) != kVerbs.end();
}

std::unique_ptr<FrontMachine> MakeFront(MailProtocol protocol, const FrontPlan& plan) {
  switch (protocol) {
    case MailProtocol::kImap:
      return std::make_unique<ImapFront>(plan);
    case MailProtocol::kPop3:
      return std::make_unique<Pop3Front>(plan);
  }
  POSTERN_CHECK(false);
}

std::unique_ptr<BackMachine> MakeBack(MailProtocol protocol, const BackPlan& plan) {
  switch (protocol) {
    case MailProtocol::kImap:
      return std::make_unique<ImapBack>(plan);
    case MailProtocol::kPop3:
      return std::make_unique<Pop3Back>(plan);
  }
  POSTERN_CHECK(false);
}

}  // namespace postern::proto
