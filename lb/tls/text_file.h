// text_file: a small file as a string, with an error that an operator understands.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "lb/base/result.h"

namespace postern::tls {

// At most 4 MiB: keys, certificates and CA bundles are far smaller.
[[nodiscard]] base::Result<std::string> ReadTextFile(const std::string& path);

}  // namespace postern::tls
