// address: parsing and printing of addresses and networks.
// SPDX-License-Identifier: Apache-2.0
#include "lb/base/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "lb/base/rng.h"

namespace postern::base {
namespace {

std::optional<uint32_t> ParseNumber(std::string_view text, uint32_t max) {
  if (text.empty() || text.size() > 5 || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > max) return std::nullopt;
  return value;
}

}  // namespace

IpAddress IpAddress::V4(const std::array<uint8_t, 4>& bytes) {
  IpAddress ip;
  std::copy(bytes.begin(), bytes.end(), ip.bytes_.begin());
  return ip;
}

IpAddress IpAddress::V6(const std::array<uint8_t, 16>& bytes) {
  static constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (std::equal(std::begin(kMapped), std::end(kMapped), bytes.begin()))
    return V4({bytes[12], bytes[13], bytes[14], bytes[15]});
  IpAddress ip;
  ip.family_ = Family::kV6;
  ip.bytes_ = bytes;
  return ip;
}

std::optional<IpAddress> IpAddress::Parse(std::string_view text) {
  if (text.size() > INET6_ADDRSTRLEN) return std::nullopt;
  const std::string terminated(text);
  if (terminated.find('\0') != std::string::npos) return std::nullopt;
  if (text.find(':') == std::string_view::npos) {
    std::array<uint8_t, 4> v4{};
    // inet_pton takes four decimal numbers without leading zeros, and nothing else.
    if (inet_pton(AF_INET, terminated.c_str(), v4.data()) != 1) return std::nullopt;
    return V4(v4);
  }
  std::array<uint8_t, 16> v6{};
  if (inet_pton(AF_INET6, terminated.c_str(), v6.data()) != 1) return std::nullopt;
  return V6(v6);
}

bool IpAddress::is_loopback() const {
  if (is_v4()) return bytes_[0] == 127;
  return std::all_of(bytes_.begin(), bytes_.end() - 1, [](uint8_t b) { return b == 0; }) &&
         bytes_[15] == 1;
}

bool IpAddress::is_unspecified() const {
  return std::all_of(bytes_.begin(), bytes_.end(), [](uint8_t b) { return b == 0; });
}

std::string IpAddress::ToString() const {
  char text[INET6_ADDRSTRLEN];
  inet_ntop(is_v4() ? AF_INET : AF_INET6, bytes_.data(), text, sizeof(text));
  return text;
}

std::optional<SocketAddress> SocketAddress::Parse(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const bool is_bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (is_bracketed) host = host.substr(1, host.size() - 2);
  const bool has_colon = host.find(':') != std::string_view::npos;
  if (is_bracketed != has_colon) return std::nullopt;
  const auto ip = IpAddress::Parse(host);
  const auto port = ParseNumber(text.substr(colon + 1), 65535);
  if (!ip || !port) return std::nullopt;
  return SocketAddress{*ip, static_cast<uint16_t>(*port)};
}

std::optional<SocketAddress> SocketAddress::FromSockaddr(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, address, sizeof(in));
    std::array<uint8_t, 4> bytes{};
    std::memcpy(bytes.data(), &in.sin_addr, bytes.size());
    return SocketAddress{IpAddress::V4(bytes), ntohs(in.sin_port)};
  }
  if (address->sa_family == AF_INET6) {
    sockaddr_in6 in6{};
    std::memcpy(&in6, address, sizeof(in6));
    std::array<uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), &in6.sin6_addr, bytes.size());
    return SocketAddress{IpAddress::V6(bytes), ntohs(in6.sin6_port)};
  }
  return std::nullopt;
}

unsigned SocketAddress::ToSockaddr(sockaddr_storage* storage) const {
  std::memset(storage, 0, sizeof(*storage));
  if (ip.is_v4()) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    std::memcpy(&in.sin_addr, ip.bytes().data(), 4);
    std::memcpy(storage, &in, sizeof(in));
    return sizeof(in);
  }
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(port);
  std::memcpy(&in6.sin6_addr, ip.bytes().data(), 16);
  std::memcpy(storage, &in6, sizeof(in6));
  return sizeof(in6);
}

std::string SocketAddress::ToString() const {
  const std::string host = ip.ToString();
  return (ip.is_v4() ? host : "[" + host + "]") + ":" + std::to_string(port);
}

std::optional<Network> Network::Parse(std::string_view text) {
  Network network;
  const size_t slash = text.find('/');
  const std::string_view host = text.substr(0, slash);
  const auto ip = IpAddress::Parse(host);
  if (!ip) return std::nullopt;
  const uint32_t max_bits = ip->is_v4() ? 32 : 128;
  uint32_t bits = max_bits;
  if (slash != std::string_view::npos) {
    // A mapped network (::ffff:10.0.0.0/104) is an IPv4 one, but its bits are those of the IPv6
    // form.
    const bool is_mapped = ip->is_v4() && host.find(':') != std::string_view::npos;
    const uint32_t skipped_bits = is_mapped ? 96 : 0;
    const auto given = ParseNumber(text.substr(slash + 1), skipped_bits + max_bits);
    if (!given || *given < skipped_bits) return std::nullopt;
    bits = *given - skipped_bits;
  }
  for (uint32_t bit = bits; bit < max_bits; ++bit)
    if ((ip->bytes()[bit / 8] >> (7 - bit % 8) & 1) != 0) return std::nullopt;
  network.base_ = *ip;
  network.prefix_bits_ = static_cast<uint8_t>(bits);
  return network;
}

bool Network::Contains(const IpAddress& ip) const {
  if (ip.family() != base_.family()) return false;
  const size_t whole = prefix_bits_ / 8;
  if (!std::equal(ip.bytes().begin(), ip.bytes().begin() + whole, base_.bytes().begin()))
    return false;
  const int rest = prefix_bits_ % 8;
  return rest == 0 || (ip.bytes()[whole] ^ base_.bytes()[whole]) >> (8 - rest) == 0;
}

std::string Network::ToString() const {
  return base_.ToString() + "/" + std::to_string(prefix_bits_);
}

bool AnyContains(const std::vector<Network>& networks, const IpAddress& ip) {
  return std::any_of(networks.begin(), networks.end(),
                     [&](const Network& network) { return network.Contains(ip); });
}

}  // namespace postern::base

size_t std::hash<postern::base::IpAddress>::operator()(
    const postern::base::IpAddress& ip) const noexcept {
  return postern::base::StableHash(ip.bytes().data(), ip.bytes().size(), ip.is_v4() ? 4 : 6);
}
