// auth_http: a directory that is asked at the login: nginx's mail authentication protocol.
//
// One connection a question (the password is in it, so nothing is shared or kept); servers in
// order, each with the directory's timeout; what is no answer goes on to the next one. A verdict,
// found or refused, is final; with no server left the answer is kFailed with what each of them did.
// A refusal with a 4xx code is for now only; it is the caller who knows how to say so.
// Zimbra:   its nginx-lookup asks for Auth-User, Auth-Method and Auth-Protocol, answers 200
//           always, and wants more (X-Proxy-IP, an administrator's login) for GSSAPI and
//           certificates alone. What it may be told besides goes into `headers`: "X-Proxy-IP", by
//           which it completes names without a domain; "Auth-Protocol": "imapssl", for ports with
//           TLS. It knows no smtp.
// Rules:    auth_http_wire.h.
// Limits:   AuthHttpAnswer; one question's octets while it lasts.
// Thread:   its loop's; may die while questions are under way, they go on.
// Tests:    test/directory/auth_http_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "conf/config.h"
#include "lb/io/dialer.h"
#include "lb/io/lookup.h"
#include "lb/io/loop.h"
#include "lb/io/resolver.h"
#include "lb/io/stream.h"

namespace postern::directory {

class AuthHttp final : public io::Directory {
 public:
  // By index of conf.urls, those of a client that verifies the URL's host; null where the URL is
  // http. An https URL without them is never asked.
  using Tls = std::vector<std::shared_ptr<const io::TlsSettings>>;

  // All but conf outlive it and its questions, and the loop runs once more after the last of them.
  AuthHttp(io::Loop& loop, io::Dialer& dialer, io::Resolver& resolver, const conf::Directory& conf,
           Tls tls);
  ~AuthHttp() override;
  // For connections from now on: the CAs may have changed.
  void UseTls(Tls tls);
  [[nodiscard]] std::optional<io::LookupAnswer> Ask(const io::LookupQuery& query, Done done,
                                                    std::unique_ptr<io::Lookup>& pending) override;

 private:
  struct Core;
  class Question;
  std::shared_ptr<Core> core_;
};

}  // namespace postern::directory
