// validator: what is only wrong, or risky, when keys are seen together.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "conf/build.h"
#include "conf/load.h"
#include "conf/problems.h"

namespace postern::conf {

void Validate(Built& built, const FileChecks& checks, Problems& problems);

}  // namespace postern::conf
