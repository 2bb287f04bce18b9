// redis_reply: the wire of a Redis server, by hiredis: commands out, replies in. Pure.
//
// Rules:    RESP2 (https://redis.io/docs/reference/protocol-spec). Arrays, which nobody asks for
//           here, end the connection before they are read.
// Limits:   a reply of more than kMaxReplyBytes, whatever size it announces, is broken.
// Tests:    test/directory/redis_reply_test.cc, test/fuzz/redis_reply_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lb/base/bytes.h"
#include "lb/io/lookup.h"

namespace postern::directory {

struct RedisReply {
  enum class Kind : uint8_t {
    kString,  // text: any bytes
    kNil,     // there is no such key or field
    kStatus,  // text: "OK"
    kError,   // text: "WRONGTYPE Operation against ..."
    kOther,   // a number, or something without meaning here
  };
  Kind kind = Kind::kOther;
  std::string text{};
};

class RedisReader {
 public:
  static constexpr size_t kMaxReplyBytes = 32 << 10;

  RedisReader();
  ~RedisReader();
  RedisReader(const RedisReader&) = delete;
  RedisReader& operator=(const RedisReader&) = delete;

  // Appends the replies that are whole by now. False: this is not Redis; from then on always.
  [[nodiscard]] bool Feed(base::ByteView input, std::vector<RedisReply>& replies);
  // After false: why, printable.
  [[nodiscard]] const std::string& error() const { return error_; }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::string error_;
};

// As the wire has it; arguments may hold any bytes. Leaves no copy of them anywhere else.
[[nodiscard]] std::string RedisCommand(std::span<const std::string_view> arguments);

// What a reply to GET or HGET means; the value itself, before any table. A value is text of one
// line, of kMaxRedisValueBytes at most.
inline constexpr size_t kMaxRedisValueBytes = 1 << 10;
[[nodiscard]] io::LookupAnswer MeaningOf(const RedisReply& reply);
// An error that says something of the server, not of the key: another server may do better.
[[nodiscard]] bool IsOfServer(const RedisReply& reply);

// The key of a template: %u the whole key, %n its local part, %d its domain; %% a percent sign.
[[nodiscard]] std::string FillTemplate(std::string_view text, std::string_view key);

}  // namespace postern::directory
