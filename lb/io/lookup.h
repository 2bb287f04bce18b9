// lookup: a directory as those see it who have a key and want an answer, at once or later.
//
// Implementations: lb/directory/; a script in tests.
// Thread:   its loop's: each worker has its own.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lb/base/address.h"
#include "lb/base/clock.h"
#include "lb/base/secret.h"

namespace postern::io {

// What a directory that is asked at the login wants to know besides the key (auth_http).
struct LoginFacts {
  std::string_view protocol;   // "imap", "pop3", "smtp"
  std::string_view mechanism;  // "plain", "xoauth2", ...; "none": nobody has logged in
  std::string_view user;       // as the client typed it
  const base::Secret* password = nullptr;
  base::SocketAddress client;
  std::string_view client_name;  // confirmed by DNS; empty: not known
  std::string_view hello;        // smtp from here
  std::string_view from;
  std::string_view to;
  uint32_t attempt = 1;  // of this session, counted from 1
  bool is_in_tls = false;
};

struct LookupQuery {
  std::string_view key;               // canonical user or recipient
  const LoginFacts* login = nullptr;  // null: there is none; all of it is copied where needed
};

struct LookupAnswer {
  enum class Kind : uint8_t {
    kFound,    // value
    kUnknown,  // there is nobody of this name
    kRefused,  // the directory has judged the login itself, and says no
    kFailed,   // no answer is to be had: why
  };
  Kind kind = Kind::kFailed;
  std::string value;  // the name of a pool or of a backend; or "address:port"
  std::string why;    // for logs and explanations; peers' text in it is escaped
  // kFailed: the directory works; it is this question, or its answer, that is at fault.
  bool is_of_question = false;
  // kFailed: nobody was asked, or what failed was something of our own: nothing is said of the
  // directory.
  bool was_not_asked = false;
  // Since the directory itself has said so.
  base::Duration age{};
  // Its lifetime is over, but nothing newer is to be had.
  bool is_stale = false;
  // Remembered from an earlier question.
  bool is_cached = false;
  // kFound: whom the backend is told of in place of what was typed; empty: as it was.
  std::string user;
  // kRefused: for the client, one line; its SMTP reply code ("535 5.7.8"), which may be empty, and
  // with a 4 in front says "not now"; and how long it has to wait.
  std::string refusal_text, refusal_code;
  base::Duration refusal_delay{};
};

// A question under way. Destroyed: the answer is not wanted any more.
class Lookup {
 public:
  virtual ~Lookup() = default;
};

class Directory {
 public:
  using Done = std::function<void(const LookupAnswer& answer)>;
  virtual ~Directory() = default;
  // The answer, where it is known at once. Else nothing; then `pending` is set, and done is called
  // from the loop, once, unless *pending was destroyed before. done may destroy it.
  [[nodiscard]] virtual std::optional<LookupAnswer> Ask(const LookupQuery& query, Done done,
                                                        std::unique_ptr<Lookup>& pending) = 0;
};

}  // namespace postern::io
