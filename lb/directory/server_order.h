// server_order: which of several servers is asked first, by what became of earlier questions. Pure.
//
// A server that has failed is passed by for kSkipFor; then one question tries it, and the others
// pass it by until that one was answered. Passing by means to be asked last, not never: with none
// left, those known as dead are tried again.
// Thread:   one at a time; time is a parameter.
// Tests:    test/directory/servers_test.cc, test/e2e/test_ldap.py
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "lb/base/clock.h"

namespace postern::directory {

class ServerOrder {
 public:
  static constexpr base::Duration kSkipFor = std::chrono::seconds(5);

  explicit ServerOrder(size_t num_servers) : servers_(num_servers) {}

  // All of them: those that work, as configured, then those that failed, the longest ago first.
  [[nodiscard]] std::vector<uint32_t> Get(base::MonoTime now) const;
  void OnAsked(uint32_t server, base::MonoTime now);
  // Whether that is news.
  bool OnAnswered(uint32_t server);
  bool OnFailed(uint32_t server, base::MonoTime now);

 private:
  struct Server {
    bool is_failing = false;
    base::MonoTime skipped_until{};
  };
  std::vector<Server> servers_;
};

}  // namespace postern::directory
