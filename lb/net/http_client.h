// http_client: one request to a running Postern, waited for: for the command line, never for a
// loop.
//
// Tests:    test/net/http_server_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "lb/base/address.h"
#include "lb/base/clock.h"
#include "lb/base/result.h"

namespace postern::net {

struct HttpCall {
  std::string unix_path{};  // if not empty, instead of the address
  base::SocketAddress address{};
  std::string method = "GET";
  std::string target = "/";  // path and query, percent-encoded
  std::vector<std::pair<std::string, std::string>> headers{};
  std::string body{};
  base::Duration timeout = std::chrono::seconds(30);
  size_t max_bytes = 64 << 20;
};

struct HttpAnswer {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
};

// An error says what could not be reached or read, for the operator.
[[nodiscard]] base::Result<HttpAnswer> Fetch(const HttpCall& call);

// Everything but letters, digits and "-._~" as %NN: for users and names in paths.
[[nodiscard]] std::string PercentEncode(std::string_view text);

}  // namespace postern::net
