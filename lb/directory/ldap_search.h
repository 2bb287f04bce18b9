// ldap_search: one bound connection to one LDAP server, by libldap; it blocks. Only postern-ldap
// has it.
//
// What an answer is: no entry is unknown, and so is an entry without the attribute (a filter like
// "(&(mail=%u)(mailHost=*))" says the same in LDAP's words). More than one entry, and more than one
// value (LDAP keeps them in no order), are failures: either could be the home. So is every error.
// Referrals are not followed.
// TLS:      ldaps:// and StartTLS demand a certificate for the URL's host by a CA of the settings;
//           where that is "localhost", libldap compares the machine's own name.
//           Nothing is read from the machine's ldap.conf or the environment (main sees to it).
// Owner:    a thread of LdapPool.   Thread: its owner's.
// Tests:    test/e2e/test_ldap.py
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "lb/base/clock.h"
#include "lb/base/result.h"
#include "lb/directory/ldap_wire.h"

namespace postern::directory {

struct LdapOutcome {
  LdapReply::Kind kind = LdapReply::Kind::kFailed;
  std::string text{};  // as LdapReply::text
  // A failure of the server or of the way to it: another may do better.
  bool is_of_server = false;
};

class LdapSearch {
 public:
  // Of the library; before any thread is made.
  static void SetUp();
  // Connects, and binds. The error is text for people.
  [[nodiscard]] static base::Result<std::unique_ptr<LdapSearch>> Open(const LdapSettings& settings,
                                                                      const std::string& url,
                                                                      base::MonoTime deadline);
  ~LdapSearch();
  LdapSearch(const LdapSearch&) = delete;
  LdapSearch& operator=(const LdapSearch&) = delete;

  // After a failure of the server it is of no more use.
  [[nodiscard]] LdapOutcome Ask(const std::string& filter, base::MonoTime deadline);

 private:
  struct Impl;
  explicit LdapSearch(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace postern::directory
