// mail_session: one session of IMAP or POP3: dialogue, login at its home, relay.
//
// Drives protocol machines and knows no protocol. After the login the dialogue and its machines are
// freed and bytes are relayed: a chunk costs one read and one write, no allocation; a slow peer
// pauses the other; a follower (proto/flow) knows where a goodbye may be said.
// Limits:   the listener's timeouts and limits; one timer, armed for the next deadline and not
//           touched by bytes that pass. The session itself holds at most 512 bytes.
// Owner:    the host's list.   Thread: the worker's.
// Tests:    test/session/mail_session_test.cc, test/sim/, test/integration/
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "lb/io/stream.h"
#include "lb/io/timer.h"
#include "lb/proto/flow.h"
#include "lb/session/accounting.h"
#include "lb/session/pipe.h"
#include "lb/session/session_env.h"

namespace postern::session {

class MailDialogue;

class MailSession final : public Session, private io::Stream::Observer {
 public:
  MailSession(SessionEnv& env, std::shared_ptr<const ListenerSettings> listener, ClientFacts client,
              std::unique_ptr<io::Stream> front);
  ~MailSession() override;

  void Start() override;
  void BeginDrain() override;
  void LeaveEndpoint(const balance::EndpointState& endpoint) override;
  void Kill(base::SessionResult why) override;
  [[nodiscard]] const std::string& user() const override { return accounting_.user; }
  [[nodiscard]] std::string_view backend() const override { return accounting_.backend(); }

 private:
  enum class State : uint8_t { kDialogue, kRelay, kOver };

  void OnStream(io::Stream& stream, io::Stream::Event event) override;
  void OnTimer();

  // After anything that the dialogue has done.
  void FollowDialogue();
  void StartRelay();
  void OnRelay(base::Side side, io::Stream::Event event);
  // Moves what `from` has said. False: the session has ended.
  bool Pump(base::Side from);
  void OnRelayEnd(base::Side side);
  void DrainIfSafe();
  // Ends a relay with the protocol's word for it, where one can be said.
  void EndRelay(proto::Farewell farewell, base::EndCause cause);
  void Finish(base::EndCause cause);

  [[nodiscard]] base::MonoTime RelayDeadline() const {
    return pipe_.Deadline(listener_->conf.timeouts.idle);
  }
  void Rearm();

  SessionEnv& env_;
  std::shared_ptr<const ListenerSettings> listener_;
  ClientFacts client_;
  Pipe pipe_;
  std::unique_ptr<MailDialogue> dialogue_;
  std::unique_ptr<balance::Pins::Pin> pin_;
  Accounting accounting_;
  io::Timer timer_;
  proto::MailFlow flow_;
  base::MonoTime command_began_{};
  uint32_t num_commands_ = 0;  // of the dialogue, once that is gone
  State state_ = State::kDialogue;
  bool is_draining_ = false;
};

static_assert(sizeof(MailSession) <= 520);  // with what malloc adds, 33 times 16 bytes

}  // namespace postern::session
