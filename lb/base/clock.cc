// clock: the system's clocks.
// SPDX-License-Identifier: Apache-2.0
#include "lb/base/clock.h"

#include <ctime>

namespace postern::base {
namespace {

Duration Read(clockid_t id) {
  timespec time{};
  clock_gettime(id, &time);
  return std::chrono::seconds(time.tv_sec) + Duration(time.tv_nsec);
}

class System final : public Clock {
 public:
  MonoTime Now() const override { return MonoTime(Read(CLOCK_MONOTONIC)); }
  WallTime WallNow() const override { return WallTime(Read(CLOCK_REALTIME)); }
};

}  // namespace

const Clock& SystemClock() {
  static const System clock;
  return clock;
}

}  // namespace postern::base
