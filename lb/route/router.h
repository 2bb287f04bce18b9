// router: which pool or backend is home of this session or recipient: ordered rules, the first
// match wins.
//
// Pure: facts in, decision out. Built once per snapshot (patterns compiled, names resolved to
// indices of the configuration); const and shared by all threads. A rule that needs what a
// directory says decides kAsk; the caller asks, adds the answer to the facts, and decides again.
// A directory that fails is never a fall to a later pool (a client would see an empty mailbox)
// but where the rule says so.
// Tests:    test/route/
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "conf/config.h"
#include "lb/base/address.h"
#include "lb/io/lookup.h"

namespace postern::route {

// What a directory has said of this user or recipient.
struct Answered {
  uint32_t directory = 0;  // Config::directories
  io::LookupAnswer answer;
};

// What is known at decision time; empty: unknown (a condition on it does not hold).
struct Facts {
  std::string_view listener;
  conf::Protocol protocol = conf::Protocol::kSmtp;  // of the listener
  base::IpAddress client;
  std::string_view sni;            // lower case
  std::string_view user_key;       // canonical (UserKey)
  std::string_view recipient_key;  // canonical
  std::span<const Answered> answers{};
};

struct Decision {
  enum class Kind : uint8_t {
    kPool,      // index: Config::pools
    kBackend,   // index: Config::backends
    kAddress,   // text: "address:port", as a directory has said
    kAsk,       // index: Config::directories; nothing is decided yet
    kReject,    // text: the rule's reply, may be empty
    kTempFail,  // text likewise
    kRefused,   // by a directory that has judged the login: answer
    kUnknown,   // no rule matched
  };
  Kind kind = Kind::kUnknown;
  uint32_t index = 0;
  std::string_view text;  // lives as long as the Router, or the answer
  uint32_t route = 0;     // Config::routes
  uint32_t rule = 0;      // its rules; meaningless for kUnknown
  // Of the directory that decided, even by its failing; lives as long as the facts. Null: none did.
  const Answered* answer = nullptr;
  // kTempFail for want of a usable answer, for logs; empty: by a rule. Lives as text does.
  std::string_view why;
  // Of a home: the pool (Config::pools) to which a transaction goes as a whole that has a recipient
  // with another home; nothing: that recipient is deferred.
  std::optional<uint32_t> relay;
};

// One rule looked at, for `postern explain`.
struct Tried {
  std::string_view rule;
  bool matched = false;
  std::string why;
};

class Router {
 public:
  explicit Router(const conf::Config& config);
  ~Router();
  // Index of a route by its name; nothing if there is none (the validator has refused that).
  [[nodiscard]] std::optional<uint32_t> FindRoute(std::string_view name) const;
  // explanation: filled with the rules tried if not null.
  [[nodiscard]] Decision Decide(uint32_t route, const Facts& facts,
                                std::vector<Tried>* explanation = nullptr) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// '*' matches any run of characters; everything else itself. Linear time, no recursion.
[[nodiscard]] bool PatternMatches(std::string_view pattern, std::string_view text);

}  // namespace postern::route
