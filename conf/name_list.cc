// name_list: lines of a stream.
// SPDX-License-Identifier: Apache-2.0
#include "conf/name_list.h"

#include <array>
#include <limits>
#include <string_view>

namespace postern::conf {

NameList::Read NameList::Next(std::string& name) {
  constexpr std::string_view kBlanks = " \t\r";
  std::array<char, kMaxLineBytes + 1> buffer{};
  while (lines_.good()) {
    lines_.getline(buffer.data(), buffer.size());
    const auto num_read = static_cast<size_t>(lines_.gcount());
    if (lines_.eof() && num_read == 0) break;
    ++line_;
    if (lines_.bad()) return Read::kBroken;
    if (lines_.fail() && !lines_.eof()) {
      // Longer than any name: the rest of it is passed over.
      lines_.clear();
      lines_.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
      return Read::kTooLong;
    }
    // What was read counts the line end, unless the file ends without one.
    std::string_view text(buffer.data(), num_read - (lines_.eof() ? 0 : 1));
    const size_t begin = text.find_first_not_of(kBlanks);
    if (begin == std::string_view::npos || text[begin] == '#') continue;
    name = text.substr(begin, text.find_last_not_of(kBlanks) + 1 - begin);
    return Read::kName;
  }
  return Read::kEnd;
}

}  // namespace postern::conf
