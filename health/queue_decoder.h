// queue_decoder: from the bytes of a queue source to a reading: what is asked, and what is made of
// the answer.
//
// One decoder a read; four kinds, as the configuration names them. HTTP bodies of exporters are
// read as they arrive; a JSON document is kept whole until it ends.
// Does not: connect, count bytes or time: queue_read does, and says how the answer ended.
// Owner:    one QueueRead.   Thread: none; pure.
// Tests:    test/health/queue_decoder_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "conf/config.h"
#include "health/agent_text.h"
#include "lb/base/bytes.h"

namespace postern::health {

struct QueueReading {
  std::optional<double> depth;     // sound (IsDepth)
  std::optional<AgentLine> agent;  // of source `agent`, if its line was understood
  std::string error;  // why there is no depth, printable; empty for an agent that tells none
};

// How the answer came to its end.
enum class AnswerEnd : uint8_t {
  kWhole,    // the decoder had all that it wanted
  kEof,      // the peer closed, cleanly
  kLost,     // the peer closed, or the network failed, in the middle
  kTimeout,  // our bound of time
  kTooLong,  // our bound of bytes
};

class QueueDecoder {
 public:
  enum class Status : uint8_t {
    kMore,
    kWhole,   // the answer has come to its own end
    kEnough,  // more may come, but is not needed
  };

  virtual ~QueueDecoder() = default;
  // What is said first; may be nothing. May hold secrets: to be wiped.
  virtual void AppendRequest(std::string& out) const = 0;
  // Takes all of the input. Not after it has said that it wants no more.
  [[nodiscard]] virtual Status Feed(base::ByteView input) = 0;
  // Once, last.
  [[nodiscard]] virtual QueueReading Finish(AnswerEnd end) = 0;
};

// The source must outlive the decoder. It is sound: its URL, if it has one, can be parsed.
[[nodiscard]] std::unique_ptr<QueueDecoder> MakeQueueDecoder(const conf::QueueSource& source);

}  // namespace postern::health
