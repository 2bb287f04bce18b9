// flow: the follower of a relayed session, of either protocol.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/flow.h"

#include <array>

namespace postern::proto {
namespace {

// Whole lines; only IMAP has a goodbye that may come unasked.
constexpr std::array<std::string_view, 5> kImapGoodbyes = {
    "* BYE Server is going down for maintenance, please reconnect\r\n",
    "* BYE Server is shutting down\r\n",
    "* BYE Session ended by the administrator\r\n",
    "* BYE Disconnected for inactivity\r\n",
    "* BYE Mailbox server has gone away, please reconnect\r\n",
};

}  // namespace

MailFlow::MailFlow(MailProtocol protocol) {
  switch (protocol) {
    case MailProtocol::kImap:
      flow_.emplace<ImapFlow>();
      break;
    case MailProtocol::kPop3:
      flow_.emplace<Pop3Flow>();
      break;
  }
}

FlowVerdict MailFlow::FromClient(base::ByteView bytes) {
  return std::visit([bytes](auto& flow) { return flow.FromClient(bytes); }, flow_);
}

void MailFlow::FromBackend(base::ByteView bytes) {
  std::visit([bytes](auto& flow) { flow.FromBackend(bytes); }, flow_);
}

bool MailFlow::is_safe() const {
  return std::visit([](const auto& flow) { return flow.is_safe(); }, flow_);
}

std::string_view MailFlow::Goodbye(Farewell why) const {
  const ImapFlow* imap = std::get_if<ImapFlow>(&flow_);
  if (imap == nullptr || !imap->may_say_bye()) return {};
  return kImapGoodbyes[static_cast<size_t>(why)];
}

bool MailFlow::has_quit() const {
  return std::visit([](const auto& flow) { return flow.has_quit(); }, flow_);
}

uint64_t MailFlow::num_commands() const {
  return std::visit([](const auto& flow) { return flow.num_commands(); }, flow_);
}

std::optional<FlowCommand> MailFlow::TakeCompleted() {
  return std::visit([](auto& flow) { return flow.TakeCompleted(); }, flow_);
}

}  // namespace postern::proto
