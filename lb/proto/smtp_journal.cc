// smtp_journal: the text of one message as it went to the backend, kept until it is handed over.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/smtp_journal.h"

#include <algorithm>
#include <cstring>

namespace postern::proto {

void SmtpJournal::Append(base::ByteView bytes) {
  if (has_overflowed_) return;
  if (bytes.size() > max_bytes_ - size_) {
    FreeBlocks();
    has_overflowed_ = true;
    return;
  }
  while (!bytes.empty()) {
    const size_t used = size_ % kBlockBytes;
    if (used == 0) {
      if (!budget_.Take(kBlockBytes)) {
        FreeBlocks();
        has_overflowed_ = true;
        return;
      }
      blocks_.emplace_back(new char[kBlockBytes]);  // not make_unique: it would clear the block
    }
    const size_t size = std::min(bytes.size(), kBlockBytes - used);
    std::memcpy(blocks_.back().get() + used, bytes.data(), size);
    size_ += size;
    bytes.remove_prefix(size);
  }
}

base::ByteView SmtpJournal::Block(size_t index) const {
  const size_t start = index * kBlockBytes;
  return {blocks_[index].get(), std::min(kBlockBytes, size_ - start)};
}

void SmtpJournal::Clear() {
  FreeBlocks();
  has_overflowed_ = false;
}

void SmtpJournal::FreeBlocks() {
  if (!blocks_.empty()) budget_.Return(blocks_.size() * kBlockBytes);
  blocks_.clear();
  size_ = 0;
}

}  // namespace postern::proto
