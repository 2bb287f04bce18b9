// flow: the follower of a relayed session, of either protocol.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/flow.h"

#include "lb/proto/wire_text.h"

namespace postern::proto {
namespace {

ImapText TextOf(Farewell why) {
  switch (why) {
    case Farewell::kDrain:
      return ImapText::kByeDrain;
    case Farewell::kShutdown:
      return ImapText::kByeShutdown;
    case Farewell::kKicked:
      return ImapText::kByeKicked;
    case Farewell::kTimeout:
      return ImapText::kByeTimeout;
    case Farewell::kForbidden:
      return ImapText::kByeForbidden;
    case Farewell::kBackendLost:
      break;
  }
  return ImapText::kByeBackendLost;
}

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

std::string MailFlow::Goodbye(Farewell why) const {
  // Only IMAP has a goodbye that may come unasked.
  const ImapFlow* imap = std::get_if<ImapFlow>(&flow_);
  if (imap == nullptr || !imap->may_say_bye()) return {};
  return "* " + std::string(Text(TextOf(why))) + "\r\n";
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
