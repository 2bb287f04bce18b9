// url: an http:// or https:// URL in its parts.
// SPDX-License-Identifier: Apache-2.0
#include "lb/base/url.h"

#include <algorithm>
#include <charconv>
#include <system_error>

#include "lb/base/address.h"
#include "lb/base/bytes.h"

namespace postern::base {
namespace {

bool IsHostChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

}  // namespace

Result<HttpUrl> ParseHttpUrl(std::string_view text) {
  HttpUrl url;
  constexpr std::string_view kHttp = "http://";
  constexpr std::string_view kHttps = "https://";
  if (StartsWithIgnoreCase(text, kHttps)) {
    url.is_https = true;
    text.remove_prefix(kHttps.size());
  } else if (StartsWithIgnoreCase(text, kHttp)) {
    text.remove_prefix(kHttp.size());
  } else {
    return Error{"it begins neither with http:// nor with https://"};
  }
  const auto is_bad = [](char c) {
    return static_cast<unsigned char>(c) <= ' ' || static_cast<unsigned char>(c) >= 0x7f;
  };
  if (std::any_of(text.begin(), text.end(), is_bad))
    return Error{"it has blanks, control characters or characters that are not ASCII"};
  text = text.substr(0, text.find('#'));
  const size_t path = std::min(text.find_first_of("/?"), text.size());
  std::string_view authority = text.substr(0, path);
  url.target = text.substr(path);
  if (!url.target.starts_with('/')) url.target.insert(0, "/");
  if (authority.find('@') != std::string_view::npos)
    return Error{"a user name has no place in it; give a header"};
  url.authority = ToLower(authority);
  std::string_view host = url.authority;
  std::string_view port;
  const size_t colon = host.rfind(':');
  const size_t bracket = host.rfind(']');
  if (colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket)) {
    port = host.substr(colon + 1);
    host = host.substr(0, colon);
    unsigned number = 0;
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
    if (port.empty() || error != std::errc() || end != port.data() + port.size() || number == 0 ||
        number > 65535)
      return Error{"its port is none"};
    url.port = static_cast<uint16_t>(number);
  } else {
    url.port = url.is_https ? 443 : 80;
  }
  if (host.starts_with('[') && host.ends_with(']') && host.size() > 2) {
    host = host.substr(1, host.size() - 2);
    const auto ip = IpAddress::Parse(host);
    if (!ip || host.find(':') == std::string_view::npos)
      return Error{"what is in the brackets is no IPv6 address"};
  } else if (host.empty() || !std::all_of(host.begin(), host.end(), IsHostChar)) {
    return Error{host.empty() ? "it has no host" : "its host is none"};
  }
  url.host = host;
  return url;
}

}  // namespace postern::base
