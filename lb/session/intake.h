// intake: a connection before its dialogue: PROXY header, where the listener wants one, and
// implicit TLS.
//
// Does not: speak. A connection that has no proper PROXY header, or fails the handshake, is closed
// unserved.
// Limits:   the tls timeout covers both; the login deadline of the session counts from accept too.
// Owner:    the host's list.
// Thread:   the worker's.
// Tests:    test/session/intake_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "lb/io/stream.h"
#include "lb/io/timer.h"
#include "lb/session/session_env.h"

namespace postern::session {

class Intake;

class IntakeHost {
 public:
  // The connection is ready: take its stream and facts. Then, or after failure, the intake is done:
  // delete it later, never from within.
  virtual void IntakeReady(Intake& intake) = 0;
  virtual void IntakeFailed(Intake& intake) = 0;

 protected:
  ~IntakeHost() = default;
};

class Intake final : public io::Stream::Observer {
 public:
  Intake(io::Loop& loop, metrics::Recorder& recorder, IntakeHost& host,
         std::shared_ptr<const ListenerSettings> listener, ClientFacts client,
         std::unique_ptr<io::Stream> stream);
  // True if a connection to this listener needs one at all.
  [[nodiscard]] static bool IsNeeded(const ListenerSettings& listener);

  void Start();
  // Ends it, without a word.
  void Kill();

  std::shared_ptr<const ListenerSettings> listener;
  ClientFacts client;
  std::unique_ptr<io::Stream> stream;
  // Intrusive list of the host.
  Intake* previous_in_host = nullptr;
  Intake* next_in_host = nullptr;

 private:
  enum class State : uint8_t { kProxyHeader, kTls, kDone };

  void OnStream(io::Stream& from, io::Stream::Event event) override;
  void ReadProxyHeader();
  void StartTls();
  void Ready();
  void Fail(metrics::RejectReason reason, std::string_view why);
  void OnDeadline();

  metrics::Recorder& recorder_;
  IntakeHost& host_;
  io::Timer deadline_;
  State state_ = State::kProxyHeader;
};

}  // namespace postern::session
