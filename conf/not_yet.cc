// not_yet: THE table of keys, and values of keys, that this build accepts and does not act on.
//
// Whoever makes one act strikes its row; the warnings, the reference and the tests follow.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "conf/keys.h"
#include "conf/values.h"

namespace postern::conf {
namespace {

using K = ObjectKind;

// A whole object of the contract that has no effect is named once, by the key that holds it.
constexpr NotYet kNotYet[] = {
    {K::kNode, "name", "", "delivery probes tell it; metrics and logs do not"},

    {K::kListener, "protocol", "sieve", "the listener is not opened"},

    {K::kBackend, "sieve", "", ""},

    {K::kDirectory, "allow_unlisted", "", "an address that is no endpoint's is refused for now"},

    {K::kDrain, "upgrade_deadline", "", ""},
    {K::kMetrics, "phase_histograms", "pool", "as \"backend\""},
};

}  // namespace

bool NotYet::Names(std::string_view value) const {
  const auto words = Split(values);
  return std::find(words.begin(), words.end(), value) != words.end();
}

std::span<const NotYet> AllNotYet() {
  return kNotYet;
}

const NotYet* FindNotYet(ObjectKind kind, std::string_view key) {
  for (const NotYet& row : kNotYet)
    if (row.kind == kind && row.key == key) return &row;
  return nullptr;
}

}  // namespace postern::conf
