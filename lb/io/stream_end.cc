// stream_end: the one place that judges how a connection ended.
// SPDX-License-Identifier: Apache-2.0
#include "lb/io/stream_end.h"

namespace postern::io {

base::FaultKind FaultOf(StreamEnd end) {
  switch (end) {
    case StreamEnd::kRefused:
      return base::FaultKind::kRefused;
    case StreamEnd::kTlsVerify:
      return base::FaultKind::kTlsVerify;
    case StreamEnd::kTlsFailed:
      return base::FaultKind::kProtocol;
    case StreamEnd::kNone:
    case StreamEnd::kEof:
    case StreamEnd::kReset:
    case StreamEnd::kLocal:
      break;
  }
  return base::FaultKind::kLost;
}

std::string EndInWords(const Stream& stream) {
  switch (stream.end()) {
    case StreamEnd::kEof:
      return "closed by the peer";
    case StreamEnd::kRefused:
      return "connection refused";
    case StreamEnd::kReset:
      return "connection reset";
    case StreamEnd::kLocal:
      return "no descriptor, port or memory of our own";
    case StreamEnd::kTlsFailed:
    case StreamEnd::kTlsVerify:
      return "TLS: " + stream.tls_error();
    case StreamEnd::kNone:
      break;
  }
  return "connection lost";
}

}  // namespace postern::io
