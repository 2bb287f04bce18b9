// mail_text: addresses and quoted strings.
// SPDX-License-Identifier: Apache-2.0
#include "lb/base/mail_text.h"

#include <algorithm>

namespace postern::base {

bool IsUsableAddress(ByteView address) {
  return std::all_of(address.begin(), address.end(), [](char c) {
    return static_cast<unsigned char>(c) > 0x20 && c != 0x7f && c != '<' && c != '>';
  });
}

ByteView WithoutBrackets(ByteView address) {
  if (address.size() < 2 || address.front() != '<' || address.back() != '>') return address;
  return address.substr(1, address.size() - 2);
}

bool IsQuotable(ByteView text) {
  return text.size() <= kMaxQuotedBytes && std::all_of(text.begin(), text.end(), [](char c) {
           return c != '\0' && c != '\r' && c != '\n' && static_cast<unsigned char>(c) < 0x80;
         });
}

}  // namespace postern::base
