// tls_facts_pool: what was agreed in TLS, kept once for all streams that agreed on the same.
// SPDX-License-Identifier: Apache-2.0
#include "lb/net/tls_facts_pool.h"

#include <tuple>

namespace postern::net {

bool TlsFactsPool::Less::operator()(const io::TlsFacts& a, const io::TlsFacts& b) const {
  const auto key = [](const io::TlsFacts& facts) {
    return std::tie(facts.server_name, facts.group, facts.cipher, facts.version, facts.is_resumed);
  };
  return key(a) < key(b);
}

TlsFactsPool::Share::Share(TlsFactsPool& pool, io::TlsFacts facts)
    : entry_(&*pool.entries_.try_emplace(std::move(facts)).first) {
  entry_->second.pool = &pool;
  ++entry_->second.count;
}

TlsFactsPool::Share::~Share() {
  if (entry_ == nullptr || --entry_->second.count > 0) return;
  Entries& entries = entry_->second.pool->entries_;
  entries.erase(entries.find(entry_->first));
}

}  // namespace postern::net
