// dial_test: an endpoint's addresses in turn, sources, TLS by name, and the words of a fault.
// SPDX-License-Identifier: Apache-2.0
#include "lb/session/dial.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "test/support/mail_world.h"

namespace postern::test {
namespace {

using base::FaultKind;
using base::IpAddress;
using base::Phase;

// Keeps what is asked for; connects nobody.
class AskedDialer final : public io::Dialer {
 public:
  std::unique_ptr<io::Stream> Connect(const io::DialOptions& options,
                                      io::Stream::Observer& /*observer*/) override {
    asked.push_back(options);
    return nullptr;
  }
  std::vector<io::DialOptions> asked;
};

class Deaf final : public io::Stream::Observer {
 public:
  void OnStream(io::Stream& /*stream*/, io::Stream::Event /*event*/) override {}
};

class DialTest : public testing::Test {
 protected:
  DialTest() { world_.Build(); }
  const balance::Endpoint& endpoint() { return world_.env().parts->endpoints->endpoints()[0]; }
  void SetAddresses(const std::vector<std::string>& addresses) {
    auto facts = std::make_shared<balance::EndpointFacts>();
    for (const std::string& each : addresses) facts->addresses.push_back(*IpAddress::Parse(each));
    endpoint().state->set_facts(std::move(facts));
  }
  // Dials all that there is of it.
  std::vector<io::DialOptions> DialAll(const balance::Endpoint& endpoint) {
    AskedDialer dialer;
    const session::SessionEnv& its = world_.env();
    session::SessionEnv env{its.loop,     dialer,       its.resolver, its.rng,  its.picker,
                            its.recorder, its.accounts, its.host,     its.parts};
    session::Dial dial(endpoint);
    while (dial.num_left() > 0) EXPECT_EQ(dial.Next(env, deaf_), nullptr);
    return dialer.asked;
  }

  Deaf deaf_;
  MailWorld world_{conf::Protocol::kTcp};
};

TEST_F(DialTest, DialsEachAddressOnceInTheirOrder) {
  SetAddresses({"10.0.0.9", "2001:db8::9", "10.0.0.8"});
  std::vector<std::string> dialled;
  for (const io::DialOptions& each : DialAll(endpoint()))
    dialled.push_back(each.address.ToString());
  EXPECT_EQ(dialled,
            (std::vector<std::string>{"10.0.0.9:143", "[2001:db8::9]:143", "10.0.0.8:143"}));
}

TEST_F(DialTest, AHostThatIsAnAddressNeedsNoResolving) {
  endpoint().state->set_facts(nullptr);
  const auto dialled = DialAll(endpoint());
  ASSERT_EQ(dialled.size(), 1U);
  EXPECT_EQ(dialled[0].address.ToString(), "10.0.0.1:143");
}

TEST_F(DialTest, AHostThatWasNotResolvedHasNone) {
  conf::Backend named = *endpoint().backend;
  named.host = "mail1.internal";
  balance::Endpoint unresolved = endpoint();
  unresolved.backend = &named;
  unresolved.state->set_facts(nullptr);
  EXPECT_EQ(session::Dial(unresolved).num_left(), 0U);
}

// Whatever the die says: each of the sources' families has one.
TEST_F(DialTest, TheSourceIsOfTheAddressesFamily) {
  conf::Backend sourced = *endpoint().backend;
  sourced.source_addresses = {*IpAddress::Parse("192.0.2.1"), *IpAddress::Parse("2001:db8::1")};
  balance::Endpoint its = endpoint();
  its.backend = &sourced;
  SetAddresses({"10.0.0.9", "2001:db8::9"});
  for (int i = 0; i < 8; ++i) {
    for (const io::DialOptions& each : DialAll(its)) {
      ASSERT_TRUE(each.source.has_value());
      EXPECT_EQ(each.source->family(), each.address.ip.family());
    }
  }
}

TEST_F(DialTest, WithoutASourceTheSystemChooses) {
  for (const io::DialOptions& each : DialAll(endpoint())) EXPECT_FALSE(each.source.has_value());
}

TEST_F(DialTest, TlsIsByTheNameThatIsVerified) {
  conf::Backend backend = *endpoint().backend;
  balance::Endpoint its = endpoint();
  its.backend = &backend;
  EXPECT_EQ(session::BackTls(*world_.env().parts, its).server_name, "10.0.0.1");
  backend.verify.name = "mail1.example";
  EXPECT_EQ(session::BackTls(*world_.env().parts, its).server_name, "mail1.example");
}

TEST_F(DialTest, AFaultIsToldWithWhatIsKnownOfIt) {
  EXPECT_EQ(session::FaultInWords(endpoint(), Phase::kConnect, FaultKind::kRefused, "no route"),
            "b1 connect refused: no route");
  EXPECT_EQ(session::FaultInWords(endpoint(), Phase::kTls, FaultKind::kTimeout, ""),
            "b1 tls timeout");
}

TEST_F(DialTest, AStreamIsClosedAtOnceAndDeletedLater) {
  session::CloseLater(world_.loop, nullptr);
  auto [near, far] = world_.net.Pair(*base::SocketAddress::Parse("10.0.0.1:1"),
                                     *base::SocketAddress::Parse("10.0.0.2:2"));
  const SimStream& stream = *near;
  session::CloseLater(world_.loop, std::move(near));
  EXPECT_TRUE(stream.is_closed());  // it is still there
  world_.Settle();
}

}  // namespace
}  // namespace postern::test
