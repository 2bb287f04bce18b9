// name_list_fuzz: any file of names ends, and gives names that are none but what its lines are.
// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <sstream>
#include <string>

#include "conf/name_list.h"
#include "lb/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using postern::conf::NameList;
  const std::string text(reinterpret_cast<const char*>(data), size);
  std::istringstream lines(text);
  NameList list(lines);
  uint64_t last = 0;
  while (true) {
    std::string name;
    const NameList::Read read = list.Next(name);
    if (read == NameList::Read::kEnd) break;
    POSTERN_CHECK(list.line() > last);
    last = list.line();
    POSTERN_CHECK(last <= size);
    if (read == NameList::Read::kTooLong) {
      POSTERN_CHECK(size > NameList::kMaxLineBytes && name.empty());
      continue;
    }
    POSTERN_CHECK(!name.empty() && name.size() <= NameList::kMaxLineBytes && name[0] != '#');
    POSTERN_CHECK(name.find('\n') == std::string::npos && text.find(name) != std::string::npos);
    for (const char edge : {name.front(), name.back()})
      POSTERN_CHECK(edge != ' ' && edge != '\t' && edge != '\r');
  }
  std::string name;
  POSTERN_CHECK(list.Next(name) == NameList::Read::kEnd);
  return 0;
}
