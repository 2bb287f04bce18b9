// proxy_header: the PROXY protocol's header, versions 1 and 2.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/proxy_header.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string_view>

namespace postern::proto {
namespace {

using base::ByteView;
using base::IpAddress;
using base::SocketAddress;
using Status = ProxyParse::Status;

constexpr std::string_view kSignatureV2{"\r\n\r\n\0\r\nQUIT\n", 12};
constexpr std::string_view kStartV1 = "PROXY ";
constexpr size_t kMaxV1Bytes = 107;
constexpr size_t kFixedV2Bytes = 16;
constexpr unsigned char kLocalV2 = 0x20, kProxyV2 = 0x21;
constexpr unsigned char kUnspec = 0x00, kTcp4 = 0x11, kTcp6 = 0x21;

const ProxyParse kInvalid{Status::kInvalid, 0, {}};
const ProxyParse kNeedMore{Status::kNeedMore, 0, {}};

unsigned Byte(ByteView bytes, size_t at) {
  return static_cast<unsigned char>(bytes[at]);
}

// Decimal, no sign, no leading zero, at most 65535.
std::optional<uint16_t> ParsePort(ByteView text) {
  if (text.empty() || text.size() > 5 || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  unsigned value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<unsigned>(c - '0');
  }
  if (value > 65535) return std::nullopt;
  return static_cast<uint16_t>(value);
}

// Up to the next blank; the blank goes too.
ByteView TakeWord(ByteView& rest) {
  const size_t end = std::min(rest.find(' '), rest.size());
  const ByteView word = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return word;
}

std::optional<IpAddress> ParseAddress(ByteView word, bool is_v6) {
  // Before parsing: a mapped address is IPv4 afterwards, but was written as IPv6.
  if ((word.find(':') != ByteView::npos) != is_v6) return std::nullopt;
  return IpAddress::Parse(word);
}

ProxyParse ParseV1(ByteView input) {
  const ByteView window = input.substr(0, kMaxV1Bytes);
  const size_t end = window.find('\n');
  if (end == ByteView::npos) {
    // A CR that is not followed by LF can never become a header.
    const size_t cr = window.find('\r');
    const bool is_broken = cr != ByteView::npos && cr + 1 < window.size();
    return is_broken || window.size() == kMaxV1Bytes ? kInvalid : kNeedMore;
  }
  if (window[end - 1] != '\r' || window.find('\r') != end - 1) return kInvalid;
  ByteView rest = window.substr(kStartV1.size(), end - 1 - kStartV1.size());
  // Words are parted by one blank each, and none stands at the end.
  ProxyParse done{Status::kDone, end + 1, {}};
  const ByteView family = TakeWord(rest);
  if (family == "UNKNOWN") return done;
  if (family != "TCP4" && family != "TCP6") return kInvalid;
  if (std::count(rest.begin(), rest.end(), ' ') != 3) return kInvalid;
  const bool is_v6 = family == "TCP6";
  const auto source = ParseAddress(TakeWord(rest), is_v6);
  const auto destination = ParseAddress(TakeWord(rest), is_v6);
  const auto source_port = ParsePort(TakeWord(rest));
  const auto destination_port = ParsePort(TakeWord(rest));
  if (!source || !destination || !source_port || !destination_port) return kInvalid;
  done.header = {true, {*source, *source_port}, {*destination, *destination_port}};
  return done;
}

uint16_t PortAt(ByteView bytes, size_t at) {
  return static_cast<uint16_t>(Byte(bytes, at) << 8 | Byte(bytes, at + 1));
}

template <size_t N>
std::array<uint8_t, N> BytesAt(ByteView bytes, size_t at) {
  std::array<uint8_t, N> out;
  std::memcpy(out.data(), bytes.data() + at, N);
  return out;
}

// Type, two bytes of length, value; they fill the rest exactly.
bool AreTlvs(ByteView bytes) {
  while (!bytes.empty()) {
    if (bytes.size() < 3) return false;
    const size_t value_bytes = PortAt(bytes, 1);
    if (bytes.size() - 3 < value_bytes) return false;
    bytes.remove_prefix(3 + value_bytes);
  }
  return true;
}

ProxyParse ParseV2(ByteView input) {
  if (input.size() > 12 && Byte(input, 12) != kLocalV2 && Byte(input, 12) != kProxyV2)
    return kInvalid;
  if (input.size() < kFixedV2Bytes) return kNeedMore;
  const unsigned command = Byte(input, 12), family = Byte(input, 13);
  const size_t body_bytes = PortAt(input, 14);
  const size_t address_bytes = family == kTcp4 ? 12 : family == kTcp6 ? 36 : 0;
  if (kFixedV2Bytes + body_bytes > kMaxProxyHeaderBytes) return kInvalid;
  if (command == kProxyV2 && family != kUnspec && address_bytes == 0) return kInvalid;
  if (command == kProxyV2 && body_bytes < address_bytes) return kInvalid;
  if (input.size() < kFixedV2Bytes + body_bytes) return kNeedMore;
  ProxyParse done{Status::kDone, kFixedV2Bytes + body_bytes, {}};
  // LOCAL, or of no known family: the rest is skipped unread, as the text demands.
  if (command == kLocalV2 || family == kUnspec) return done;
  const ByteView body = input.substr(kFixedV2Bytes, body_bytes);
  if (!AreTlvs(body.substr(address_bytes))) return kInvalid;
  done.header.has_addresses = true;
  if (family == kTcp4) {
    done.header.source = {IpAddress::V4(BytesAt<4>(body, 0)), PortAt(body, 8)};
    done.header.destination = {IpAddress::V4(BytesAt<4>(body, 4)), PortAt(body, 10)};
  } else {
    done.header.source = {IpAddress::V6(BytesAt<16>(body, 0)), PortAt(body, 32)};
    done.header.destination = {IpAddress::V6(BytesAt<16>(body, 16)), PortAt(body, 34)};
  }
  return done;
}

std::string TextOf(const IpAddress& ip, bool as_v6) {
  return as_v6 && ip.is_v4() ? "::ffff:" + ip.ToString() : ip.ToString();
}

void AppendAddress(std::string& out, const IpAddress& ip, bool as_v6) {
  const auto* bytes = reinterpret_cast<const char*>(ip.bytes().data());
  if (ip.is_v4()) {
    if (as_v6) out.append(10, '\0').append(2, '\xff');
    out.append(bytes, 4);
  } else {
    out.append(bytes, 16);
  }
}

void AppendNumber16(std::string& out, size_t number) {
  out += static_cast<char>(number >> 8 & 0xff);
  out += static_cast<char>(number & 0xff);
}

}  // namespace

ProxyParse ParseProxyHeader(ByteView input) {
  const ByteView start_v1 = input.substr(0, kStartV1.size());
  const ByteView start_v2 = input.substr(0, kSignatureV2.size());
  if (start_v1 == kStartV1) return ParseV1(input);
  if (start_v2 == kSignatureV2) return ParseV2(input);
  if (kStartV1.starts_with(start_v1) || kSignatureV2.starts_with(start_v2)) return kNeedMore;
  return kInvalid;
}

std::string PrintProxyHeader(ProxyVersion version, const SocketAddress& source,
                             const SocketAddress& destination) {
  const bool is_v6 = !source.ip.is_v4() || !destination.ip.is_v4();
  if (version == ProxyVersion::kV1) {
    return std::string("PROXY ") + (is_v6 ? "TCP6 " : "TCP4 ") + TextOf(source.ip, is_v6) + ' ' +
           TextOf(destination.ip, is_v6) + ' ' + std::to_string(source.port) + ' ' +
           std::to_string(destination.port) + "\r\n";
  }
  std::string out(kSignatureV2);
  out += static_cast<char>(kProxyV2);
  out += static_cast<char>(is_v6 ? kTcp6 : kTcp4);
  AppendNumber16(out, is_v6 ? 36 : 12);
  AppendAddress(out, source.ip, is_v6);
  AppendAddress(out, destination.ip, is_v6);
  AppendNumber16(out, source.port);
  AppendNumber16(out, destination.port);
  return out;
}

std::string PrintLocalProxyHeader(ProxyVersion version) {
  if (version == ProxyVersion::kV1) return "PROXY UNKNOWN\r\n";
  std::string out(kSignatureV2);
  out += static_cast<char>(kLocalV2);
  out += '\0';
  AppendNumber16(out, 0);
  return out;
}

}  // namespace postern::proto
