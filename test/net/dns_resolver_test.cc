// dns_resolver_test: names and addresses from a small DNS server on loopback.
// SPDX-License-Identifier: Apache-2.0
#include "lb/net/dns_resolver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <map>

#include "test/net/loop_fixture.h"

namespace postern::net {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;
using Kind = io::PeerName::Kind;

constexpr uint16_t kA = 1;
constexpr uint16_t kPtr = 12;
constexpr uint16_t kAaaa = 28;

// Answers from a table over UDP; silent about what it is told to be silent about.
class FakeDns {
 public:
  explicit FakeDns(EventLoop& loop) : fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0)) {
    sockaddr_storage storage{};
    const unsigned size = Loopback().ToSockaddr(&storage);
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&storage), size), 0);
    event_.Init(
        loop, fd_.get(), [](void* self, uint8_t) { static_cast<FakeDns*>(self)->Answer(); }, this);
    event_.Watch(FdEvent::kRead);
  }
  [[nodiscard]] std::string address() const { return LocalAddressOf(fd_.get()).ToString(); }

  void Add(const std::string& name, uint16_t type, const std::string& data, uint32_t ttl = 300) {
    records_[{name, type}].push_back({data, ttl});
  }
  void AddA(const std::string& name, const std::string& ip, uint32_t ttl = 300) {
    const base::IpAddress address = *base::IpAddress::Parse(ip);
    Add(name, address.is_v4() ? kA : kAaaa,
        std::string(reinterpret_cast<const char*>(address.bytes().data()),
                    address.is_v4() ? 4 : 16),
        ttl);
  }
  void AddPtr(const std::string& reverse, const std::string& name) {
    Add(reverse, kPtr, Labels(name));
  }
  void Fail(const std::string& name) { failing_[name] = true; }
  void BeSilentAbout(const std::string& name) { silent_[name] = true; }
  [[nodiscard]] int num_questions() const { return num_questions_; }

  static std::string Labels(const std::string& name) {
    std::string wire;
    size_t start = 0;
    while (start < name.size()) {
      const size_t end = std::min(name.find('.', start), name.size());
      wire += static_cast<char>(end - start);
      wire += name.substr(start, end - start);
      start = end + 1;
    }
    return wire + '\0';
  }

 private:
  struct Record {
    std::string data;
    uint32_t ttl;
  };
  static std::string U16(uint32_t n) { return {static_cast<char>(n >> 8), static_cast<char>(n)}; }

  void Answer() {
    char buffer[1500];
    sockaddr_storage from{};
    socklen_t from_size = sizeof from;
    ssize_t n = 0;
    while ((n = ::recvfrom(fd_.get(), buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from),
                           &from_size)) > 12) {
      const std::string query(buffer, static_cast<size_t>(n));
      std::string name;
      size_t at = 12;
      while (query[at] != 0) {
        if (!name.empty()) name += '.';
        name += query.substr(at + 1, static_cast<size_t>(query[at]));
        at += 1 + static_cast<size_t>(query[at]);
      }
      const auto type = static_cast<uint16_t>(query[at + 2]);
      const std::string question = query.substr(12, at + 5 - 12);
      ++num_questions_;
      name = base::ToLower(name);
      if (silent_.contains(name)) continue;
      bool is_known = false;
      for (const auto& [key, records] : records_) is_known = is_known || key.first == name;
      const std::vector<Record> found = records_[{name, type}];
      const int code = failing_.contains(name) ? 2 : is_known ? 0 : 3;
      std::string reply = query.substr(0, 2) + "\x81" + static_cast<char>(0x80 | code) + U16(1) +
                          U16(static_cast<uint32_t>(found.size())) + U16(0) + U16(0) + question;
      for (const Record& record : found) {
        reply += U16(0xc00c) + U16(type) + U16(1) + U16(record.ttl >> 16) +
                 U16(record.ttl & 0xffff) + U16(static_cast<uint32_t>(record.data.size())) +
                 record.data;
      }
      ::sendto(fd_.get(), reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&from),
               from_size);
    }
  }

  OwnedFd fd_;
  FdEvent event_;
  std::map<std::pair<std::string, uint16_t>, std::vector<Record>> records_;
  std::map<std::string, bool> failing_;
  std::map<std::string, bool> silent_;
  int num_questions_ = 0;
};

class DnsResolverTest : public LoopTest {
 protected:
  io::ResolvedName Resolve(const std::string& host) {
    std::optional<io::ResolvedName> result;
    bool was_called_within = true;
    resolver_->Resolve(host, [&](const io::ResolvedName& found) {
      EXPECT_FALSE(was_called_within);
      EXPECT_FALSE(result.has_value());
      result = found;
    });
    was_called_within = false;
    Until([&] { return result.has_value(); });
    return *result;
  }
  io::PeerName FindPeerName(const std::string& ip) {
    std::optional<io::PeerName> result;
    resolver_->FindPeerName(*base::IpAddress::Parse(ip),
                            [&](const io::PeerName& found) { result = found; });
    EXPECT_FALSE(result.has_value());
    Until([&] { return result.has_value(); });
    return *result;
  }
  static std::vector<std::string> Texts(const io::ResolvedName& name) {
    std::vector<std::string> texts;
    for (const base::IpAddress& address : name.addresses) texts.push_back(address.ToString());
    return texts;
  }

  FakeDns dns_{loop_};
  std::unique_ptr<DnsResolver> resolver_ =
      std::make_unique<DnsResolver>(loop_, DnsOptions{.servers = dns_.address(),
                                                      .timeout = std::chrono::seconds(20),
                                                      .tries = 1,
                                                      .max_cached = 2});
};

TEST_F(DnsResolverTest, FindsAllAddressesAndTheSmallestTtl) {
  dns_.AddA("mail.example.test", "192.0.2.1", 300);
  dns_.AddA("mail.example.test", "192.0.2.2", 120);
  dns_.AddA("mail.example.test", "2001:db8::1", 600);
  const io::ResolvedName found = Resolve("mail.example.test");
  EXPECT_THAT(Texts(found), UnorderedElementsAre("192.0.2.1", "192.0.2.2", "2001:db8::1"));
  EXPECT_EQ(found.ttl, base::Duration(std::chrono::seconds(120)));
  EXPECT_EQ(found.error, "");
}

TEST_F(DnsResolverTest, ATtlOfNothingIsStillSomeSeconds) {
  dns_.AddA("a.example.test", "192.0.2.1", 1);
  EXPECT_EQ(Resolve("a.example.test").ttl, base::Duration(std::chrono::seconds(5)));
}

TEST_F(DnsResolverTest, ANameThatIsNotThereHasNoAddress) {
  const io::ResolvedName found = Resolve("none.example.test");
  EXPECT_TRUE(found.addresses.empty());
  EXPECT_EQ(found.error, "the name has no address");
  EXPECT_EQ(found.ttl, base::Duration{});
}

TEST_F(DnsResolverTest, AFailingOrSilentServerIsAnError) {
  dns_.Fail("failing.example.test");
  EXPECT_THAT(Resolve("failing.example.test").error, ::testing::StartsWith("DNS: "));
  resolver_ = std::make_unique<DnsResolver>(
      loop_,
      DnsOptions{.servers = dns_.address(), .timeout = std::chrono::milliseconds(20), .tries = 1});
  dns_.BeSilentAbout("silent.example.test");
  EXPECT_THAT(Resolve("silent.example.test").error, ::testing::HasSubstr("imeout"));
}

TEST_F(DnsResolverTest, LiteralsAndHostsNeedNoServer) {
  EXPECT_THAT(Texts(Resolve("192.0.2.7")), ElementsAre("192.0.2.7"));
  EXPECT_THAT(Texts(Resolve("2001:db8::7")), ElementsAre("2001:db8::7"));
  EXPECT_THAT(Texts(Resolve("localhost")), ::testing::Contains("127.0.0.1"));
  EXPECT_EQ(dns_.num_questions(), 0);
}

TEST_F(DnsResolverTest, WhatIsNoHostNameIsNotAsked) {
  for (const char* name : {"", ".", "a..b", "a b.test", "evil\r\n.test", "\xff.test"}) {
    EXPECT_EQ(Resolve(name).error, "not a host name");
  }
  EXPECT_EQ(dns_.num_questions(), 0);
}

TEST_F(DnsResolverTest, ManyQuestionsAtOnce) {
  constexpr int kNames = 50;  // what a socket buffer holds without loss
  int num_right = 0;
  int num_done = 0;
  for (int i = 0; i < kNames; ++i) {
    const std::string name = "h" + std::to_string(i) + ".example.test";
    const std::string ip = "10.1.0." + std::to_string(i);
    dns_.AddA(name, ip);
    resolver_->Resolve(name, [&, ip](const io::ResolvedName& found) {
      ++num_done;
      num_right += Texts(found) == std::vector<std::string>{ip} ? 1 : 0;
    });
  }
  Until([&] { return num_done == kNames; });
  EXPECT_EQ(num_right, kNames);
}

TEST_F(DnsResolverTest, ADeadResolverCallsNobody) {
  dns_.AddA("a.example.test", "192.0.2.1");
  bool was_called = false;
  resolver_->Resolve("192.0.2.1", [&](const io::ResolvedName&) { was_called = true; });
  resolver_->Resolve("a.example.test", [&](const io::ResolvedName&) { was_called = true; });
  resolver_->FindPeerName(*base::IpAddress::Parse("192.0.2.1"),
                          [&](const io::PeerName&) { was_called = true; });
  resolver_.reset();
  Settle();
  EXPECT_FALSE(was_called);
}

// --- names of peers -------------------------------------------------------------------------

TEST_F(DnsResolverTest, APeersNameMustPointBack) {
  dns_.AddPtr("1.2.0.192.in-addr.arpa", "MX.Example.test");
  dns_.AddA("mx.example.test", "192.0.2.1");
  const io::PeerName right = FindPeerName("192.0.2.1");
  EXPECT_EQ(right.kind, Kind::kName);
  EXPECT_EQ(right.name, "mx.example.test");

  dns_.AddPtr("2.2.0.192.in-addr.arpa", "mx.example.test");  // somebody else's name
  const io::PeerName stolen = FindPeerName("192.0.2.2");
  EXPECT_EQ(stolen.kind, Kind::kUnavailable);
  EXPECT_EQ(stolen.name, "");
}

TEST_F(DnsResolverTest, OneNameOfSeveralIsEnough) {
  dns_.AddPtr("1.2.0.192.in-addr.arpa", "old.example.test");
  dns_.AddPtr("1.2.0.192.in-addr.arpa", "new.example.test");
  dns_.AddA("new.example.test", "192.0.2.1");
  EXPECT_EQ(FindPeerName("192.0.2.1").name, "new.example.test");
}

TEST_F(DnsResolverTest, Ipv6PeersHaveNamesToo) {
  dns_.AddPtr("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
              "six.example.test");
  dns_.AddA("six.example.test", "2001:db8::1");
  EXPECT_EQ(FindPeerName("2001:db8::1").name, "six.example.test");
}

TEST_F(DnsResolverTest, TellsNoNameFromNoAnswer) {
  EXPECT_EQ(FindPeerName("192.0.2.3").kind, Kind::kUnavailable);
  dns_.Fail("4.2.0.192.in-addr.arpa");
  EXPECT_EQ(FindPeerName("192.0.2.4").kind, Kind::kTempUnavailable);
  dns_.AddPtr("5.2.0.192.in-addr.arpa", "failing.example.test");
  dns_.Fail("failing.example.test");
  EXPECT_EQ(FindPeerName("192.0.2.5").kind, Kind::kTempUnavailable);
}

TEST_F(DnsResolverTest, TheHostsFileNamesPeersToo) {
  const io::PeerName found = FindPeerName("127.0.0.1");
  EXPECT_EQ(found.kind, Kind::kName);
  EXPECT_EQ(dns_.num_questions(), 0);
}

TEST_F(DnsResolverTest, ANameThatIsNoHostNameIsNone) {
  dns_.AddPtr("6.2.0.192.in-addr.arpa", "evil name.example.test");
  EXPECT_EQ(FindPeerName("192.0.2.6").kind, Kind::kUnavailable);
}

TEST_F(DnsResolverTest, AsksOnceForManyAndRemembersFailuresToo) {
  int num_done = 0;
  for (int i = 0; i < 5; ++i) {
    resolver_->FindPeerName(*base::IpAddress::Parse("192.0.2.9"), [&](const io::PeerName& found) {
      EXPECT_EQ(found.kind, Kind::kUnavailable);
      ++num_done;
    });
  }
  Until([&] { return num_done == 5; });
  const int num_questions = dns_.num_questions();
  EXPECT_EQ(FindPeerName("192.0.2.9").kind, Kind::kUnavailable);
  EXPECT_EQ(dns_.num_questions(), num_questions);
}

TEST_F(DnsResolverTest, TheMemoryOfPeersIsBounded) {
  for (int i = 10; i < 20; ++i) (void)FindPeerName("192.0.2." + std::to_string(i));
  const int num_questions = dns_.num_questions();
  (void)FindPeerName("192.0.2.10");  // forgotten by now
  EXPECT_GT(dns_.num_questions(), num_questions);
}

TEST(PlainHostNameTest, IsStrict) {
  EXPECT_EQ(PlainHostName("MX-1.Example_x.com."), "mx-1.example_x.com");
  for (const char* bad : {"", ".", "..", "a..b", ".a", "a b", "a\r\nb", "a\xc3\xa4.com", "1.2.3.4",
                          "::1", "a/b", "[1.2.3.4]"}) {
    EXPECT_EQ(PlainHostName(bad), "") << bad;
  }
  EXPECT_EQ(PlainHostName(std::string(64, 'a') + ".com"), "");
  EXPECT_EQ(PlainHostName(std::string(63, 'a') + ".com"), std::string(63, 'a') + ".com");
  EXPECT_EQ(PlainHostName(std::string_view("a\0b", 3)), "");
}

}  // namespace
}  // namespace postern::net
