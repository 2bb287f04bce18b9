// library_versions: asks the libraries.
// SPDX-License-Identifier: Apache-2.0
#include "lb/net/library_versions.h"

#include <ares.h>
#include <event2/event.h>

namespace postern::net {

std::string LibraryVersions() {
  return std::string("libevent ") + event_get_version() + "\nc-ares " + ares_version(nullptr) +
         "\n";
}

}  // namespace postern::net
