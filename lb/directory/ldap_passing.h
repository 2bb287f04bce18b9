// ldap_passing: how postern hands connections to postern-ldap: descriptors over one local socket
// (SCM_RIGHTS), each with one octet that says nothing.
//
// Shared by both programs, so that they cannot come to differ.
// Tests:    test/daemon/ldap_helper_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

namespace postern::directory {

inline constexpr const char* kLdapHelperName = "postern-ldap";
// The descriptor of that socket in postern-ldap.
inline constexpr int kLdapControl = 3;

// Never blocks; fd stays the caller's. False: the other end is gone, or its buffer is full.
[[nodiscard]] bool SendDescriptor(int over, int fd);
// Waits for the next one, which is the caller's then; nothing: there will be none any more.
[[nodiscard]] std::optional<int> AwaitDescriptor(int over);

}  // namespace postern::directory
