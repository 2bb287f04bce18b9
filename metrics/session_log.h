// session_log: one JSON line per session and per SMTP transaction, fit for fail2ban and log
// pipelines.
//
// Keys: time event session transaction listener protocol client user tls_version tls_cipher
// tls_group backend why phases_ms bytes_in bytes_out commands result phase side; transactions add
// from to refused size reply queue_id (what they mean: metrics/README.md). Lines are collected per
// thread and written whole with one write(2), at the latest when the owner says so (Flush).
// Nothing blocks: a pipe that is full drops lines, counted.
// Thread:   SessionLogWriter is one per thread; the SessionLog (the file) is shared, Reopen by the
//           control thread.
// Tests:    test/metrics/session_log_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "metrics/account.h"

namespace postern::metrics {

class SessionLog {
 public:
  // target: "stdout", "off", or a path (appended to, made 0640). An unwritable path is an error
  // text.
  SessionLog();
  ~SessionLog();
  [[nodiscard]] std::string Open(const std::string& target, base::log::Format format);
  // SIGUSR1: opens the path anew (log rotation); the old file stays if that fails.
  [[nodiscard]] std::string Reopen();
  [[nodiscard]] bool is_off() const;
  // Lines lost since the start: the reader of a pipe was too slow, or the disk is full.
  [[nodiscard]] uint64_t num_dropped() const;

 private:
  friend class SessionLogWriter;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class SessionLogWriter final : public AccountSink {
 public:
  // on_pending: called with the first line that waits; a Flush is due soon.
  explicit SessionLogWriter(SessionLog& log, std::function<void()> on_pending = nullptr);
  ~SessionLogWriter() override;
  void OnSession(const SessionAccount& account) override;
  void OnTransaction(const TransactionAccount& account) override;
  void Flush();

 private:
  void LineDone(bool was_empty);

  SessionLog& log_;
  std::function<void()> on_pending_;
  std::string pending_;
};

}  // namespace postern::metrics
