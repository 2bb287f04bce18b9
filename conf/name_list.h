// name_list: names in an operator's file, one a line: blanks about a name and empty lines are
// nothing, '#' begins a comment.
//
// Read as it goes: nothing is kept but one line.
// Limits:   kMaxLineBytes.
// Tests:    test/conf/name_list_test.cc, test/fuzz/name_list_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <istream>
#include <string>

namespace postern::conf {

class NameList {
 public:
  static constexpr size_t kMaxLineBytes = 1024;

  // The stream outlives this.
  explicit NameList(std::istream& lines) : lines_(lines) {}

  enum class Read : uint8_t { kName, kTooLong, kBroken, kEnd };
  // name: set by kName alone. kBroken: the stream cannot be read on (a directory, a bad disk); what
  // follows is unknown. After kBroken and kEnd it is always kEnd.
  [[nodiscard]] Read Next(std::string& name);
  // Of what was read last, from 1.
  [[nodiscard]] uint64_t line() const { return line_; }

 private:
  std::istream& lines_;
  uint64_t line_ = 0;
};

}  // namespace postern::conf
