// json_number_fuzz: any pointer (the first line) and any bytes as a document: no crash, and a
// number or an error.
// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "conf/json_number.h"
#include "lb/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = input.find('\n');
  const std::string_view pointer = input.substr(0, end);
  const std::string_view text =
      end == std::string_view::npos ? std::string_view() : input.substr(end + 1);
  const auto number = postern::conf::json::FindNumber(text, pointer);
  POSTERN_CHECK(number.ok() || !number.error().empty());
  POSTERN_CHECK(number.ok() == false || postern::conf::json::ParsePointer(pointer).has_value());
  return 0;
}
