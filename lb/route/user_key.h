// user_key: how a login name or a recipient becomes a directory key: rewrite, lower case, default
// domain, extension.
//
// Pure, const, shared by all threads (design section 5, `users`, in that order, for recipients
// too).
// Tests:    test/route/router_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "conf/config.h"

namespace postern::route {

class UserKey {
 public:
  explicit UserKey(const conf::Users& users);
  ~UserKey();
  // The canonical key of a login name or an address without brackets. Quoted local parts are
  // unquoted where that changes nothing.
  [[nodiscard]] std::string Key(std::string_view name) const;
  // What the backend is told: the name as typed, or the rewritten one with send_rewritten.
  [[nodiscard]] std::string ForBackend(std::string_view name) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace postern::route
