// flow_command: what a follower of a relayed session tells about its commands.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace postern::proto {

enum class FlowCommand : uint8_t {
  kOther,
  kNoop,
  kSelect,
  kFetch,
  kStore,
  kSearch,
  kAppend,
  kIdle,
  kUid,
  kList,
  kStatus,
  kStat,
  kRetr,
  kTop,
  kDele,
  kUidl,
  kQuit,
};

enum class FlowVerdict : uint8_t { kPass, kForbidden };

}  // namespace postern::proto
