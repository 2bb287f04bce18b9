// check: what must hold, or the process may not go on (ownership, bounds, threads).
//
// POSTERN_CHECK is always on; POSTERN_DCHECK only in debug builds. A failed check prints file, line
// and the condition to stderr and aborts. Peers' input is never checked so: it is answered.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace postern::base {
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition);
}  // namespace postern::base

#define POSTERN_CHECK(condition) \
  ((condition) ? (void)0 : ::postern::base::CheckFailed(__FILE__, __LINE__, #condition))

#ifdef NDEBUG
#define POSTERN_DCHECK(condition) ((void)sizeof(condition))
#else
#define POSTERN_DCHECK(condition) POSTERN_CHECK(condition)
#endif
