// smtp_journal: the text of one message as it went to the backend, kept until it is handed over.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/smtp_journal.h"

#include <algorithm>
#include <cstring>

namespace postern::proto {

uint64_t SmtpJournal::MemoryLeft() const {
  return std::min<uint64_t>(blocks_.size() * kBlockBytes, max_memory_) - memory_bytes_;
}

bool SmtpJournal::AddBlock() {
  if (blocks_.size() * kBlockBytes >= max_memory_ || !budget_.Take(kBlockBytes)) return false;
  blocks_.emplace_back(new char[kBlockBytes]);  // not make_unique: it would clear the block
  return true;
}

bool SmtpJournal::Reserve(size_t num_bytes) {
  if (loss_ || num_bytes > room()) return false;
  // Behind what is in the file there is no more memory.
  if (file_bytes_ > 0) return budget_.HasFileRoom(num_bytes);
  while (MemoryLeft() < num_bytes && AddBlock()) {
  }
  if (MemoryLeft() >= num_bytes) return true;
  return may_use_file() && budget_.HasFileRoom(num_bytes - MemoryLeft());
}

base::ByteView SmtpJournal::Append(base::ByteView bytes) {
  if (loss_) return {};
  if (bytes.size() > room()) {
    Lose(JournalLoss::kTooLong);
    return {};
  }
  while (!bytes.empty() && file_bytes_ == 0 && (MemoryLeft() > 0 || AddBlock())) {
    const size_t used = memory_bytes_ % kBlockBytes;
    const size_t size =
        static_cast<size_t>(std::min<uint64_t>({bytes.size(), kBlockBytes - used, MemoryLeft()}));
    std::memcpy(blocks_[memory_bytes_ / kBlockBytes].get() + used, bytes.data(), size);
    memory_bytes_ += size;
    bytes.remove_prefix(size);
  }
  if (!bytes.empty() && !may_use_file()) {
    Lose(JournalLoss::kFull);
    return {};
  }
  file_bytes_ += bytes.size();
  return bytes;
}

base::ByteView SmtpJournal::Memory(uint64_t offset) const {
  const size_t start = offset % kBlockBytes;
  const uint64_t block = offset / kBlockBytes;
  return {blocks_[block].get() + start,
          static_cast<size_t>(std::min<uint64_t>(kBlockBytes - start, memory_bytes_ - offset))};
}

void SmtpJournal::Lose(JournalLoss why) {
  if (loss_) return;
  Clear();
  loss_ = why;
}

void SmtpJournal::Clear() {
  FreeBlocks();
  memory_bytes_ = file_bytes_ = stored_bytes_ = 0;
  loss_.reset();
}

void SmtpJournal::FreeBlocks() {
  if (!blocks_.empty()) budget_.Return(blocks_.size() * kBlockBytes);
  blocks_.clear();
}

}  // namespace postern::proto
