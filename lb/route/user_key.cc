// user_key: rewrite, lower case, default domain, extension.
// SPDX-License-Identifier: Apache-2.0
#include "lb/route/user_key.h"

#include <re2/re2.h>

#include <vector>

#include "lb/base/bytes.h"

namespace postern::route {
namespace {

// "quoted"@example.com is the same mailbox as quoted@example.com where no character needs the
// quotes (RFC 5321 4.1.2).
std::string Unquote(std::string name) {
  const size_t at = name.rfind('@');
  const std::string local = name.substr(0, at);
  if (local.size() < 2 || local.front() != '"' || local.back() != '"') return name;
  std::string plain;
  for (size_t i = 1; i + 1 < local.size(); ++i) {
    char c = local[i];
    if (c == '\\' && i + 2 < local.size()) c = local[++i];
    plain += c;
  }
  constexpr std::string_view kAtomChars =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~.";
  if (plain.empty() || plain.find_first_not_of(kAtomChars) != std::string::npos) return name;
  return at == std::string::npos ? plain : plain + name.substr(at);
}

}  // namespace

struct UserKey::Impl {
  conf::Users users;
  struct Rewrite {
    std::unique_ptr<RE2> match;
    std::string to;
  };
  std::vector<Rewrite> rewrites;

  [[nodiscard]] std::string Rewritten(std::string_view name) const;
};

std::string UserKey::Impl::Rewritten(std::string_view name) const {
  std::string result(name);
  for (const Rewrite& rewrite : rewrites) RE2::Replace(&result, *rewrite.match, rewrite.to);
  return result;
}

UserKey::UserKey(const conf::Users& users) : impl_(std::make_unique<Impl>()) {
  impl_->users = users;
  for (const conf::Users::Rewrite& rewrite : users.rewrite)
    impl_->rewrites.push_back({std::make_unique<RE2>(rewrite.match, RE2::Quiet), rewrite.to});
}

UserKey::~UserKey() = default;

std::string UserKey::Key(std::string_view name) const {
  const conf::Users& users = impl_->users;
  std::string key = Unquote(impl_->Rewritten(name));
  if (users.lowercase) key = base::ToLower(key);
  if (!users.default_domain.empty() && key.find('@') == std::string::npos && !key.empty())
    key += "@" + users.default_domain;
  const bool is_quoted = key.starts_with('"');  // its characters are all its own
  if (!users.strip_extension.empty() && !is_quoted) {
    const size_t at = key.rfind('@');
    const size_t mark = key.find(users.strip_extension);
    // A name that begins with the mark has no user part to keep.
    if (mark != std::string::npos && mark > 0 && (at == std::string::npos || mark < at))
      key.erase(mark, (at == std::string::npos ? key.size() : at) - mark);
  }
  return key;
}

std::string UserKey::ForBackend(std::string_view name) const {
  return impl_->users.send_rewritten ? impl_->Rewritten(name) : std::string(name);
}

}  // namespace postern::route
