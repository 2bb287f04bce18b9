// validator: rules across keys.
// SPDX-License-Identifier: Apache-2.0
#include "conf/validator.h"

namespace postern::conf {

void Validate(Built& built, const FileChecks& checks, Problems& problems) {
  (void)built;
  (void)checks;
  (void)problems;
}

}  // namespace postern::conf
