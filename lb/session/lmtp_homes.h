// lmtp_homes: what an LmtpSession has in place of a backend: one session for each home that its
// recipients live at, and the LmtpFan between them and the client's own.
//
// To the LmtpSession it is a server at the other end of a stream; to each home's session it is a
// client at the other end of another. A slow home stops the text for all: what is written to it and
// not taken counts against the limit that holds for any leg.
// Owner:    one LmtpSession.   Thread: its worker's.
// Limits:   LmtpFan::Limits; limits.buffer for each leg.
// Tests:    test/session/lmtp_homes_session_test.cc, test/sim/lmtp_sim_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "lb/io/memory_stream.h"
#include "lb/proto/lmtp_fan.h"
#include "lb/session/session_env.h"

namespace postern::session {

class HomeSession;

// Where a recipient of the transaction under way lives; parts: what the home belongs to.
struct KnownHome {
  const balance::Home* home = nullptr;  // null: nobody knows any more
  std::shared_ptr<const Parts> parts;
  uint64_t transaction = 0;
};

class LmtpHomes final : private io::Stream::Observer, private proto::LmtpFan::Driver {
 public:
  // Of the session that owns this.
  class Client {
   public:
    [[nodiscard]] virtual KnownHome HomeOf(std::string_view recipient) const = 0;

   protected:
    ~Client() = default;
  };

  // front: the client's connection. All outlive this.
  LmtpHomes(SessionEnv& env, std::shared_ptr<const ListenerSettings> listener,
            const ClientFacts& client, const io::Stream& front, const Client& asked);
  ~LmtpHomes();
  LmtpHomes(const LmtpHomes&) = delete;
  LmtpHomes& operator=(const LmtpHomes&) = delete;

  // The end for the client's session; once.
  [[nodiscard]] std::unique_ptr<io::Stream> TakeStream() { return std::move(client_end_); }
  // The transaction under way is one line in the log, the client's own: homes write none of it.
  void Silence();
  // A transaction begins.
  void Begin() { fan_.Forget(); }
  // The transaction, if one is under way, will not be gone on with.
  void GiveUp() { fan_.GiveUp(); }
  // Have homes come so far with it that they answer for it?
  [[nodiscard]] bool AnswersForText() const;
  void LeaveEndpoint(const balance::EndpointState& endpoint);
  // Of the home that was reached last; empty: none.
  [[nodiscard]] std::string_view backend() const;

 private:
  // The environment of homes' sessions: they are no sessions of the worker's.
  class Host;
  struct Around;
  struct Inner {
    proto::LmtpFan::LegId leg = 0;
    std::unique_ptr<io::MemoryStream> stream;  // our end
    std::unique_ptr<HomeSession> session;
  };

  void OnStream(io::Stream& stream, io::Stream::Event event) override;
  void Pump();
  [[nodiscard]] bool IsSlow() const;
  void Flush();
  [[nodiscard]] Inner* Find(proto::LmtpFan::LegId leg);

  // proto::LmtpFan::Driver
  proto::LmtpFan::Home HomeOf(base::ByteView recipient) override;
  void OpenLeg(proto::LmtpFan::LegId leg) override;
  void ToLeg(proto::LmtpFan::LegId leg, base::ByteView bytes) override;
  void CloseLeg(proto::LmtpFan::LegId leg) override;

  SessionEnv& env_;
  const std::shared_ptr<const ListenerSettings> listener_;
  const ClientFacts client_;
  const io::Stream& front_;
  const Client& asked_;
  std::shared_ptr<Around> around_;  // of each session, until the last is gone
  std::unique_ptr<io::MemoryStream> client_end_;
  std::unique_ptr<io::MemoryStream> stream_;  // to the client's session
  proto::LmtpFan fan_;
  std::vector<Inner> inners_;
  proto::LmtpFan::LegId last_used_ = 0;
};

}  // namespace postern::session
