// bytes: views of bytes, and the bounded queue that holds what a slow peer has not taken yet.
//
// Thread:   none; values.
// Tests:    test/base/bytes_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace postern::base {

// Bytes somebody else owns: of a peer, of a file, of a literal. Never assumed to be text.
using ByteView = std::string_view;

// ASCII only, independent of the locale, as every mail protocol wants it.
[[nodiscard]] bool EqualsIgnoreCase(ByteView a, ByteView b);
[[nodiscard]] bool StartsWithIgnoreCase(ByteView text, ByteView prefix);
[[nodiscard]] std::string ToLower(ByteView text);
[[nodiscard]] std::string ToUpper(ByteView text);

// Queue of bytes: appended at the end, taken from the front; frees its memory when it becomes
// empty, so that an idle owner holds nothing.
class ByteQueue {
 public:
  [[nodiscard]] ByteView View() const { return ByteView(bytes_).substr(start_); }
  [[nodiscard]] size_t size() const { return bytes_.size() - start_; }
  [[nodiscard]] bool empty() const { return size() == 0; }
  void Append(ByteView bytes);
  // Drops n bytes from the front; n may not exceed size().
  void Consume(size_t n);
  void Clear();

 private:
  std::string bytes_;
  size_t start_ = 0;
};

}  // namespace postern::base
