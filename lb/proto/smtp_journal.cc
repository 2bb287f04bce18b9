// smtp_journal: the text of one message as it went to the backend, kept until it is handed over.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/smtp_journal.h"

#include <algorithm>
#include <cstring>

namespace postern::proto {

base::ByteView SmtpJournal::Append(base::ByteView bytes) {
  if (loss_) return {};
  const bool may_use_file = limit_ > max_memory_;
  if (bytes.size() > room()) {
    Lose(JournalLoss::kTooLong);
    return {};
  }
  while (!bytes.empty() && file_bytes_ == 0 && memory_bytes_ < max_memory_) {
    const size_t used = memory_bytes_ % kBlockBytes;
    if (used == 0) {
      if (!budget_.Take(kBlockBytes)) break;
      blocks_.emplace_back(new char[kBlockBytes]);  // not make_unique: it would clear the block
    }
    const size_t size = static_cast<size_t>(
        std::min<uint64_t>({bytes.size(), kBlockBytes - used, max_memory_ - memory_bytes_}));
    std::memcpy(blocks_.back().get() + used, bytes.data(), size);
    memory_bytes_ += size;
    bytes.remove_prefix(size);
  }
  if (!bytes.empty() && !may_use_file) {
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
