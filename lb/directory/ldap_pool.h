// ldap_pool: the threads that ask the servers of one directory, each over a connection of its own.
// Of postern-ldap alone.
//
// Threads are made when questions wait and none is free, kMaxThreads at most. The order of the
// servers is server_order.h's. What a kept connection cannot do
// because its server has closed it meanwhile is done once more on a new one.
// A question is given up when the timeouts of all servers together are over, started or not.
// Limits:   kMaxThreads, kMaxQuestions waiting.
// Owner:    the connections to postern with these settings.   Thread: any.
// Tests:    test/e2e/test_ldap.py
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "lb/base/clock.h"
#include "lb/directory/ldap_search.h"
#include "lb/directory/ldap_wire.h"
#include "lb/directory/server_order.h"

namespace postern::directory {

class LdapPool {
 public:
  static constexpr size_t kMaxThreads = 8;
  static constexpr size_t kMaxQuestions = 4096;
  // Called once, from any thread.
  using Done = std::function<void(const LdapReply& reply)>;

  explicit LdapPool(LdapSettings settings);
  ~LdapPool();  // waits for what is being asked
  LdapPool(const LdapPool&) = delete;
  LdapPool& operator=(const LdapPool&) = delete;

  void Ask(LdapQuestion question, Done done);

 private:
  struct Waiting {
    LdapQuestion question;
    Done done;
    base::MonoTime deadline{};
  };
  // Of one thread.
  struct Connection {
    std::unique_ptr<LdapSearch> search;
    size_t server = 0;
  };

  void Run();
  [[nodiscard]] LdapReply Answer(const Waiting& waiting, Connection& connection);
  [[nodiscard]] LdapOutcome AskServer(size_t server, const std::string& filter,
                                      base::MonoTime deadline, Connection& connection);
  [[nodiscard]] std::vector<uint32_t> Order();
  void OnAsked(uint32_t server);
  void OnOutcome(uint32_t server, bool has_failed);

  const LdapSettings settings_;
  std::mutex mutex_;  // of all below
  std::condition_variable news_;
  std::deque<Waiting> questions_;
  std::vector<std::thread> threads_;
  size_t num_free_ = 0;  // threads that wait
  bool is_ending_ = false;
  ServerOrder order_;  // of LdapSettings::urls
};

}  // namespace postern::directory
