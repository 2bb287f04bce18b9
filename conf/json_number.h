// json_number: one number out of a JSON document of somebody else's, named by a JSON pointer.
//
// The document is not kept: memory does not grow with it, however it is built.
// Rules:    RFC 8259, RFC 6901. Behind the value's path, keys must be unique.
// Tests:    test/conf/json_number_test.cc, test/fuzz/json_number_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lb/base/result.h"

namespace postern::conf::json {

// The pointer's steps, escapes undone; nothing if it is none ("" is one: the whole document).
[[nodiscard]] std::optional<std::vector<std::string>> ParsePointer(std::string_view pointer);

// A number, or a string that is nothing but a decimal number. An error says why there is none: the
// text is not JSON, the value is not there, is not a number, or is there twice.
[[nodiscard]] base::Result<double> FindNumber(std::string_view text, std::string_view pointer);

}  // namespace postern::conf::json
