// cells_test: the meter of memory, which replaces operator new for this program.
// SPDX-License-Identifier: Apache-2.0
#include "test/matrix/cells.h"

#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <vector>

namespace {
size_t g_heap_bytes = 0;
size_t g_peak_bytes = 0;
}  // namespace

void* operator new(size_t size) {
  void* const memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  g_heap_bytes += malloc_usable_size(memory);
  g_peak_bytes = std::max(g_peak_bytes, g_heap_bytes);
  return memory;
}

void operator delete(void* memory) noexcept {
  if (memory == nullptr) return;
  g_heap_bytes -= malloc_usable_size(memory);
  std::free(memory);
}

void operator delete(void* memory, size_t /*size*/) noexcept {
  operator delete(memory);
}

namespace postern::test {

size_t HeapBytes() {
  return g_heap_bytes;
}
size_t PeakHeapBytes() {
  return g_peak_bytes;
}
void ResetPeakHeap() {
  g_peak_bytes = g_heap_bytes;
}

namespace {

TEST(HeapMeterTest, SeesWhatIsTakenAndGivenBack) {
  const size_t before = HeapBytes();
  ResetPeakHeap();
  auto block = std::make_unique<std::vector<char>>(100'000);
  EXPECT_GE(HeapBytes(), before + 100'000);
  block.reset();
  EXPECT_LT(HeapBytes(), before + 1000);
  EXPECT_GE(PeakHeapBytes(), before + 100'000);
}

}  // namespace
}  // namespace postern::test
