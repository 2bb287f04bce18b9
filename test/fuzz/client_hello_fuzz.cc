// client_hello_fuzz: the first bytes of a TLS client. A verdict does not depend on the cut, and a
// name is one.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/client_hello.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "lb/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace postern::proto;
  using Status = ClientHelloReader::Status;
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  ClientHelloReader at_once;
  const Status whole = at_once.Read(all);
  ClientHelloReader by_byte;
  Status status = Status::kNeedMore;
  for (size_t n = 1; n <= size && status == Status::kNeedMore; ++n) {
    POSTERN_CHECK(n <= kMaxClientHelloBytes);
    // A copy of just these bytes: reading beyond them is found.
    const std::string part(all.substr(0, n));
    status = by_byte.Read(part);
  }
  POSTERN_CHECK(status == whole);
  POSTERN_CHECK(by_byte.server_name() == at_once.server_name());
  POSTERN_CHECK(at_once.Read("") == whole);
  POSTERN_CHECK(whole == Status::kDone || at_once.server_name().empty());
  const std::string& name = at_once.server_name();
  POSTERN_CHECK(name.size() <= 255);
  POSTERN_CHECK(std::none_of(name.begin(), name.end(),
                             [](char c) { return c <= ' ' || c > '~' || (c >= 'A' && c <= 'Z'); }));
  return 0;
}
