// xclient: who the client is, told to a backend that takes Postern's word for it.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/xclient.h"

#include <cstddef>
#include <utility>

#include "lb/base/escape.h"
#include "lb/proto/smtp_grammar.h"

namespace postern::proto {
namespace {

using base::ByteView;
using base::PeerName;

struct AttributeName {
  XclientAttribute bit;
  std::string_view name;
};

constexpr AttributeName kAttributes[] = {
    {kXclientName, "NAME"},   {kXclientReverseName, "REVERSE_NAME"},
    {kXclientAddr, "ADDR"},   {kXclientPort, "PORT"},
    {kXclientProto, "PROTO"}, {kXclientHelo, "HELO"},
    {kXclientLogin, "LOGIN"}, {kXclientDestAddr, "DESTADDR"},
};

constexpr size_t kMaxCommandBytes = 512;  // with the line end
constexpr ByteView kVerb = "XCLIENT";

std::string AddressValue(const base::IpAddress& ip) {
  return ip.is_v4() ? ip.ToString() : "IPV6:" + ip.ToString();
}

ByteView NameValue(const XclientFacts& facts) {
  if (facts.name_kind == PeerName::Kind::kTempUnavailable) return "[TEMPUNAVAIL]";
  // A name is only letters, digits and the like; what is not cannot have come from a resolver that
  // keeps its word, and could be taken for one of the bracketed values.
  if (facts.name_kind == PeerName::Kind::kUnavailable || !IsHelloName(facts.name) ||
      facts.name.front() == '[')
    return "[UNAVAILABLE]";
  return facts.name;
}

// " NAME=value"; empty if it could never be sent.
std::string Pair(std::string_view name, ByteView value) {
  std::string pair(" ");
  pair.append(name).push_back('=');
  AppendXtext(pair, value);
  if (kVerb.size() + pair.size() + 2 > kMaxCommandBytes) pair.clear();
  return pair;
}

// Adds the words to the last line, or to a new one if they do not fit.
void Add(std::vector<std::string>& lines, const std::string& words) {
  if (words.empty()) return;
  if (lines.empty() || lines.back().size() + words.size() + 2 > kMaxCommandBytes)
    lines.emplace_back(kVerb);
  lines.back() += words;
}

}  // namespace

uint8_t ParseXclientAttributes(ByteView words) {
  uint8_t bits = 0;
  while (!words.empty()) {
    const size_t blank = words.find(' ');
    const ByteView word = words.substr(0, blank);
    words.remove_prefix(blank == ByteView::npos ? words.size() : blank + 1);
    for (const AttributeName& row : kAttributes)
      if (base::EqualsIgnoreCase(word, row.name)) bits = static_cast<uint8_t>(bits | row.bit);
  }
  return bits;
}

std::vector<std::string> BuildXclient(const XclientFacts& facts, uint8_t announced) {
  const auto has = [announced](XclientAttribute bit) { return (announced & bit) != 0; };
  std::vector<std::string> lines;
  if (!has(kXclientAddr)) return lines;
  if (has(kXclientName)) Add(lines, Pair("NAME", NameValue(facts)));
  if (has(kXclientReverseName)) Add(lines, Pair("REVERSE_NAME", NameValue(facts)));
  if (has(kXclientProto)) Add(lines, Pair("PROTO", facts.is_esmtp ? "ESMTP" : "SMTP"));
  if (has(kXclientHelo) && IsHelloName(facts.helo)) Add(lines, Pair("HELO", facts.helo));
  if (has(kXclientPort)) Add(lines, Pair("PORT", std::to_string(facts.client.port)));
  if (has(kXclientDestAddr)) Add(lines, Pair("DESTADDR", AddressValue(facts.local.ip)));
  // LOGIN and ADDR share the last command: after ADDR the right to say XCLIENT may be gone.
  const std::string address = Pair("ADDR", AddressValue(facts.client.ip));
  std::string login;
  if (has(kXclientLogin) && !facts.login.empty() && !base::HasLineBreakOrNul(facts.login))
    login = Pair("LOGIN", facts.login);
  if (kVerb.size() + login.size() + address.size() + 2 > kMaxCommandBytes) login.clear();
  Add(lines, login + address);
  for (std::string& line : lines) line += "\r\n";
  return lines;
}

}  // namespace postern::proto
