// auth_http_wire: what is said to, and understood of, a server of nginx's mail authentication
// protocol. Pure.
//
// Rules:    the documentation of ngx_mail_auth_http_module, and what nginx 1.31 does where it is
//           silent: Auth-User and Auth-Pass escaped as %NN in blanks, control characters and '%'
//           only; recipients as whole commands ("RCPT TO: <a@b>"); an Auth-Status is optional,
//           "OK" is in capitals; "WAIT" asks to come again.
// Not as nginx: an answer must be a 200; Auth-Server may be a host name; a repeated field must say
//           the same; nothing with a control character is sent or taken.
// Tests:    test/directory/auth_http_wire_test.cc, test/fuzz/auth_http_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "lb/base/bytes.h"
#include "lb/base/result.h"
#include "lb/base/secret.h"
#include "lb/base/url.h"
#include "lb/io/lookup.h"
#include "lb/proto/http_response.h"

namespace postern::directory {

using AuthHttpHeaders = std::map<std::string, base::Secret>;

// The request line and Host, which are each server's own.
[[nodiscard]] std::string AuthHttpHead(const base::HttpUrl& url, const AuthHttpHeaders& headers);
// What follows it, up to the end of the request. A configured header stands in place of ours of the
// same name. Without facts of a login the key is a recipient. An error: something in it could not
// be sent without a line break of its own.
[[nodiscard]] base::Result<base::Secret> AuthHttpQuestion(const io::LookupQuery& query,
                                                          const AuthHttpHeaders& headers);

// Reads one answer as it comes; what follows its header is not waited for.
class AuthHttpAnswer {
 public:
  static constexpr size_t kMaxBytes = 32 << 10;
  static constexpr size_t kMaxUserBytes = 1 << 10;
  static constexpr size_t kMaxRefusalBytes = 200;
  static constexpr base::Duration kLongestWait = std::chrono::minutes(10);
  enum class Status : uint8_t {
    kMore,
    kDone,    // answer() has it
    kBroken,  // no such answer at all: the server is at fault, error() says why
    kUnfit,   // HTTP is in order, what it says is not, of this question: likewise
  };

  // Once it is not kMore any more, nothing changes.
  Status Feed(base::ByteView input);
  // The connection has ended.
  Status End();
  [[nodiscard]] Status status() const { return status_; }
  [[nodiscard]] const io::LookupAnswer& answer() const { return answer_; }
  [[nodiscard]] const std::string& error() const { return error_; }

 private:
  struct Fields {
    std::optional<std::string> status, server, port, user, wait, code;
  };
  void Take(const proto::HttpResponse::Field& field);
  void Judge();
  void JudgeRefusal();
  void JudgeServer();
  void Fail(Status status, std::string why);

  proto::HttpResponse response_;
  size_t num_bytes_ = 0;
  Fields fields_;
  Status status_ = Status::kMore;
  io::LookupAnswer answer_;
  std::string error_;
};

}  // namespace postern::directory
