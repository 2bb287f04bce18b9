// smtp_journal: the text of one message as it went to the backend, kept until it is handed over, so
// that the transaction can move to another backend.
//
// The text's beginning is held here, in memory; what is beyond memory_bytes, or beyond what the
// process may spend, is for a file, of which the journal keeps the books only. A text longer than
// limit_bytes is lost: the journal lets go of everything and the transaction cannot move any more.
// Owner:    one SmtpRelay; reused from transaction to transaction.
// Tests:    test/proto/smtp_journal_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "lb/base/bytes.h"

namespace postern::proto {

// A share of the whole process's replay memory, and a look at its disk. Never calls back.
class ReplayBudget {
 public:
  [[nodiscard]] virtual bool Take(size_t num_bytes) = 0;
  virtual void Return(size_t num_bytes) = 0;
  // Would a file take so much more now? Others may be quicker.
  [[nodiscard]] virtual bool HasFileRoom(size_t num_bytes) const = 0;

 protected:
  ~ReplayBudget() = default;
};

// Why a message is not kept any more.
enum class JournalLoss : uint8_t {
  kTooLong,  // longer than replay_limit
  kFull,     // all messages together take as much as they may
  kDisk,     // the spool file failed, or was too slow
};

class SmtpJournal {
 public:
  // limit_bytes: of memory and file; where it is not larger than memory_bytes there is no file.
  SmtpJournal(ReplayBudget& budget, uint64_t memory_bytes, uint64_t limit_bytes)
      : budget_(budget), max_memory_(memory_bytes), limit_(std::max(memory_bytes, limit_bytes)) {}
  ~SmtpJournal() { FreeBlocks(); }
  SmtpJournal(const SmtpJournal&) = delete;
  SmtpJournal& operator=(const SmtpJournal&) = delete;

  // Will so much more be kept? What memory can hold of it is taken of the budget already.
  [[nodiscard]] bool Reserve(size_t num_bytes);
  // Returns what of it, its end, the caller must append to the file. Afterwards it may be lost.
  [[nodiscard]] base::ByteView Append(base::ByteView bytes);
  // What the file has stored, all in all.
  void OnStored(uint64_t file_bytes) { stored_bytes_ = file_bytes; }
  // Lets go of everything; the first reason stays.
  void Lose(JournalLoss why);
  [[nodiscard]] std::optional<JournalLoss> loss() const { return loss_; }

  [[nodiscard]] uint64_t size() const { return memory_bytes_ + file_bytes_; }
  [[nodiscard]] uint64_t memory_bytes() const { return memory_bytes_; }
  [[nodiscard]] bool has_file() const { return file_bytes_ > 0; }
  // Appended to the file, and not stored yet.
  [[nodiscard]] uint64_t waiting_bytes() const { return file_bytes_ - stored_bytes_; }
  // How much more it can take without being lost for its length.
  [[nodiscard]] uint64_t room() const { return limit_ - size(); }
  // A piece of the part in memory, from there on; valid until Append, Lose or Clear.
  [[nodiscard]] base::ByteView Memory(uint64_t offset) const;
  // Empty again, and able to take a new message.
  void Clear();

 private:
  static constexpr size_t kBlockBytes = 16 << 10;
  [[nodiscard]] bool may_use_file() const { return limit_ > max_memory_; }
  // What memory can take with the blocks there are.
  [[nodiscard]] uint64_t MemoryLeft() const;
  [[nodiscard]] bool AddBlock();
  void FreeBlocks();

  ReplayBudget& budget_;
  const uint64_t max_memory_;
  const uint64_t limit_;
  std::vector<std::unique_ptr<char[]>> blocks_;  // filled in order
  uint64_t memory_bytes_ = 0;
  uint64_t file_bytes_ = 0;
  uint64_t stored_bytes_ = 0;
  std::optional<JournalLoss> loss_;
};

}  // namespace postern::proto
