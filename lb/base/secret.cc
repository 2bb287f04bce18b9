// secret: memory that is locked, kept out of core dumps, and wiped.
// SPDX-License-Identifier: Apache-2.0
#include "lb/base/secret.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "lb/base/check.h"

namespace postern::base {
namespace {

// Secrets get pages of their own only when they are large: locking and MADV_DONTDUMP act on whole
// pages, and a page per password would cost 4 KiB a session. Small ones share pages of an arena
// that is locked once.
constexpr size_t kSlotBytes = 256;
constexpr size_t kArenaBytes = 64 << 10;

struct FreeSlot {
  FreeSlot* next;
};

// One arena list per thread: no lock; slots freed by another thread join that thread's list.
thread_local FreeSlot* free_slots = nullptr;

void* MapLocked(size_t size) {
  void* pages = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  POSTERN_CHECK(pages != MAP_FAILED);
  // Both are best effort: RLIMIT_MEMLOCK may be small, and the secret is wiped in any case.
  (void)mlock(pages, size);
  (void)madvise(pages, size, MADV_DONTDUMP);
  return pages;
}

size_t RoundToPages(size_t size) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return (size + page - 1) / page * page;
}

char* Allocate(size_t size) {
  if (size == 0) return nullptr;
  if (size > kSlotBytes) return static_cast<char*>(MapLocked(RoundToPages(size)));
  if (free_slots == nullptr) {
    auto* arena = static_cast<char*>(MapLocked(kArenaBytes));
    for (size_t at = 0; at < kArenaBytes; at += kSlotBytes) {
      auto* slot = reinterpret_cast<FreeSlot*>(arena + at);
      slot->next = free_slots;
      free_slots = slot;
    }
  }
  FreeSlot* slot = free_slots;
  free_slots = slot->next;
  return reinterpret_cast<char*>(slot);
}

void Release(char* data, size_t size) {
  if (data == nullptr) return;
  WipeBytes(data, size);
  if (size > kSlotBytes) {
    munmap(data, RoundToPages(size));
    return;
  }
  auto* slot = reinterpret_cast<FreeSlot*>(data);
  slot->next = free_slots;
  free_slots = slot;
}

}  // namespace

void WipeBytes(void* data, size_t size_bytes) {
  if (size_bytes > 0) explicit_bzero(data, size_bytes);
}

void WipeString(std::string& text) {
  text.resize(text.capacity());
  WipeBytes(text.data(), text.size());
  text.clear();
}

Secret::Secret(std::string_view bytes) : data_(Allocate(bytes.size())), size_(bytes.size()) {
  if (size_ > 0) std::memcpy(data_, bytes.data(), size_);
}

Secret::Secret(const Secret& other) : Secret(other.Reveal()) {}

Secret::Secret(Secret&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Secret& Secret::operator=(const Secret& other) {
  if (this != &other) *this = Secret(other);
  return *this;
}

Secret& Secret::operator=(Secret&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  if (this != &other) other.Wipe();
  return *this;
}

Secret::~Secret() {
  Wipe();
}

void Secret::Wipe() {
  Release(data_, size_);
  data_ = nullptr;
  size_ = 0;
}

bool Secret::operator==(const Secret& other) const {
  if (size_ != other.size_) return false;
  unsigned char difference = 0;
  for (size_t i = 0; i < size_; ++i)
    difference |= static_cast<unsigned char>(data_[i] ^ other.data_[i]);
  return difference == 0;
}

}  // namespace postern::base
