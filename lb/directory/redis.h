// redis: a directory in Redis: GET of a key, or HGET of a field of it.
//
// One connection a server, kept, for the questions of everybody; servers in order. What is no
// answer goes on to the next server: no connection, no reply in time, and errors of the server
// itself (LOADING, MASTERDOWN, READONLY, NOAUTH, ...). No value is kUnknown. An error of the key
// (WRONGTYPE, MOVED, ERR) and a value that is no line of text are kFailed: an error never makes
// anybody unknown. What a value means (`table`) is the router's affair.
// Rules:    https://redis.io/docs/latest/commands/ (GET, HGET, AUTH); redis_reply.h.
// Limits:   kMaxKeyBytes; RedisLink, RedisReader.
// Thread:   its loop's; may die while questions are under way, they go on.
// Tests:    test/directory/redis_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <optional>

#include "conf/config.h"
#include "lb/io/dialer.h"
#include "lb/io/lookup.h"
#include "lb/io/loop.h"
#include "lb/io/resolver.h"

namespace postern::directory {

class Redis final : public io::Directory {
 public:
  static constexpr size_t kMaxKeyBytes = 4 << 10;

  // All but conf outlive it and its questions, and the loop runs once more after the last of them.
  Redis(io::Loop& loop, io::Dialer& dialer, io::Resolver& resolver, const conf::Directory& conf);
  ~Redis() override;
  [[nodiscard]] std::optional<io::LookupAnswer> Ask(const io::LookupQuery& query, Done done,
                                                    std::unique_ptr<io::Lookup>& pending) override;

 private:
  struct Core;
  class Question;
  std::shared_ptr<Core> core_;
};

}  // namespace postern::directory
