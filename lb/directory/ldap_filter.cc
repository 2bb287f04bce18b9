// ldap_filter: values escaped, then put in their places.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/ldap_filter.h"

#include "lb/directory/redis_reply.h"

namespace postern::directory {

std::string EscapeLdapValue(std::string_view value) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string escaped;
  for (const char c : value) {
    const auto octet = static_cast<unsigned char>(c);
    if (octet < 0x20 || octet >= 0x7f || c == '*' || c == '(' || c == ')' || c == '\\') {
      escaped += '\\';
      escaped += kDigits[octet >> 4];
      escaped += kDigits[octet & 0xf];
    } else {
      escaped += c;
    }
  }
  return escaped;
}

std::string LdapFilter(std::string_view filter, std::string_view key) {
  // No "@" comes or goes by escaping, so that the parts of the escaped key are the escaped parts.
  return FillTemplate(filter, EscapeLdapValue(key));
}

}  // namespace postern::directory
