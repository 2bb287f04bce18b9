// address: IP addresses, ports and networks: values, parsed strictly, printed canonically.
//
// Rules:    RFC 4291 2.2, RFC 5952 (printing). No scope ids. IPv4-mapped IPv6 is turned into IPv4.
// Tests:    test/base/address_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct sockaddr;
struct sockaddr_storage;

namespace postern::base {

class IpAddress {
 public:
  enum class Family : uint8_t { kV4, kV6 };

  IpAddress() = default;  // 0.0.0.0
  static IpAddress V4(const std::array<uint8_t, 4>& bytes);
  // A mapped address (::ffff:a.b.c.d) becomes V4.
  static IpAddress V6(const std::array<uint8_t, 16>& bytes);
  // "192.0.2.1" (four decimal numbers, no leading zeros), "2001:db8::1"; no brackets.
  [[nodiscard]] static std::optional<IpAddress> Parse(std::string_view text);

  [[nodiscard]] Family family() const { return family_; }
  [[nodiscard]] bool is_v4() const { return family_ == Family::kV4; }
  // V4: the first four; V6: all.
  [[nodiscard]] const std::array<uint8_t, 16>& bytes() const { return bytes_; }
  [[nodiscard]] bool is_loopback() const;
  [[nodiscard]] bool is_unspecified() const;
  [[nodiscard]] std::string ToString() const;  // RFC 5952, without brackets
  bool operator==(const IpAddress&) const = default;
  auto operator<=>(const IpAddress&) const = default;

 private:
  Family family_ = Family::kV4;
  std::array<uint8_t, 16> bytes_{};
};

struct SocketAddress {
  IpAddress ip;
  uint16_t port = 0;

  // "192.0.2.1:25", "[2001:db8::1]:25".
  [[nodiscard]] static std::optional<SocketAddress> Parse(std::string_view text);
  // From the kernel; nothing for families other than AF_INET and AF_INET6.
  [[nodiscard]] static std::optional<SocketAddress> FromSockaddr(const sockaddr* address);
  // Fills storage and returns the length for bind(2) and connect(2).
  unsigned ToSockaddr(sockaddr_storage* storage) const;
  [[nodiscard]] std::string ToString() const;
  bool operator==(const SocketAddress&) const = default;
  auto operator<=>(const SocketAddress&) const = default;
};

// "10.0.0.0/8", "2001:db8::/32", or a single address. Host bits must be zero.
class Network {
 public:
  [[nodiscard]] static std::optional<Network> Parse(std::string_view text);
  [[nodiscard]] bool Contains(const IpAddress& ip) const;
  [[nodiscard]] std::string ToString() const;
  bool operator==(const Network&) const = default;

 private:
  IpAddress base_;
  uint8_t prefix_bits_ = 0;
};

[[nodiscard]] bool AnyContains(const std::vector<Network>& networks, const IpAddress& ip);

}  // namespace postern::base

template <>
struct std::hash<postern::base::IpAddress> {
  size_t operator()(const postern::base::IpAddress& ip) const noexcept;
};
