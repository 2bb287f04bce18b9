// url: an http:// or https:// URL in its parts, as a client needs them.
//
// Rules:    RFC 3986, RFC 9110 4.2; strict: no user names, no blanks, no control characters.
// Tests:    test/base/url_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "lb/base/result.h"

namespace postern::base {

struct HttpUrl {
  bool is_https = false;
  std::string host;          // a name or an IP address, without brackets, in lower case
  uint16_t port = 0;         // 80 or 443 if the URL has none
  std::string authority;     // for the Host header: with brackets, and the port if the URL has one
  std::string target = "/";  // path and query, without a fragment
};

// An error says what is wrong with it.
[[nodiscard]] Result<HttpUrl> ParseHttpUrl(std::string_view text);

}  // namespace postern::base
