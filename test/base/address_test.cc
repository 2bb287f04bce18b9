// address_test: what is an address and what is not, and how each is printed.
// SPDX-License-Identifier: Apache-2.0
#include "lb/base/address.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>

namespace postern::base {
namespace {

using std::string_view_literals::operator""sv;

IpAddress Ip(std::string_view text) {
  const auto ip = IpAddress::Parse(text);
  EXPECT_TRUE(ip) << text;
  return ip.value_or(IpAddress());
}

TEST(IpAddressTest, ParsesAndPrintsCanonically) {
  struct {
    std::string_view text, printed;
  } const kRows[] = {
      {"0.0.0.0", "0.0.0.0"},
      {"192.0.2.1", "192.0.2.1"},
      {"255.255.255.255", "255.255.255.255"},
      {"::", "::"},
      {"::1", "::1"},
      {"1::", "1::"},
      {"2001:db8::1", "2001:db8::1"},
      // RFC 5952 4.1: no leading zeros. 4.3: lower case.
      {"2001:0DB8:0000:0000:0000:0000:0000:0001", "2001:db8::1"},
      {"ABCD::EF", "abcd::ef"},
      // 4.2.1: shorten as much as possible. 4.2.2: but not a single group.
      {"2001:db8:0:0:0:0:2:1", "2001:db8::2:1"},
      {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
      {"2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
      // 4.2.3: the longest run; of equals the first.
      {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
      {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
      {"0:0:1:2:3:4:0:0", "::1:2:3:4:0:0"},
      {"1:2:3:4:5:6:0:0", "1:2:3:4:5:6::"},
      {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
      {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
      {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
      {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
      {"1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"},
      // Mapped addresses are the IPv4 ones.
      {"::ffff:192.0.2.1", "192.0.2.1"},
      {"::FFFF:c000:0201", "192.0.2.1"},
      {"0:0:0:0:0:ffff:10.0.0.1", "10.0.0.1"},
      {"::fffe:192.0.2.1", "::fffe:c000:201"},
      {"::ffff:0:192.0.2.1", "::ffff:0:c000:201"},
  };
  for (const auto& row : kRows) {
    const auto ip = IpAddress::Parse(row.text);
    ASSERT_TRUE(ip) << row.text;
    EXPECT_EQ(ip->ToString(), row.printed) << row.text;
    EXPECT_EQ(IpAddress::Parse(row.printed), ip) << row.printed;
  }
}

TEST(IpAddressTest, RefusesWhatIsNone) {
  const std::string_view kRows[] = {
      "",
      " ",
      "localhost",
      "1",
      "1.2.3",
      "1.2.3.4.5",
      "1.2.3.",
      ".1.2.3",
      "1..2.3",
      "1.2.3.256",
      "1.2.3.1000",
      "01.2.3.4",
      "1.2.3.04",
      "1.2.3.00",
      "0x1.2.3.4",
      "1.2.3.4 ",
      " 1.2.3.4",
      "1.2.3.4\n",
      "1.2.3.-4",
      "1.2.3.+4",
      "1.2.3.4/32",
      "1.2.3.4:25",
      "1.2.3.4\0"sv,
      "1.2.3.4\0.5"sv,
      ":",
      ":::",
      "1:2:3:4:5:6:7",
      "1:2:3:4:5:6:7:8:9",
      "1:2:3:4:5:6:7:8::",
      "::1:2:3:4:5:6:7:8",
      "1:2:3:4::5:6:7:8",
      "1::2::3",
      ":1:2:3:4:5:6:7",
      "1:2:3:4:5:6:7:",
      "12345::",
      "g::",
      "::-1",
      "[::1]",
      "fe80::1%eth0",
      "fe80::1%1",
      "::1.2.3",
      "::1.2.3.04",
      "::1.2.3.256",
      "1.2.3.4::",
      "::1.2.3.4:5",
      "1:2:3:4:5:6:7:1.2.3.4",
      "::1 ",
      "::1\0"sv,
      "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000",
  };
  for (const auto row : kRows) EXPECT_FALSE(IpAddress::Parse(row)) << row;
}

TEST(IpAddressTest, MappedBytesBecomeV4) {
  const auto mapped = IpAddress::V6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 198, 51, 100, 7});
  EXPECT_TRUE(mapped.is_v4());
  EXPECT_EQ(mapped, IpAddress::V4({198, 51, 100, 7}));
  const auto other = IpAddress::V6({1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 198, 51, 100, 7});
  EXPECT_EQ(other.family(), IpAddress::Family::kV6);
}

TEST(IpAddressTest, KnowsLoopbackAndUnspecified) {
  struct {
    std::string_view text;
    bool is_loopback, is_unspecified;
  } const kRows[] = {
      {"127.0.0.1", true, false},
      {"127.255.255.254", true, false},
      {"126.255.255.255", false, false},
      {"128.0.0.1", false, false},
      {"::1", true, false},
      {"::2", false, false},
      {"8000::1", false, false},
      {"::100", false, false},
      {"::ffff:127.0.0.1", true, false},
      {"0.0.0.0", false, true},
      {"::", false, true},
      {"0.0.0.1", false, false},
  };
  for (const auto& row : kRows) {
    EXPECT_EQ(Ip(row.text).is_loopback(), row.is_loopback) << row.text;
    EXPECT_EQ(Ip(row.text).is_unspecified(), row.is_unspecified) << row.text;
  }
}

TEST(IpAddressTest, TheTwoFamiliesDiffer) {
  EXPECT_NE(Ip("0.0.0.0"), Ip("::"));
  EXPECT_LT(Ip("255.255.255.255"), Ip("::"));
  EXPECT_LT(Ip("10.0.0.1"), Ip("10.0.0.2"));
  EXPECT_LT(Ip("2001:db8::1"), Ip("2001:db8::1:0"));
}

TEST(IpAddressTest, HashesTellAddressesApart) {
  std::unordered_set<IpAddress> set{Ip("0.0.0.0"), Ip("::"), Ip("10.0.0.1"), Ip("::ffff:10.0.0.1")};
  EXPECT_EQ(set.size(), 3u);
  const std::hash<IpAddress> hash;
  std::set<size_t> hashes;
  for (int i = 0; i < 256; ++i)
    hashes.insert(hash(IpAddress::V4({10, 0, 0, static_cast<uint8_t>(i)})));
  EXPECT_EQ(hashes.size(), 256u);
  EXPECT_NE(hash(Ip("0.0.0.0")), hash(Ip("::")));
}

TEST(SocketAddressTest, ParsesAndPrints) {
  struct {
    std::string_view text, printed;
  } const kRows[] = {
      {"192.0.2.1:25", "192.0.2.1:25"},
      {"192.0.2.1:0", "192.0.2.1:0"},
      {"192.0.2.1:65535", "192.0.2.1:65535"},
      {"[2001:db8::1]:143", "[2001:db8::1]:143"},
      {"[::]:1", "[::]:1"},
      {"[::ffff:192.0.2.1]:25", "192.0.2.1:25"},
  };
  for (const auto& row : kRows) {
    const auto address = SocketAddress::Parse(row.text);
    ASSERT_TRUE(address) << row.text;
    EXPECT_EQ(address->ToString(), row.printed);
  }
}

TEST(SocketAddressTest, RefusesWhatIsNone) {
  const std::string_view kRows[] = {
      "",
      ":",
      "192.0.2.1",
      "192.0.2.1:",
      ":25",
      "192.0.2.1:65536",
      "192.0.2.1:99999",
      "192.0.2.1:100000",
      "192.0.2.1:4294967321",
      "192.0.2.1:025",
      "192.0.2.1:00",
      "192.0.2.1:+25",
      "192.0.2.1:-1",
      "192.0.2.1: 25",
      "192.0.2.1:25 ",
      "192.0.2.1:0x19",
      "192.0.2.1:smtp",
      "::1:25",
      "2001:db8::1",
      "[2001:db8::1]",
      "[2001:db8::1]:",
      "[2001:db8::1]25",
      "[192.0.2.1]:25",
      "[]:25",
      "[::1:25",
      "::1]:25",
      "[[::1]]:25",
      "mx.example:25",
  };
  for (const auto row : kRows) EXPECT_FALSE(SocketAddress::Parse(row)) << row;
}

TEST(SocketAddressTest, GoesThroughTheKernelsForm) {
  for (const auto text : {"192.0.2.1:25", "[2001:db8::1]:65535", "0.0.0.0:0", "[::]:0"}) {
    const auto address = *SocketAddress::Parse(text);
    sockaddr_storage storage;
    std::memset(&storage, 0xff, sizeof(storage));
    const unsigned size = address.ToSockaddr(&storage);
    EXPECT_EQ(size, address.ip.is_v4() ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    EXPECT_EQ(SocketAddress::FromSockaddr(reinterpret_cast<sockaddr*>(&storage)), address) << text;
  }
}

TEST(SocketAddressTest, KernelFormHasNetworkOrderAndNoRubbish) {
  sockaddr_storage storage;
  std::memset(&storage, 0xff, sizeof(storage));
  (void)SocketAddress::Parse("[::1]:258")->ToSockaddr(&storage);
  sockaddr_in6 in{};
  std::memcpy(&in, &storage, sizeof(in));
  EXPECT_EQ(in.sin6_family, AF_INET6);
  EXPECT_EQ(ntohs(in.sin6_port), 258);
  EXPECT_EQ(in.sin6_flowinfo, 0u);
  EXPECT_EQ(in.sin6_scope_id, 0u);
}

TEST(SocketAddressTest, OtherFamiliesAreNone) {
  sockaddr_storage storage{};
  storage.ss_family = AF_UNIX;
  EXPECT_FALSE(SocketAddress::FromSockaddr(reinterpret_cast<sockaddr*>(&storage)));
}

TEST(NetworkTest, ParsesAndPrints) {
  struct {
    std::string_view text, printed;
  } const kRows[] = {
      {"10.0.0.0/8", "10.0.0.0/8"},
      {"0.0.0.0/0", "0.0.0.0/0"},
      {"192.0.2.1/32", "192.0.2.1/32"},
      {"192.0.2.1", "192.0.2.1/32"},
      {"192.0.2.128/25", "192.0.2.128/25"},
      {"2001:db8::/32", "2001:db8::/32"},
      {"2001:DB8:0::/48", "2001:db8::/48"},
      {"::/0", "::/0"},
      {"::1", "::1/128"},
      {"fe80::/10", "fe80::/10"},
      // A mapped network is the IPv4 one; its bits are counted as it is written.
      {"::ffff:10.0.0.0/104", "10.0.0.0/8"},
      {"::ffff:10.0.0.1/128", "10.0.0.1/32"},
      {"::ffff:0:0/96", "0.0.0.0/0"},
      {"::ffff:10.0.0.1", "10.0.0.1/32"},
  };
  for (const auto& row : kRows) {
    const auto network = Network::Parse(row.text);
    ASSERT_TRUE(network) << row.text;
    EXPECT_EQ(network->ToString(), row.printed) << row.text;
    EXPECT_EQ(Network::Parse(row.printed), network) << row.text;
  }
}

TEST(NetworkTest, RefusesWhatIsNone) {
  const std::string_view kRows[] = {
      "",
      "/8",
      "10.0.0.0/",
      "10.0.0.0/33",
      "10.0.0.0/08",
      "10.0.0.0/+8",
      "10.0.0.0/-1",
      "10.0.0.0/8 ",
      "10.0.0.0/8/8",
      "10.0.0.0/255.0.0.0",
      "10.0.0.0/256",
      "10.0.0.0/4294967304",
      "10/8",
      "2001:db8::/129",
      "[2001:db8::]/32",
      // Host bits: the operator meant something else.
      "10.0.0.1/8",
      "10.0.0.1/31",
      "192.0.2.128/24",
      "1.0.0.0/0",
      "2001:db8::1/64",
      "2001:db8::1/127",
      "::1/0",
      // The bits of a mapped network count from the start of the IPv6 address.
      "::ffff:10.0.0.0/8",
      "::ffff:10.0.0.0/95",
      "::ffff:10.0.0.0/32",
      "::ffff:10.0.0.0/129",
      "::ffff:10.0.0.1/104",
  };
  for (const auto row : kRows) EXPECT_FALSE(Network::Parse(row)) << row;
}

TEST(NetworkTest, Contains) {
  struct {
    std::string_view network, ip;
    bool contains;
  } const kRows[] = {
      {"10.0.0.0/8", "10.0.0.0", true},
      {"10.0.0.0/8", "10.255.255.255", true},
      {"10.0.0.0/8", "11.0.0.0", false},
      {"10.0.0.0/8", "9.255.255.255", false},
      {"10.0.0.0/9", "10.127.255.255", true},
      {"10.0.0.0/9", "10.128.0.0", false},
      {"192.0.2.4/31", "192.0.2.5", true},
      {"192.0.2.4/31", "192.0.2.6", false},
      {"192.0.2.4", "192.0.2.4", true},
      {"192.0.2.4", "192.0.2.5", false},
      {"0.0.0.0/0", "255.255.255.255", true},
      {"0.0.0.0/0", "::1", false},
      {"::/0", "2001:db8::1", true},
      {"::/0", "192.0.2.1", false},
      {"::/0", "::ffff:192.0.2.1", false},
      {"10.0.0.0/8", "::ffff:10.1.2.3", true},
      {"2001:db8::/33", "2001:db8:7fff::", true},
      {"2001:db8::/33", "2001:db8:8000::", false},
      {"2001:db8::/64", "2001:db8::ffff:ffff:ffff:ffff", true},
      {"2001:db8::/64", "2001:db8:0:1::", false},
      {"2001:db8::1", "2001:db8::1", true},
      {"2001:db8::1", "2001:db8::", false},
  };
  for (const auto& row : kRows) {
    EXPECT_EQ(Network::Parse(row.network)->Contains(Ip(row.ip)), row.contains)
        << row.network << " " << row.ip;
  }
}

TEST(NetworkTest, AnyContainsLooksAtAll) {
  const std::vector<Network> networks = {*Network::Parse("10.0.0.0/8"), *Network::Parse("::1")};
  EXPECT_TRUE(AnyContains(networks, Ip("10.1.1.1")));
  EXPECT_TRUE(AnyContains(networks, Ip("::1")));
  EXPECT_FALSE(AnyContains(networks, Ip("192.0.2.1")));
  EXPECT_FALSE(AnyContains({}, Ip("10.1.1.1")));
}

}  // namespace
}  // namespace postern::base
