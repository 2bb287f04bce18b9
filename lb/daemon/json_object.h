// json_object: one JSON object, written member by member.
//
// Tests:    test/daemon/admin_test.cc, test/daemon/explain_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace postern::daemon {

class JsonObject {
 public:
  // Appends to out, which outlives this; nobody else does before End.
  explicit JsonObject(std::string& out) : out_(out) { out_ += '{'; }
  void Text(std::string_view key, std::string_view value);
  // An empty text is null.
  void TextOrNull(std::string_view key, std::string_view value);
  // What is not known, or no number, is null.
  void Number(std::string_view key, std::optional<double> value);
  void Bool(std::string_view key, bool value) { Raw(key, value ? "true" : "false"); }
  void Raw(std::string_view key, std::string_view json);
  void End() { out_ += '}'; }

 private:
  void Key(std::string_view key);
  std::string& out_;
};

}  // namespace postern::daemon
