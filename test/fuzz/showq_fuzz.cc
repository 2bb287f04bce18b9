// showq_fuzz: any bytes as what showq says: no crash, and any cut gives the same.
// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "health/showq.h"
#include "lb/base/check.h"

namespace {

using postern::health::Showq;

void Compare(const Showq& whole, const Showq& cut) {
  POSTERN_CHECK(whole.status() == cut.status());
  POSTERN_CHECK(whole.count() == cut.count());
  POSTERN_CHECK((whole.status() == Showq::Status::kBroken) == !whole.error().empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static const std::vector<std::string> kQueues[] = {
      {"incoming", "active"}, {"hold"}, {"maildrop", "deferred"}, {"active"}};
  const std::vector<std::string>& queues = kQueues[data[0] % 4U];
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  Showq whole(queues), cut(queues);
  whole.Feed(text);
  const size_t piece_bytes = 1 + data[0] / 4U;
  for (size_t at = 0; at < text.size(); at += piece_bytes) cut.Feed(text.substr(at, piece_bytes));
  Compare(whole, cut);
  POSTERN_CHECK(whole.count() <= size);
  return 0;
}
