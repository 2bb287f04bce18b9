// ldap_client: a directory in LDAP servers, asked by way of the helper postern-ldap.
//
// One connection to the helper, kept, for the questions of everybody; replies come as they may. The
// helper is told the settings first, then filters with the user's name in them; it goes through the
// servers, and what an LDAP server says is its affair (ldap_search.h). A helper that ends, or says
// what it should not, fails all that wait at once; the next question connects anew. One that hangs
// fails each at its deadline: the timeout of every server, and kGrace.
// Logs:     one line when no server answers any more, one when one does.
// Limits:   kMaxQuestions waiting at a time, kMaxUnsentBytes; LdapFrames.
// Thread:   its loop's; may die while questions are under way, they go on.
// Tests:    test/directory/ldap_client_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <optional>

#include "conf/config.h"
#include "lb/io/dialer.h"
#include "lb/io/lookup.h"
#include "lb/io/loop.h"

namespace postern::directory {

class LdapClient final : public io::Directory {
 public:
  static constexpr size_t kMaxQuestions = 1024;
  static constexpr size_t kMaxUnsentBytes = 1 << 20;
  static constexpr base::Duration kGrace = std::chrono::milliseconds(500);
  static constexpr const char* kHelper = "postern-ldap";
  static constexpr const char* kSystemCa = "/etc/ssl/certs/ca-certificates.crt";

  // helper: whatever is dialled, it connects to the helper. All but conf outlive it and its
  // questions, and the loop runs once more after the last of them.
  LdapClient(io::Loop& loop, io::Dialer& helper, const conf::Directory& conf);
  ~LdapClient() override;
  [[nodiscard]] std::optional<io::LookupAnswer> Ask(const io::LookupQuery& query, Done done,
                                                    std::unique_ptr<io::Lookup>& pending) override;

 private:
  class Core;
  class Question;
  std::shared_ptr<Core> core_;
};

}  // namespace postern::directory
