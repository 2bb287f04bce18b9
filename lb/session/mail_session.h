// mail_session: one IMAP or POP3 session: dialogue with the client, login at its home, relay.
//
// Drives a front machine, then a back machine, over two streams; knows no protocol. After the login both machines are gone
// and bytes are relayed: one read, one write, no allocation; a slow peer pauses the other.
// Limits:   the listener's timeouts and limits; one timer for whichever deadline is next.
// Owner:    the host's list.   Thread: the worker's.
// Tests:    test/session/mail_session_test.cc, test/sim/, test/integration/
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "lb/io/stream.h"
#include "lb/io/timer.h"
#include "lb/proto/machine.h"
#include "lb/session/session_env.h"

namespace postern::session {

class MailSession final : public Session, private io::Stream::Observer {
 public:
  MailSession(SessionEnv& env, std::shared_ptr<const ListenerSettings> listener,
              ClientFacts client, std::unique_ptr<io::Stream> front);
  ~MailSession() override;

  void Start() override;
  void BeginDrain() override;
  void Kill(base::SessionResult why) override;
  [[nodiscard]] const std::string& user() const override { return account_->user; }
  [[nodiscard]] std::string_view backend() const override { return account_->backend; }

 private:
  enum class State : uint8_t { kDialogue, kFrontTls, kLogin, kRefusing, kRelay, kEnded };
  struct Dialogue;  // everything that is not needed once bytes are relayed

  void OnStream(io::Stream& stream, io::Stream::Event event) override;
  void OnFront(io::Stream::Event event);
  void OnBack(io::Stream::Event event);

  // Dialogue.
  void DriveFront();
  void DriveBack();
  void BeginLogin(const proto::LoginRequest& request);
  void TryNextEndpoint();
  void Dial();
  void StartBackTls();
  void FailBack(base::FaultKind kind, base::Phase phase, std::string why);
  void LoginDone(const proto::LoggedIn& answer);
  void Refuse(const proto::Refusal& refusal);
  void SayRefusal();
  void Unavailable();
  void ReleaseBack(base::SessionResult result);
  void EndPhase(base::Phase phase);

  // Relay.
  void StartRelay();
  void Pump(io::Stream& from, io::Stream& to, base::Side from_side);
  void OnRelayEof(io::Stream& from, io::Stream& to);

  void OnTimer();
  void Rearm();
  [[nodiscard]] bool is_imap() const { return listener_->conf.protocol == conf::Protocol::kImap; }
  void End(base::EndCause cause);

  SessionEnv& env_;
  std::shared_ptr<const ListenerSettings> listener_;
  std::unique_ptr<io::Stream> front_;
  std::unique_ptr<io::Stream> back_;
  std::unique_ptr<Dialogue> dialogue_;
  std::unique_ptr<metrics::SessionAccount> account_;
  std::shared_ptr<balance::EndpointState> endpoint_;  // whose load this session is; null: none
  metrics::EndpointSlots endpoint_slots_;
  base::MonoTime accepted_;
  base::MonoTime last_activity_;
  io::Timer timer_;
  State state_ = State::kDialogue;
  bool has_front_eof_ = false;
  bool has_back_eof_ = false;
  bool has_said_quit_ = false;    // LOGOUT or QUIT was the last that the client said
  bool wants_drain_ = false;
  bool is_back_at_line_start_ = true;
};

}  // namespace postern::session
