// check: says what did not hold, and aborts.
// SPDX-License-Identifier: Apache-2.0
#include "lb/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace postern::base {

void CheckFailed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace postern::base
