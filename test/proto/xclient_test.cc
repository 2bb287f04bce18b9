// xclient_test: who the client is, in the words of XCLIENT.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/xclient.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace postern::proto {
namespace {

using base::PeerName;
using Lines = std::vector<std::string>;

constexpr uint8_t kAll = 0xff;

XclientFacts Facts() {
  XclientFacts facts;
  facts.client = *base::SocketAddress::Parse("192.0.2.7:40000");
  facts.local = *base::SocketAddress::Parse("198.51.100.1:25");
  facts.helo = "client.example";
  return facts;
}

TEST(XclientTest, SaysAllThatIsAnnounced) {
  XclientFacts facts = Facts();
  facts.name_kind = PeerName::Kind::kName;
  facts.name = "host.example";
  facts.login = "alice";
  EXPECT_EQ(BuildXclient(facts, kAll),
            Lines{"XCLIENT NAME=host.example REVERSE_NAME=host.example PROTO=ESMTP "
                  "HELO=client.example PORT=40000 DESTADDR=198.51.100.1 LOGIN=alice "
                  "ADDR=192.0.2.7\r\n"});
}

TEST(XclientTest, SaysNothingThatIsNotAnnounced) {
  EXPECT_EQ(BuildXclient(Facts(), kXclientAddr), Lines{"XCLIENT ADDR=192.0.2.7\r\n"});
  EXPECT_EQ(BuildXclient(Facts(), kXclientAddr | kXclientHelo),
            Lines{"XCLIENT HELO=client.example ADDR=192.0.2.7\r\n"});
  EXPECT_TRUE(BuildXclient(Facts(), kXclientName | kXclientHelo).empty());
}

TEST(XclientTest, NamesWhatIsNotKnown) {
  XclientFacts facts = Facts();
  facts.name_kind = PeerName::Kind::kUnavailable;
  EXPECT_EQ(BuildXclient(facts, kXclientName | kXclientAddr),
            Lines{"XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.7\r\n"});
  facts.name_kind = PeerName::Kind::kTempUnavailable;
  EXPECT_EQ(BuildXclient(facts, kXclientReverseName | kXclientAddr),
            Lines{"XCLIENT REVERSE_NAME=[TEMPUNAVAIL] ADDR=192.0.2.7\r\n"});
}

TEST(XclientTest, LetsNoNameSayMoreThanAName) {
  XclientFacts facts = Facts();
  facts.name_kind = PeerName::Kind::kName;
  for (const char* name : {"a b", "a\r\nRSET", "[UNAVAILABLE]", "", "a\tb"}) {
    facts.name = name;
    EXPECT_EQ(BuildXclient(facts, kXclientName | kXclientAddr),
              Lines{"XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.7\r\n"})
        << name;
  }
}

TEST(XclientTest, EncodesWhatTheClientSaid) {
  XclientFacts facts = Facts();
  facts.helo = "x+y=z";
  facts.login = "al ice ADDR=192.0.2.99";
  EXPECT_EQ(BuildXclient(facts, kXclientHelo | kXclientLogin | kXclientAddr),
            Lines{"XCLIENT HELO=x+2By+3Dz LOGIN=al+20ice+20ADDR+3D192.0.2.99 ADDR=192.0.2.7\r\n"});
}

TEST(XclientTest, LeavesOutALoginThatIsNoLine) {
  XclientFacts facts = Facts();
  facts.login = "a\nb";
  EXPECT_EQ(BuildXclient(facts, kXclientLogin | kXclientAddr), Lines{"XCLIENT ADDR=192.0.2.7\r\n"});
}

TEST(XclientTest, MarksIpv6) {
  XclientFacts facts = Facts();
  facts.client = *base::SocketAddress::Parse("[2001:db8::7]:40000");
  facts.is_esmtp = false;
  EXPECT_EQ(BuildXclient(facts, kXclientAddr | kXclientProto),
            Lines{"XCLIENT PROTO=SMTP ADDR=IPV6:2001:db8::7\r\n"});
}

TEST(XclientTest, SplitsAt512WithTheAddressLast) {
  XclientFacts facts = Facts();
  const std::string name(200, 'n');
  const std::string helo(150, 'h');
  const std::string login(450, 'l');
  facts.name_kind = PeerName::Kind::kName;
  facts.name = name;
  facts.helo = helo;
  facts.login = login;
  const Lines lines = BuildXclient(facts, kAll);
  ASSERT_EQ(lines.size(), 3U);
  for (const std::string& line : lines) EXPECT_LE(line.size(), 512U);
  EXPECT_EQ(lines[2], "XCLIENT LOGIN=" + login + " ADDR=192.0.2.7\r\n");
  EXPECT_EQ(lines[0].find("ADDR="), std::string::npos);
  EXPECT_EQ(lines[1].find(" ADDR="), std::string::npos);
}

TEST(XclientTest, LeavesOutWhatFitsNoLine) {
  XclientFacts facts = Facts();
  const std::string helo(600, 'h');
  facts.helo = helo;
  facts.login = helo;
  EXPECT_EQ(BuildXclient(facts, kXclientHelo | kXclientLogin | kXclientAddr),
            Lines{"XCLIENT ADDR=192.0.2.7\r\n"});
}

TEST(XclientTest, ReadsAnnouncedAttributes) {
  EXPECT_EQ(ParseXclientAttributes(" NAME addr  LOGIN X"),
            kXclientName | kXclientAddr | kXclientLogin);
  EXPECT_EQ(ParseXclientAttributes(""), 0);
}

}  // namespace
}  // namespace postern::proto
