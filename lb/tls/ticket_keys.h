// ticket_keys: the keys that session tickets are sealed with: one set for the whole process.
//
// A fleet shares a file (one base64 key of 80 bytes a line: 16 name, 32 HMAC, 32 AES; the first
// line seals, all open), so that a client resumes on any node and after any reload. Without a file
// the process makes a random key and replaces it from time to time; the one before still opens.
// Owner:    daemon, shared with every TlsServerContext.
// Thread:   any. One mutex, held for the copy of a pointer, once a ticket.
// Tests:    test/tls/ticket_keys_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "lb/base/clock.h"
#include "lb/base/result.h"

namespace postern::tls {

struct TicketKey {
  std::array<uint8_t, 16> name;
  std::array<uint8_t, 32> hmac;
  std::array<uint8_t, 32> aes;
};

// Wiped when the last user lets go.
struct TicketKeySet {
  TicketKeySet() = default;
  TicketKeySet(const TicketKeySet&) = delete;
  TicketKeySet& operator=(const TicketKeySet&) = delete;
  ~TicketKeySet();

  std::vector<TicketKey> keys;  // the first seals
};

class TicketKeys {
 public:
  static constexpr size_t kKeyBytes = 80;
  static constexpr size_t kMaxKeys = 32;
  // How often random keys should be replaced.
  static constexpr base::Duration kRotateEvery = std::chrono::hours(12);

  // Starts with one random key.
  TicketKeys();

  [[nodiscard]] static base::Result<std::shared_ptr<const TicketKeySet>> ReadFile(
      const std::string& path);

  // What new handshakes use from now on.
  void Use(std::shared_ptr<const TicketKeySet> keys);
  // A new random key seals; of the old ones only the newest still opens.
  void Rotate();
  [[nodiscard]] std::shared_ptr<const TicketKeySet> Current() const;

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const TicketKeySet> keys_;  // guarded by mutex_, never null
};

}  // namespace postern::tls
