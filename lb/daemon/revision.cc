// revision: the commit that this binary was built from.
//
// Alone in its file, so that a commit rebuilds nothing else.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/revision.h"  // made by CMake in the build folder

#include "lb/daemon/process.h"

namespace postern::daemon {
std::string Revision() {
  return *POSTERN_REVISION == '\0' ? "unknown" : POSTERN_REVISION;
}
}  // namespace postern::daemon
