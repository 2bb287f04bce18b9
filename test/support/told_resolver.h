// told_resolver: a resolver that says what it is told to say, and TLS settings that say nothing.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "lb/io/loop.h"
#include "lb/io/resolver.h"
#include "lb/io/stream.h"

namespace postern::test {

class ToldResolver final : public io::Resolver {
 public:
  explicit ToldResolver(io::Loop& loop) : loop_(loop) {}
  void Resolve(const std::string& host,
               std::function<void(const io::ResolvedName&)> done) override {
    asked.push_back(host);
    if (is_silent) {
      held.push_back(std::move(done));
      return;
    }
    loop_.Post([done = std::move(done), answer = answer] { done(answer); });
  }
  void FindPeerName(const base::IpAddress&, std::function<void(const io::PeerName&)>) override {}

  io::ResolvedName answer;
  bool is_silent = false;
  std::vector<std::function<void(const io::ResolvedName&)>> held;
  std::vector<std::string> asked;

 private:
  io::Loop& loop_;
};

class AnyTls final : public io::TlsSettings {};

}  // namespace postern::test
