// json_object: members of an object.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/json_object.h"

#include <cmath>
#include <cstdio>

#include "lb/base/escape.h"

namespace postern::daemon {

void JsonObject::Text(std::string_view key, std::string_view value) {
  Key(key);
  base::AppendJsonString(out_, value);
}

void JsonObject::TextOrNull(std::string_view key, std::string_view value) {
  if (value.empty()) return Raw(key, "null");
  Text(key, value);
}

void JsonObject::Number(std::string_view key, std::optional<double> value) {
  if (!value || !std::isfinite(*value)) return Raw(key, "null");
  char text[32];
  std::snprintf(text, sizeof(text), "%.10g", *value);
  Raw(key, text);
}

void JsonObject::Raw(std::string_view key, std::string_view json) {
  Key(key);
  out_ += json;
}

void JsonObject::Key(std::string_view key) {
  if (out_.back() != '{') out_ += ',';
  base::AppendJsonString(out_, key);
  out_ += ':';
}

}  // namespace postern::daemon
