// queue_read: one read of one queue source, from connect to the reading.
//
// Limits:   kTimeout in all (names are resolved within it, by the caller) and kMaxBytes received;
//           what is beyond either is cut off, however slowly or quickly it comes.
// Owner:    QueueMonitor.   Thread: the health loop's.
// Tests:    test/health/queue_read_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "health/queue_decoder.h"
#include "lb/base/clock.h"
#include "lb/io/dialer.h"
#include "lb/io/loop.h"
#include "lb/io/stream.h"
#include "lb/io/timer.h"

namespace postern::health {

struct QueueTarget {
  io::DialOptions dial;
  std::shared_ptr<const io::TlsSettings> tls;  // null: in clear
  std::string server_name;                     // inside TLS
};

class QueueRead final : public io::Stream::Observer {
 public:
  static constexpr base::Duration kTimeout = std::chrono::seconds(2);
  static constexpr size_t kMaxBytes = 4 << 20;
  using Done = std::function<void(QueueReading reading)>;

  QueueRead(io::Loop& loop, io::Dialer& dialer, QueueTarget target,
            std::unique_ptr<QueueDecoder> decoder, Done done);
  ~QueueRead();
  // `done` is called once, later, at the deadline at the latest; the read may then be deleted, but
  // not from within.
  void Start(base::MonoTime deadline);

 private:
  void OnStream(io::Stream& stream, io::Stream::Event event) override;
  void SendRequest();
  void StartTls();
  void TakeInput();
  void OnEnd();
  void OnDeadline();
  void Finish(AnswerEnd end);
  void Report(QueueReading reading);

  io::Dialer& dialer_;
  QueueTarget target_;
  std::unique_ptr<QueueDecoder> decoder_;
  Done done_;
  io::Timer deadline_;
  std::unique_ptr<io::Stream> stream_;
  size_t num_bytes_ = 0;
  bool is_open_ = false;  // connected, and inside TLS if that is wanted
};

}  // namespace postern::health
