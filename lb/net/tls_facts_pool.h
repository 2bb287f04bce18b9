// tls_facts_pool: what was agreed in TLS, kept once for all streams that agreed on the same.
//
// Why so:   of a hundred thousand idle sessions a handful differ, and each copy costs 250 bytes.
// Limits:   an entry goes with its last user, so clients' SNI cannot pile up.
// Owner:    StreamShared; it must outlive the shares.   Thread: its loop's.
// Tests:    test/net/tls_facts_pool_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <map>
#include <utility>

#include "lb/io/stream.h"

namespace postern::net {

class TlsFactsPool {
  struct Less {
    bool operator()(const io::TlsFacts& a, const io::TlsFacts& b) const;
  };
  struct Uses {
    TlsFactsPool* pool = nullptr;
    size_t count = 0;
  };
  using Entries = std::map<io::TlsFacts, Uses, Less>;

 public:
  // One stream's use of an entry; eight bytes.
  class Share {
   public:
    Share() = default;
    Share(TlsFactsPool& pool, io::TlsFacts facts);
    Share(Share&& other) noexcept : entry_(std::exchange(other.entry_, nullptr)) {}
    Share& operator=(Share&& other) noexcept {
      std::swap(entry_, other.entry_);
      return *this;
    }
    ~Share();
    // Null for a share of nothing.
    [[nodiscard]] const io::TlsFacts* get() const {
      return entry_ == nullptr ? nullptr : &entry_->first;
    }

   private:
    Entries::value_type* entry_ = nullptr;
  };

  [[nodiscard]] size_t size() const { return entries_.size(); }

 private:
  Entries entries_;
};

}  // namespace postern::net
