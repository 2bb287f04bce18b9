// ticket_keys: the keys that session tickets are sealed with.
// SPDX-License-Identifier: Apache-2.0
#include "lb/tls/ticket_keys.h"

#include <openssl/rand.h>

#include <cstring>
#include <utility>

#include "lb/base/base64.h"
#include "lb/base/secret.h"
#include "lb/tls/text_file.h"

namespace postern::tls {
namespace {

TicketKey RandomKey() {
  TicketKey key;
  RAND_bytes(key.name.data(), key.name.size());
  RAND_bytes(key.hmac.data(), key.hmac.size());
  RAND_bytes(key.aes.data(), key.aes.size());
  return key;
}

base::ByteView Trim(base::ByteView line) {
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t')) {
    line.remove_suffix(1);
  }
  return line;
}

}  // namespace

TicketKeySet::~TicketKeySet() {
  base::WipeBytes(keys.data(), keys.size() * sizeof(TicketKey));
}

TicketKeys::TicketKeys() {
  Rotate();
}

base::Result<std::shared_ptr<const TicketKeySet>> TicketKeys::ReadFile(const std::string& path) {
  base::Result<std::string> read = ReadTextFile(path);
  if (!read.ok()) return base::Error{read.error()};
  std::string text = std::move(read).value();
  auto set = std::make_shared<TicketKeySet>();
  set->keys.reserve(kMaxKeys);  // never moved, so that no copy is left behind
  std::string problem;
  size_t line_number = 0;
  for (base::ByteView rest = text; !rest.empty() && problem.empty();) {
    const size_t end = rest.find('\n');
    const base::ByteView line = Trim(rest.substr(0, end));
    rest = end == base::ByteView::npos ? base::ByteView() : rest.substr(end + 1);
    ++line_number;
    if (line.empty() || line.front() == '#') continue;
    std::optional<std::string> key = base::Base64Decode(line);
    const std::string where = path + " line " + std::to_string(line_number);
    if (!key || key->size() != kKeyBytes) {
      problem = where + " is not a base64 key of 80 bytes";
    } else if (set->keys.size() == kMaxKeys) {
      problem = where + ": more than " + std::to_string(kMaxKeys) + " keys";
    } else {
      TicketKey& made = set->keys.emplace_back();
      std::memcpy(made.name.data(), key->data(), 16);
      std::memcpy(made.hmac.data(), key->data() + 16, 32);
      std::memcpy(made.aes.data(), key->data() + 48, 32);
    }
    if (key) base::WipeString(*key);
  }
  base::WipeString(text);
  if (problem.empty() && set->keys.empty()) problem = path + " holds no key";
  if (!problem.empty()) return base::Error{problem};
  return std::shared_ptr<const TicketKeySet>(std::move(set));
}

void TicketKeys::Use(std::shared_ptr<const TicketKeySet> keys) {
  const std::lock_guard<std::mutex> lock(mutex_);
  keys_ = std::move(keys);
}

void TicketKeys::Rotate() {
  auto set = std::make_shared<TicketKeySet>();
  set->keys.reserve(2);
  set->keys.push_back(RandomKey());
  const std::lock_guard<std::mutex> lock(mutex_);
  if (keys_ != nullptr) set->keys.push_back(keys_->keys.front());
  keys_ = std::move(set);
}

std::shared_ptr<const TicketKeySet> TicketKeys::Current() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return keys_;
}

}  // namespace postern::tls
