// smtp_session: one SMTP or submission session: drives a SmtpRelay over the client's stream and the
// stream of the one backend it is on.
//
// Knows no SMTP: it does what the relay's actions say, finds homes and endpoints, keeps the books
// of load, health and metrics, and writes the accounts.
// Limits:   the listener's; a slow peer on one side pauses the other at limits.buffer, a slow disk
//           the client at the spool's window.
// Owner:    the host's list.   Thread: the worker's.
// Why so:   one timer for whichever of the relay's deadlines is next. The two sides of a session of
//           several homes (LmtpSession, HomeSession) are this too: what they do differently is
//           virtual, and by Place in the settings.
// Tests:    test/session/smtp_session_test.cc, test/sim/, test/integration/
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lb/io/spool.h"
#include "lb/io/stream.h"
#include "lb/io/timer.h"
#include "lb/proto/smtp_relay.h"
#include "lb/session/dial.h"
#include "lb/session/exclusive.h"
#include "lb/session/route_query.h"
#include "lb/session/session_env.h"

namespace postern::session {

// What a client's own session says at most more in a line to a home's than its client did.
inline constexpr size_t kHomeLineBytes = 1024;

class SmtpSession : public Session,
                    protected io::Stream::Observer,
                    private io::SpoolFile::Observer,
                    protected proto::SmtpReports,
                    private proto::ReplayBudget,
                    private proto::RefusalMemory {
 public:
  SmtpSession(SessionEnv& env, std::shared_ptr<const ListenerSettings> listener, ClientFacts client,
              std::unique_ptr<io::Stream> front)
      : SmtpSession(env, std::move(listener), client, std::move(front), Place::kWhole) {}
  ~SmtpSession() override;

  void Start() override;
  void BeginDrain() override;
  void LeaveEndpoint(const balance::EndpointState& endpoint) override;
  void Kill(base::SessionResult why) override;
  [[nodiscard]] const std::string& user() const override { return account_.user; }
  [[nodiscard]] std::string_view backend() const override { return account_.backend; }

 protected:
  // Of a session of several homes: the client's side of it, and each home's.
  enum class Place : uint8_t { kWhole, kClient, kHome };
  SmtpSession(SessionEnv& env, std::shared_ptr<const ListenerSettings> listener, ClientFacts client,
              std::unique_ptr<io::Stream> front, Place place);
  [[nodiscard]] static proto::SmtpSettings SettingsAt(Place place, const ListenerSettings& listener,
                                                      const io::Stream& front, bool has_spool,
                                                      const IdleLegs* idle_legs);

  // The backend's side.
  struct Back {
    proto::LegId leg = 0;  // 0: none
    std::unique_ptr<io::Stream> stream;
    std::shared_ptr<const Parts> parts;  // what endpoint belongs to
    const balance::Endpoint* endpoint = nullptr;
    std::optional<Dial> dial;  // of the endpoint
    std::shared_ptr<balance::EndpointState> state;
    std::unique_ptr<balance::Pins::Pin> pin;  // of the recipient, in an exclusive pool
    metrics::EndpointSlots slots;
    bool is_busy = false;                         // counted as load
    std::optional<balance::Picker::Blame> blame;  // it failed
    bool is_handshaking = false;
    uint64_t bytes_in = 0, bytes_out = 0;
    // Of the ladder, until it is done; some phases come twice. Negative: did not happen.
    std::array<double, balance::kTimedPhases.size()> ladder_s = [] {
      std::array<double, balance::kTimedPhases.size()> none{};
      none.fill(-1);
      return none;
    }();
    bool is_ladder_done = false;
    base::MonoTime suspected{};  // since when the answer was due whose lateness has been told
  };

  // After anything was told to the relay: does its actions, writes, and goes on with the client's
  // bytes.
  void Drive();
  // What differs from place to place.
  virtual void OpenBooks();
  virtual void CloseBooks(base::EndCause cause);
  virtual void FindHome(const proto::AskRoute& action);
  [[nodiscard]] virtual proto::RouteAnswer WayTo(const balance::Home& home);
  virtual void OpenBack(proto::LegId leg);
  virtual void ReleaseBack(proto::DropLeg::How how, base::SessionResult result);

  // proto::SmtpReports
  void OnCommand(proto::SmtpVerb verb, base::Duration took) override;
  void OnRecipient(Recipient result) override;
  void OnBareNewline() override;
  void OnEarlyTalker() override;
  void OnLogin(proto::Mechanism mechanism, const std::string& user, Login result) override;
  void OnTransaction(const proto::SmtpOutcome& outcome) override;
  void OnPhase(proto::LegId leg, base::Phase phase, base::Duration took) override;
  void OnLegFault(proto::LegId leg, const proto::SmtpLegFault& fault) override;
  void OnLegReady(proto::LegId leg, base::ByteView ehlo_lines) override;
  void OnLegBusy(proto::LegId leg) override;
  void OnLegIdle(proto::LegId leg) override;
  void OnMoved(Moved moved, base::FaultKind why) override;
  void OnJournalLost(proto::JournalLoss why) override;

  // What of the client's bytes and commands is this transaction's.
  void Charge(metrics::TransactionAccount& account);
  // A transaction ends that is written down elsewhere, or nowhere: the next one's line has none of
  // it.
  void LeaveOut();

  SessionEnv& env_;
  std::shared_ptr<const ListenerSettings> listener_;
  const ClientFacts client_;
  std::unique_ptr<io::Stream> front_;
  const proto::SmtpSettings settings_;
  proto::SmtpRelay relay_;
  Back back_;
  std::shared_ptr<const Parts> parts_;  // of the work under way
  metrics::SessionAccount account_;
  bool is_over_ = false;

 private:
  void OnStream(io::Stream& stream, io::Stream::Event event) override;
  void OnFront(io::Stream::Event event);
  void OnBack(io::Stream::Event event);
  [[nodiscard]] bool ReadFront();
  void Perform();
  void Do(proto::AskRoute& action) { FindHome(action); }
  void GoBy(const route::Decision& decision);
  [[nodiscard]] bool TakeUser(const route::Decision& decision);
  void KeepJudgements(const std::vector<route::Answered>& answers);
  void Do(proto::ToBack& action);
  void Do(proto::SpoolAppend& action);
  void Do(proto::SpoolRead& action);
  void Do(proto::SpoolClose& action);
  void Do(proto::OpenLeg& action);
  void Do(proto::DropLeg& action);
  void Do(proto::StartTlsOn& action);
  void Do(proto::EndSession& action);
  // A side, or the disk, has more to take than it should hold.
  [[nodiscard]] bool IsBackFull() const;
  [[nodiscard]] size_t HighWater() const;
  void FlushFront();
  void FlushBack();
  void WriteBack(base::ByteView bytes);
  void Rearm();
  // When the answer that is due has been due for too long; never once that has been told.
  [[nodiscard]] base::MonoTime Patience() const;
  void Suspect();
  void OnTimer();
  void Finish(base::EndCause cause);
  // Adds which backend failed last, if that is nobody's news yet.
  void TellFault(base::EndCause& cause) const;

  [[nodiscard]] bool HasAnotherEndpoint() const;
  [[nodiscard]] bool HasUntried(const balance::Home& home) const;
  [[nodiscard]] bool MayTry(const balance::Endpoint& member) const;
  [[nodiscard]] HeldMember PickEndpoint(const balance::Home& home);
  [[nodiscard]] const balance::Endpoint* PickAmong(const balance::Home& home,
                                                   std::vector<balance::EndpointId> excluded);
  void SetBusy();
  void SetFree(base::SessionResult result);
  [[nodiscard]] bool TakeIdleLeg(const proto::SmtpLegFacts& facts);
  // How what is left of it is to be released.
  [[nodiscard]] proto::DropLeg::How PassLegOn(proto::SmtpIdleLeg idle);
  [[nodiscard]] bool HasNoSocket() const;
  [[nodiscard]] bool IsIdleLegGood(const balance::Home& home) const;
  [[nodiscard]] bool HasOneBelowHard(const balance::Home& home) const;
  [[nodiscard]] bool HasCommonEndpoint(const balance::Home& home) const;
  void StartFrontTls();
  void StartBackTls();
  void FindPeerName();

  // io::SpoolFile::Observer
  void OnSpoolStored(uint64_t total_bytes) override;
  void OnSpoolRead(base::ByteView bytes) override;
  void OnSpoolFailed(io::SpoolFault fault) override;
  // proto::ReplayBudget
  bool Take(size_t num_bytes) override { return env_.host.TakeReplayMemory(num_bytes); }
  void Return(size_t num_bytes) override { env_.host.ReturnReplayMemory(num_bytes); }
  bool HasFileRoom(size_t num_bytes) const override;
  // proto::RefusalMemory
  void Remember(std::string_view from, std::string_view to, base::ByteView reply) override;
  std::string Recall(std::string_view from, std::string_view to) override;
  [[nodiscard]] std::string RefusalKey(std::string_view from, std::string_view to) const;
  [[nodiscard]] std::string RefusedClient() const;

  std::unique_ptr<io::SpoolFile> spool_file_;  // of the message under way
  uint32_t num_lookups_ = 0;
  std::vector<route::Answered> judgements_;  // of the login, by directories of judged_by_
  std::weak_ptr<const Parts> judged_by_;
  std::string back_user_;              // of a directory's answer; empty: as the client typed it
  std::unique_ptr<RouteQuery> query_;  // while a directory is asked
  // Of the client's, what the transactions that have ended were charged with.
  struct Charged {
    uint64_t bytes_in = 0, bytes_out = 0, commands = 0;
  };
  Charged charged_;
  size_t reading_bytes_ = 0;  // given to the relay now
  io::Timer timer_;
  std::optional<base::EndCause> end_;
  std::string last_fault_;              // of a backend, in the work under way
  std::shared_ptr<SmtpSession*> self_;  // null inside once the session is gone
  bool has_front_eof_ = false;
  bool is_front_paused_ = false;
  bool wants_front_tls_ = false;
  bool is_front_handshaking_ = false;
  bool has_asked_name_ = false;
  bool has_asked_backend_ = false;  // in the work under way
};

}  // namespace postern::session
