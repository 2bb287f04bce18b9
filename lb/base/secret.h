// secret: passwords and tokens: wiped when they die, never printed.
//
// The bytes live on the heap in one block (mlock'ed and MADV_DONTDUMP where the system lets us),
// are wiped on destruction and assignment, and cannot be streamed or compared by accident: Reveal()
// is the one door, easy to grep for.
// Tests:    test/base/secret_test.cc SPDX-License-Identifier:
// Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace postern::base {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string_view bytes);
  Secret(const Secret& other);
  Secret(Secret&& other) noexcept;
  Secret& operator=(const Secret& other);
  Secret& operator=(Secret&& other) noexcept;
  ~Secret();

  [[nodiscard]] std::string_view Reveal() const { return {data_, size_}; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] size_t size() const { return size_; }
  void Wipe();
  bool operator==(const Secret& other) const;  // in constant time for equal sizes

 private:
  char* data_ = nullptr;
  size_t size_ = 0;
};

// Overwrites memory in a way that the compiler keeps.
void WipeBytes(void* data, size_t size_bytes);
// Overwrites a string's whole capacity, then empties it.
void WipeString(std::string& text);

}  // namespace postern::base
