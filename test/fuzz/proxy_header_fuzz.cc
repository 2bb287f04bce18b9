// proxy_header_fuzz: the first bytes of a connection. A verdict does not depend on the cut, and
// what was read is printed and read back alike.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/proxy_header.h"

#include <cstdint>
#include <string>
#include <string_view>

#include "lb/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace postern::proto;
  using Status = ProxyParse::Status;
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const ProxyParse whole = ParseProxyHeader(all);
  for (size_t n = 0; n < size; ++n) {
    // A copy of just these bytes: reading beyond them is found.
    const std::string part(all.substr(0, n));
    const ProxyParse early = ParseProxyHeader(part);
    if (early.status == Status::kNeedMore) {
      POSTERN_CHECK(n < kMaxProxyHeaderBytes);
      continue;
    }
    POSTERN_CHECK(early.status == whole.status && early.size_bytes == whole.size_bytes);
    break;
  }
  if (whole.status != Status::kDone) return 0;
  POSTERN_CHECK(whole.size_bytes <= size && whole.size_bytes > 0);
  if (!whole.header.has_addresses) return 0;
  for (const ProxyVersion version : {ProxyVersion::kV1, ProxyVersion::kV2}) {
    const std::string text =
        PrintProxyHeader(version, whole.header.source, whole.header.destination);
    const ProxyParse again = ParseProxyHeader(text);
    POSTERN_CHECK(again.status == Status::kDone && again.size_bytes == text.size());
    POSTERN_CHECK(again.header.source == whole.header.source);
    POSTERN_CHECK(again.header.destination == whole.header.destination);
  }
  return 0;
}
