// stream_end: what the end of a backend's connection means, and how it is told.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "lb/base/end_cause.h"
#include "lb/io/stream.h"

namespace postern::io {

// kNone, kEof, kReset and kLocal are all a connection that is lost; who must know that nothing is
// said about the peer asks for kLocal first.
[[nodiscard]] base::FaultKind FaultOf(StreamEnd end);

// For logs and reports, without a stop: "connection refused"; TLS: the library's reason.
[[nodiscard]] std::string EndInWords(const Stream& stream);

}  // namespace postern::io
