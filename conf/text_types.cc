// text_types: the checks of single texts by the type of their key.
// SPDX-License-Identifier: Apache-2.0
#include "conf/text_types.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "lb/base/address.h"
#include "lb/base/url.h"

namespace postern::conf {
namespace {

std::optional<unsigned> WholeNumber(std::string_view text) {
  unsigned number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

bool IsPort(std::string_view text) {
  const auto port = WholeNumber(text);
  return port && *port >= 1 && *port <= 65535;
}

bool IsHost(std::string_view text) {
  return base::IpAddress::Parse(text).has_value() || IsHostname(text);
}

std::optional<Refusal> CheckHost(std::string_view text) {
  if (IsHost(text)) return std::nullopt;
  Refusal refusal{Quoted(text) + " is neither a host name nor an IP address", ""};
  const size_t colon = text.rfind(':');
  if (text.size() > 2 && text.front() == '[' && text.back() == ']' &&
      base::IpAddress::Parse(text.substr(1, text.size() - 2))) {
    refusal.hint = "write it without brackets";
  } else if (colon != std::string_view::npos && IsPort(text.substr(colon + 1))) {
    refusal.hint =
        "ports belong to the endpoints: \"port\": " + std::string(text.substr(colon + 1));
  } else if (!text.empty() && text.back() == '.') {
    refusal.hint = "write it without the last dot";
  }
  return refusal;
}

std::optional<Refusal> CheckPeer(std::string_view text) {
  if (text.substr(0, 5) == "unix:") {
    if (text.size() > 5 && IsOneLine(text)) return std::nullopt;
    return Refusal{"no path follows \"unix:\"", ""};
  }
  const size_t colon = text.rfind(':');
  if (colon != std::string_view::npos && IsPort(text.substr(colon + 1))) {
    std::string_view host = text.substr(0, colon);
    if (base::SocketAddress::Parse(text) || IsHostname(host)) return std::nullopt;
  }
  return Refusal{Quoted(text) + " is not host:port", "for example \"10.0.0.11:10025\""};
}

std::optional<Refusal> CheckUrl(std::string_view schemes, std::string_view text) {
  const size_t end = text.find("://");
  const auto known = Split(schemes);
  const bool is_known = end != std::string_view::npos &&
                        std::find(known.begin(), known.end(), text.substr(0, end)) != known.end();
  const bool has_blank = text.find(' ') != std::string_view::npos || !IsOneLine(text);
  if (is_known && !has_blank && text.size() > end + 3) {
    if (!text.starts_with("http")) return std::nullopt;
    const auto url = base::ParseHttpUrl(text);
    if (url) return std::nullopt;
    // What may hold a password is not repeated.
    const bool may_hold_secret = text.find('@') != std::string_view::npos;
    return Refusal{(may_hold_secret ? "this" : Quoted(text)) + " is not a URL: " + url.error(), ""};
  }
  return Refusal{Quoted(text) + " is not a URL of " + Listed(known, " or "),
                 "for example \"" + std::string(known.front()) + "://127.0.0.1/...\""};
}

}  // namespace

std::optional<Refusal> CheckText(const Key& row, std::string_view text) {
  switch (row.type) {
    case Type::kText:
      return std::nullopt;
    case Type::kName:
      if (IsName(text)) return std::nullopt;
      return Refusal{Quoted(text) + " is not a name",
                     "1 to 64 letters, digits, '.', '_' and '-'; not '.' or '-' first"};
    case Type::kHostname:
      if (IsHostname(text)) return std::nullopt;
      return Refusal{Quoted(text) + " is not a host name", ""};
    case Type::kHost:
      return CheckHost(text);
    case Type::kReply:
      // Nothing to say is a refusal without words of its own; a temporary one needs its code.
      if (text.empty() && row.values.front() == '5') return std::nullopt;
      return CheckReply(text, row.values.front());
    case Type::kUrl:
    case Type::kUrls:
      return CheckUrl(row.values, text);
    case Type::kPeer:
    case Type::kPeers:
      return CheckPeer(text);
    case Type::kWords: {
      const auto words = Split(row.values);
      if (std::find(words.begin(), words.end(), text) != words.end()) return std::nullopt;
      return Refusal{Quoted(text) + " is not one of " + Listed(words, " and "), ""};
    }
    case Type::kString:
      if (IsOneLine(text)) return std::nullopt;
      return Refusal{"control characters are not allowed here", ""};
    default:  // every type of a text that may not be empty
      if (!text.empty() && IsOneLine(text)) return std::nullopt;
      return Refusal{
          text.empty() ? "this may not be empty" : "control characters are not allowed here", ""};
  }
}

Refusal BadSocketAddress(std::string_view text) {
  Refusal refusal{Quoted(text) + " is not IP:port", "for example \"0.0.0.0:993\" or \"[::]:993\""};
  const size_t colon = text.rfind(':');
  const std::string port(colon == std::string_view::npos ? text : text.substr(colon + 1));
  const std::string_view host =
      colon == std::string_view::npos ? std::string_view() : text.substr(0, colon);
  const auto ip = base::IpAddress::Parse(text);
  if (ip) {
    refusal.hint = "the port is missing";
  } else if (IsPort(port) && (host.empty() || host == "*")) {
    refusal.hint = "write \"0.0.0.0:" + port + "\", \"[::]:" + port + "\", or both as a list";
  } else if (IsPort(port) && host == "localhost") {
    refusal.hint = "write \"127.0.0.1:" + port + "\"";
  } else if (IsPort(port) && IsHostname(host)) {
    refusal.hint = "names are not resolved here, give the address";
  }
  return refusal;
}

Refusal BadIpAddress(std::string_view text) {
  return {Quoted(text) + " is not an IP address", "for example \"192.0.2.1\" or \"2001:db8::1\""};
}

Refusal BadNetwork(std::string_view text) {
  Refusal refusal{Quoted(text) + " is not a network",
                  "for example \"10.0.0.0/8\" or \"2001:db8::/32\""};
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return refusal;
  const auto ip = base::IpAddress::Parse(text.substr(0, slash));
  const auto bits = WholeNumber(text.substr(slash + 1));
  const unsigned num_bits = ip && ip->is_v4() ? 32 : 128;
  if (!ip || !bits || *bits > num_bits) return refusal;
  // The address has bits behind the prefix: show the network that it lies in.
  std::array<uint8_t, 16> bytes = ip->bytes();
  for (unsigned bit = *bits; bit < num_bits; ++bit)
    bytes[bit / 8] = static_cast<uint8_t>(bytes[bit / 8] & ~(0x80u >> (bit % 8)));
  const auto masked = ip->is_v4() ? base::IpAddress::V4({bytes[0], bytes[1], bytes[2], bytes[3]})
                                  : base::IpAddress::V6(bytes);
  refusal.hint = "did you mean \"" + masked.ToString() + "/" + std::to_string(*bits) + "\"?";
  return refusal;
}

}  // namespace postern::conf
