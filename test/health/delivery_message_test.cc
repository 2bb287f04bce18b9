// delivery_message_test: whose a message is, and what it looks like.
// SPDX-License-Identifier: Apache-2.0
#include "health/delivery_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace postern::health {
namespace {

using testing::HasSubstr;
constexpr std::string_view kId = "0123456789abcdef0123456789abcdef";

TEST(DeliveryOwnerTest, IsPlainAndTellsNamesApart) {
  EXPECT_EQ(DeliveryOwner("lb1.example", "round-trip"), "lb1.example/round-trip");
  EXPECT_NE(DeliveryOwner("a b", "p"), DeliveryOwner("a_b", "p"));
  EXPECT_NE(DeliveryOwner("a", "b/c"), DeliveryOwner("a/b", "c"));
  const std::string longest = DeliveryOwner(std::string(300, 'n'), std::string(300, '"'));
  EXPECT_LE(longest.size(), 100U);
  EXPECT_EQ(longest.find_first_of(" \"\\"), std::string::npos);
  EXPECT_NE(longest, DeliveryOwner(std::string(301, 'n'), std::string(300, '"')));
}

TEST(DeliveryIdOfTest, OnlyOneLineOfTheSameOwnerCounts) {
  const std::string line = "X-Postern-Probe: n/p " + std::string(kId) + "\r\n";
  EXPECT_EQ(DeliveryIdOf(line, "n/p"), kId);
  EXPECT_EQ(DeliveryIdOf("x-postern-probe: n/p\r\n " + std::string(kId) + "\r\n\r\n", "n/p"), kId);
  EXPECT_FALSE(DeliveryIdOf(line + line, "n/p").has_value());
  EXPECT_FALSE(DeliveryIdOf(line, "n/pp").has_value());
  EXPECT_FALSE(DeliveryIdOf(line, "/p").has_value());
  EXPECT_FALSE(DeliveryIdOf("X-Postern-Probe: n/p\r\n", "n/p").has_value());
  EXPECT_FALSE(DeliveryIdOf("X-Postern-Probe: n/p short\r\n", "n/p").has_value());
  EXPECT_FALSE(DeliveryIdOf("", "n/p").has_value());
}

TEST(PrintDeliveryMessageTest, IsWholeAndKnownAgain) {
  const std::string text =
      PrintDeliveryMessage({"n/p", std::string(kId), "a@example.com", "b@example.com",
                            "lb1.example", base::WallTime(std::chrono::seconds(1'764'000'000))});
  EXPECT_THAT(text, HasSubstr("Date: Mon, 24 Nov 2025 16:00:00 +0000\r\n"));
  EXPECT_THAT(text, HasSubstr("Auto-Submitted: auto-generated\r\n"));
  EXPECT_EQ(DeliveryIdOf(text.substr(0, text.find("\r\n\r\n") + 2), "n/p"), kId);
  for (size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 1))
    EXPECT_EQ(text[at - 1], '\r');
  EXPECT_TRUE(text.ends_with("\r\n"));
}

}  // namespace
}  // namespace postern::health
