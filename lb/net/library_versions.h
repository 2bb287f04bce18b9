// library_versions: what `postern version` says of the libraries that only this box sees.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace postern::net {
// One line a library, of what is loaded now: libevent, c-ares.
[[nodiscard]] std::string LibraryVersions();
}  // namespace postern::net
