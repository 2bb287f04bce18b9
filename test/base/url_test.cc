// url_test: http:// and https:// URLs in their parts.
// SPDX-License-Identifier: Apache-2.0
#include "lb/base/url.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace postern::base {
namespace {

TEST(UrlTest, Parts) {
  struct Case {
    std::string_view text;
    bool is_https;
    std::string_view host;
    uint16_t port;
    std::string_view authority, target;
  };
  constexpr Case kCases[] = {
      {"http://10.0.0.11:9154/metrics", false, "10.0.0.11", 9154, "10.0.0.11:9154", "/metrics"},
      {"https://Mail1.Example/q?a=b&c", true, "mail1.example", 443, "mail1.example", "/q?a=b&c"},
      {"HTTP://h", false, "h", 80, "h", "/"},
      {"http://h?x=/", false, "h", 80, "h", "/?x=/"},
      {"http://h/a#b", false, "h", 80, "h", "/a"},
      {"http://h#b", false, "h", 80, "h", "/"},
      {"https://[2001:DB8::1]:8443/", true, "2001:db8::1", 8443, "[2001:db8::1]:8443", "/"},
      {"http://[::1]", false, "::1", 80, "[::1]", "/"},
      {"http://queue_agent.internal:80/", false, "queue_agent.internal", 80,
       "queue_agent.internal:80", "/"}};
  for (const Case& row : kCases) {
    const auto url = ParseHttpUrl(row.text);
    ASSERT_TRUE(url.ok()) << row.text << ": " << url.error();
    EXPECT_EQ(url->is_https, row.is_https) << row.text;
    EXPECT_EQ(url->host, row.host) << row.text;
    EXPECT_EQ(url->port, row.port) << row.text;
    EXPECT_EQ(url->authority, row.authority) << row.text;
    EXPECT_EQ(url->target, row.target) << row.text;
  }
}

TEST(UrlTest, WhatIsNone) {
  for (const std::string_view text : {"",
                                      "ftp://h/",
                                      "http:/h",
                                      "http://",
                                      "http:///x",
                                      "http://h:0/",
                                      "http://h:65536/",
                                      "http://h:/",
                                      "http://h:80x/",
                                      "http://user@h/",
                                      "http://user:word@h/",
                                      "http://h/a b",
                                      "http://h/\r\nX: y",
                                      "http://[::1/",
                                      "http://::1/",
                                      "http://[10.0.0.1]/",
                                      "http://[]/",
                                      "http://h\x7f/",
                                      "http://h%2f/",
                                      "http://\xc3\xa9/",
                                      "http://[::1]x/"}) {
    EXPECT_FALSE(ParseHttpUrl(text).ok()) << text;
  }
}

}  // namespace
}  // namespace postern::base
