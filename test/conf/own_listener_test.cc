// own_listener_test: what leads back to Postern.
// SPDX-License-Identifier: Apache-2.0
#include "conf/own_listener.h"

#include <gtest/gtest.h>

namespace postern::conf {
namespace {

base::SocketAddress At(std::string_view text) {
  return *base::SocketAddress::Parse(text);
}

// The name of the listener that is found; "" for none. 10.0.0.12 is an interface's.
std::string Found(const std::vector<OwnListener>& listeners, std::string_view target) {
  const OwnListener* const found =
      FindOwnListener(listeners, At(target),
                      [](const base::IpAddress& ip) { return ip.ToString() == "10.0.0.12"; });
  return found == nullptr ? "" : found->name;
}

TEST(OwnListenerTest, AWildcardIsEveryAddressOfThisMachineAndFamily) {
  const std::vector<OwnListener> listeners = {{"a", At("0.0.0.0:25")}};
  EXPECT_EQ(Found(listeners, "10.0.0.12:25"), "a");
  EXPECT_EQ(Found(listeners, "127.0.0.9:25"), "a");
  EXPECT_EQ(Found(listeners, "10.0.0.13:25"), "");
  EXPECT_EQ(Found(listeners, "10.0.0.12:26"), "");
  EXPECT_EQ(Found(listeners, "[::1]:25"), "");
}

TEST(OwnListenerTest, AnAddressIsOnlyItself) {
  const std::vector<OwnListener> listeners = {{"a", At("127.0.0.1:25")}};
  EXPECT_EQ(Found(listeners, "127.0.0.1:25"), "a");
  EXPECT_EQ(Found(listeners, "127.0.0.2:25"), "");
}

TEST(OwnListenerTest, AnotherListenersAddressIsThisMachinesToo) {
  const std::vector<OwnListener> listeners = {{"a", At("192.0.2.1:25")}, {"b", At("0.0.0.0:587")}};
  EXPECT_EQ(Found(listeners, "192.0.2.1:587"), "b");
}

TEST(OwnListenerTest, WorksWithoutTheInterfaces) {
  EXPECT_EQ(FindOwnListener({{"a", At("0.0.0.0:25")}}, At("10.0.0.12:25"), nullptr), nullptr);
}

TEST(OwnListenerTest, AConfigurationsAreThoseWithAPort) {
  Config config;
  config.listeners.resize(2);
  config.listeners[0].name = "a";
  config.listeners[0].addresses = {At("127.0.0.1:25"), At("[::1]:25")};
  config.listeners[1].addresses = {At("127.0.0.1:0")};
  const auto listeners = OwnListenersOf(config);
  ASSERT_EQ(listeners.size(), 2U);
  EXPECT_EQ(listeners[1].name, "a");
}

}  // namespace
}  // namespace postern::conf
