// server_walk: one question's way through the servers of a directory, each of which is asked once,
// and what becomes of it with none left.
//
// Owner:    the question.   Thread: its loop's.
// Tests:    test/directory/server_walk_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "lb/directory/servers.h"
#include "lb/io/lookup.h"

namespace postern::directory {

class ServerWalk {
 public:
  // servers: outlives this.
  explicit ServerWalk(Servers& servers) : servers_(servers), order_(servers.Order()) {}

  // Asks the next one: server() from now on. False: none is left.
  [[nodiscard]] bool Next();
  [[nodiscard]] uint32_t server() const { return server_; }
  // It has answered: its name goes before the answer's reason.
  [[nodiscard]] io::LookupAnswer Answered(io::LookupAnswer answer);
  // It has not. why: printable.
  void Leave(const std::string& why, Blame blame);
  // With none left: what each of them did. It is the directory's failure unless one of them works,
  // or none could be asked for want of something of our own.
  [[nodiscard]] io::LookupAnswer Failure() const;

 private:
  Servers& servers_;
  const std::vector<uint32_t> order_;
  size_t next_ = 0;  // of order_
  uint32_t server_ = 0;
  std::string why_;  // of those left behind
  bool is_of_question_ = false;
  bool is_of_us_ = false;
};

}  // namespace postern::directory
