// smtp_journal: the text of one message as it went to the backend, kept until it is handed over, so
// that the transaction can move to another backend.
//
// Memory only: what goes beyond max_bytes, or beyond what the process may spend, makes the journal
// overflow: it lets go of everything and the transaction cannot move any more.
// Owner:    one SmtpRelay; reused from transaction to transaction.
// Tests:    test/proto/smtp_journal_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "lb/base/bytes.h"

namespace postern::proto {

// A share of the whole process's replay memory. Never calls back.
class ReplayBudget {
 public:
  [[nodiscard]] virtual bool Take(size_t num_bytes) = 0;
  virtual void Return(size_t num_bytes) = 0;

 protected:
  ~ReplayBudget() = default;
};

class SmtpJournal {
 public:
  SmtpJournal(ReplayBudget& budget, size_t max_bytes) : budget_(budget), max_bytes_(max_bytes) {}
  ~SmtpJournal() { Clear(); }
  SmtpJournal(const SmtpJournal&) = delete;
  SmtpJournal& operator=(const SmtpJournal&) = delete;

  void Append(base::ByteView bytes);
  [[nodiscard]] bool has_overflowed() const { return has_overflowed_; }
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] size_t num_blocks() const { return blocks_.size(); }
  // Blocks in order make the text; valid until Append or Clear.
  [[nodiscard]] base::ByteView Block(size_t index) const;
  // Empty again, and able to take a new message.
  void Clear();

 private:
  static constexpr size_t kBlockBytes = 16 << 10;
  void FreeBlocks();

  ReplayBudget& budget_;
  size_t max_bytes_;
  size_t size_ = 0;
  std::vector<std::unique_ptr<char[]>> blocks_;  // all full but the last
  bool has_overflowed_ = false;
};

}  // namespace postern::proto
