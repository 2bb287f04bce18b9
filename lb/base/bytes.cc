// bytes: ASCII comparisons and the byte queue.
// SPDX-License-Identifier: Apache-2.0
#include "lb/base/bytes.h"

#include <algorithm>

#include "lb/base/check.h"

namespace postern::base {
namespace {
char Lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
char Upper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}
}  // namespace

bool EqualsIgnoreCase(ByteView a, ByteView b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [](char x, char y) { return Lower(x) == Lower(y); });
}

bool StartsWithIgnoreCase(ByteView text, ByteView prefix) {
  return text.size() >= prefix.size() && EqualsIgnoreCase(text.substr(0, prefix.size()), prefix);
}

std::string ToLower(ByteView text) {
  std::string lower(text);
  for (char& c : lower) c = Lower(c);
  return lower;
}

std::string ToUpper(ByteView text) {
  std::string upper(text);
  for (char& c : upper) c = Upper(c);
  return upper;
}

void ByteQueue::Append(ByteView bytes) {
  // What was consumed is dropped before the buffer grows, so that its size follows what is queued.
  if (start_ > 0 && start_ >= bytes_.size() - start_) {
    bytes_.erase(0, start_);
    start_ = 0;
  }
  bytes_.append(bytes);
}

void ByteQueue::Consume(size_t n) {
  POSTERN_CHECK(n <= size());
  start_ += n;
  if (start_ == bytes_.size()) Clear();
}

void ByteQueue::Clear() {
  std::string().swap(bytes_);
  start_ = 0;
}

}  // namespace postern::base
