// base64: RFC 4648 4, strict: no white space, right padding, no stray bits.
// Tests:    test/base/base64_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "lb/base/bytes.h"

namespace postern::base {

[[nodiscard]] std::string Base64Encode(ByteView bytes);
// Nothing for any input that Base64Encode would not have made.
[[nodiscard]] std::optional<std::string> Base64Decode(ByteView text);

}  // namespace postern::base
