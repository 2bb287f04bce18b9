// xclient: attributes and their commands.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/xclient.h"

#include <algorithm>
#include <utility>

#include "lb/base/bytes.h"
#include "lb/base/escape.h"
#include "lb/proto/smtp_grammar.h"

namespace postern::proto {
namespace {

constexpr size_t kMaxCommandBytes = 510;  // without CRLF

bool IsAnnounced(std::string_view announced, std::string_view attribute) {
  size_t at = 0;
  while (at < announced.size()) {
    const size_t end = std::min(announced.find(' ', at), announced.size());
    if (base::EqualsIgnoreCase(announced.substr(at, end - at), attribute)) return true;
    at = end + 1;
  }
  return false;
}

std::string AddressValue(const base::IpAddress& ip) {
  return ip.is_v4() ? ip.ToString() : "IPV6:" + ip.ToString();
}

std::string NameValue(const base::PeerName& name) {
  switch (name.kind) {
    case base::PeerName::Kind::kName: return EncodeXtext(name.name);
    case base::PeerName::Kind::kUnavailable: return "[UNAVAILABLE]";
    case base::PeerName::Kind::kTempUnavailable: return "[TEMPUNAVAIL]";
  }
  return "[UNAVAILABLE]";
}

}  // namespace

std::vector<std::string> XclientCommands(std::string_view announced, const XclientFacts& facts) {
  if (!IsAnnounced(announced, "ADDR")) return {};
  std::vector<std::pair<std::string_view, std::string>> early = {
      {"NAME", NameValue(facts.name)},
      {"REVERSE_NAME", NameValue(facts.name)},
      {"PORT", std::to_string(facts.client.port)},
      {"DESTADDR", AddressValue(facts.local.ip)},
      {"DESTPORT", std::to_string(facts.local.port)},
      {"PROTO", facts.is_esmtp ? "ESMTP" : "SMTP"},
      {"HELO", facts.helo.empty() ? "[UNAVAILABLE]" : EncodeXtext(facts.helo)},
  };
  std::vector<std::string> words;
  for (const auto& [name, value] : early)
    if (IsAnnounced(announced, name)) words.push_back(std::string(name) + "=" + value);
  std::string last;
  if (!facts.login.empty() && IsAnnounced(announced, "LOGIN"))
    last = " LOGIN=" + EncodeXtext(facts.login);
  last += " ADDR=" + AddressValue(facts.client.ip);

  std::vector<std::string> commands;
  std::string line = "XCLIENT";
  for (const std::string& word : words) {
    if (line.size() + 1 + word.size() > kMaxCommandBytes) {
      commands.push_back(line + "\r\n");
      line = "XCLIENT";
    }
    line += " " + word;
  }
  if (line.size() + last.size() > kMaxCommandBytes && line != "XCLIENT") {
    commands.push_back(line + "\r\n");
    line = "XCLIENT";
  }
  commands.push_back(line + last + "\r\n");
  return commands;
}

}  // namespace postern::proto
