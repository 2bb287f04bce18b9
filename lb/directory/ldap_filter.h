// ldap_filter: a search filter with a user's name in it, in which the name can be nothing else.
//
// Rules:    RFC 4515 3.
// Tests:    test/directory/ldap_filter_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace postern::directory {

// A value as a filter may hold it: what means something there, control characters, NUL and all
// that is not ASCII as \xx.
[[nodiscard]] std::string EscapeLdapValue(std::string_view value);

// %u the whole key, %n its local part, %d its domain, each escaped; %% a percent sign.
[[nodiscard]] std::string LdapFilter(std::string_view filter, std::string_view key);

}  // namespace postern::directory
