// recorder: what a thread tells the metrics: one method per event, each a few additions to counters
// of its own.
//
// Every worker (and the health and control threads) owns one Recorder; its counters are written by
// that thread alone (relaxed load and store, no read-modify-write) and summed by the scrape. Label
// sets are resolved to slots when a snapshot is built (ListenerSlots, EndpointSlots, RuleSlots from
// the Registry), so that the hot path looks nothing up. Slots of the same labels are the same after
// a reload: counters never restart.
// Thread:   its owner's; Registry and Collect may be used from
// any thread.
// Tests:    test/metrics/recorder_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "conf/config.h"
#include "lb/base/clock.h"
#include "lb/base/end_cause.h"
#include "metrics/catalog.h"

namespace postern::metrics {

// Index of a counter, the same in the block of every thread.
using Slot = uint32_t;

enum class AuthResult : uint8_t { kOk, kBadCredentials, kTempFailure, kAborted, kBlocked };
enum class Mechanism : uint8_t { kPlain, kLogin, kXoauth2, kOauthBearer, kLoginCommand, kUserPass };
enum class RejectReason : uint8_t {
  kLimitAddress,
  kLimitSessions,
  kDraining,
  kEarlyTalker,
  kProxyHeader,
  kTls
};
enum class ReplyClass : uint8_t { k2xx, k4xx, k5xx, kLost };
// Why a message could not be kept any longer for a move to another endpoint.
enum class CopyLoss : uint8_t { kTooLong, kFull, kDisk };
enum class RecipientResult : uint8_t { kAccepted, kRejected, kDeferredOtherHome };
enum class DeliveryStage : uint8_t { kSubmit, kArrive, kCleanup, kRoundtrip };
enum class DeliveryOutcome : uint8_t { kOk, kFailed, kLate };
enum class Direction : uint8_t { kIn, kOut };  // of bytes, as Postern sees them: read, written
// The closed set of command_duration_seconds; anything else is kOther.
enum class Command : uint8_t {
  kEhlo,
  kMail,
  kRcpt,
  kData,
  kRset,
  kNoop,
  kVrfy,
  kAuth,
  kQuit,  // SMTP
  kSelect,
  kFetch,
  kStore,
  kSearch,
  kAppend,
  kIdle,
  kUid,
  kList,
  kStatus,  // IMAP
  kStat,
  kRetr,
  kTop,
  kDele,
  kUidl,  // POP3
  kOther
};

// First slot of a run that is indexed by the enum named.
struct ListenerSlots {
  Slot active = 0;        // sessions_active
  Slot sessions = 0;      // + SessionResult
  Slot rejected = 0;      // + RejectReason
  Slot transactions = 0;  // + ReplyClass
  Slot recipients = 0;    // + RecipientResult
  Slot bare_newlines = 0;
  Slot bytes = 0;     // + (Side - kFront) * 2 + Direction
  Slot duration = 0;  // histogram, of the protocol
  conf::Protocol protocol = conf::Protocol::kImap;
};
struct EndpointSlots {
  Slot active = 0;    // backend_sessions_active
  Slot sessions = 0;  // + SessionResult
  Slot phases = 0;    // histograms: + index of the labelled phase * width
  Slot failures = 0;  // + Phase * kNumFaultKinds + FaultKind
  conf::Protocol protocol = conf::Protocol::kImap;
};
// Of an endpoint too, but for the health thread alone.
struct CheckSlots {
  Slot results = 0;   // + 0 ok, 1 failed
  Slot duration = 0;  // histogram
};
struct RuleSlots {
  Slot none = 0;    // it refuses, or its directory fails
  Slot target = 0;  // its own pool or backend
  // Where a directory's answer is the target: one for each pool, then one for each backend.
  std::vector<Slot> answers;
};
// How a directory has answered: the label "result" of directory_lookups_total.
enum class LookupResult : uint8_t { kHit, kMiss, kCached, kStale, kError };
struct DirectorySlots {
  Slot results = 0;   // + LookupResult
  Slot duration = 0;  // histogram
};

class Registry;

class Recorder {
 public:
  struct Block;  // metrics/blocks.h, for this box alone

  explicit Recorder(Registry& registry);
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  void SessionStarted(const ListenerSlots& listener);
  void SessionEnded(const ListenerSlots& listener, base::SessionResult result,
                    base::Duration duration);
  void Rejected(const ListenerSlots& listener, RejectReason reason);
  void Bytes(const ListenerSlots& listener, base::Side side, Direction direction, uint64_t count);
  // In clear, counted once a session (front) or a leg (back).
  void PlaintextSession(base::Side side, conf::Protocol protocol);
  // version and group as TlsFacts has them; a failed handshake may know neither.
  void Handshake(base::Side side, std::string_view version, std::string_view group, bool is_resumed,
                 bool is_ok);
  void Auth(conf::Protocol protocol, Mechanism mechanism, AuthResult result);
  // One of the rule's RuleSlots.
  void RouteDecision(Slot decision);
  // duration: nothing if nobody had to be asked.
  void DirectoryLookup(const DirectorySlots& directory, LookupResult result,
                       std::optional<base::Duration> duration);

  // A session or transaction holds (no longer holds) a back leg on the endpoint.
  void BackendSessionStarted(const EndpointSlots& endpoint);
  void BackendSessionEnded(const EndpointSlots& endpoint, base::SessionResult result);
  // Only connect, tls, greeting, hello, login, mail, rcpt, data_reply are kept; others are ignored.
  void BackendPhase(const EndpointSlots& endpoint, base::Phase phase, base::Duration duration);
  void BackendFailure(const EndpointSlots& endpoint, base::Phase phase, base::FaultKind kind);
  void CheckDone(const CheckSlots& endpoint, bool is_ok, base::Duration duration);
  // The work went on to another endpoint (login, or a transaction before any byte of it was
  // replayed).
  void Retry(conf::Protocol protocol, base::FaultKind reason);
  // A read of the backend's queue source that gave nothing of use.
  void QueueReadError(const std::string& backend);
  // Of a configured end-to-end probe.
  void DeliveryStageDone(const std::string& probe, DeliveryStage stage, base::Duration duration);
  void DeliveryDone(const std::string& probe, DeliveryOutcome outcome);

  void CommandDone(conf::Protocol protocol, Command command, base::Duration duration);
  void SmtpTransaction(const ListenerSlots& listener, ReplyClass reply);
  void SmtpRecipient(const ListenerSlots& listener, RecipientResult result);
  // A transaction was moved to another endpoint.
  void SmtpReplay(base::FaultKind reason);
  void SmtpCopyLost(CopyLoss reason);
  void SmtpBareNewline(const ListenerSlots& listener);

  void EventLoopLag(int worker, base::Duration lag);

 private:
  friend class Registry;
  void Add(Slot slot, int64_t count);
  void Observe(Family histogram, Slot first, base::Duration duration);
  [[nodiscard]] Slot Find(Family family, std::vector<std::string> labels);

  Registry& registry_;
  std::unique_ptr<Block> block_;
  std::map<std::pair<Family, std::vector<std::string>>, Slot> found_;
  std::array<std::array<Slot, 24>, conf::kNumProtocols> commands_{};
};

// All that is known by its labels; makes slots, and text for the scrape.
class Registry {
 public:
  Registry();
  ~Registry();

  // What a configuration needs: every series exists (at 0) from now on; series whose object is gone
  // from the configuration are no longer shown, the others keep their values. Called by the control
  // thread when a snapshot is about to be published.
  struct Slots {
    std::vector<ListenerSlots> listeners;               // as Config::listeners
    std::vector<std::vector<EndpointSlots>> endpoints;  // as Config::backends, their endpoints
    std::vector<std::vector<CheckSlots>> checks;        // likewise
    std::vector<std::vector<RuleSlots>> rules;          // as Config::routes, their rules
    std::vector<DirectorySlots> directories;            // as Config::directories
  };
  // groups: the key exchange groups that the TLS library uses with it, by its own names.
  // answers: as Config::directories, the names that file maps answer.
  [[nodiscard]] Slots Configure(const conf::Config& config,
                                const std::vector<std::string>& groups = {},
                                const std::vector<std::vector<std::string>>& answers = {});

  // Values that are set rather than counted.
  void SetBuildInfo(std::string_view version, std::string_view revision,
                    std::string_view tls_library);
  void SetConfigGeneration(uint64_t generation, base::WallTime loaded);
  enum class ReloadResult : uint8_t { kAccepted, kRejected, kRolledBack };
  void CountReload(ReloadResult result);
  void SetCertificate(const std::string& certificate, base::WallTime not_after);
  void SetSessionLogDropped(uint64_t num_lines);
  void SetSpoolBytes(uint64_t num_bytes);
  enum class EndpointGauge : uint8_t { kUp, kDegraded, kWeightRatio };
  void SetEndpoint(const std::string& backend, conf::Protocol protocol, EndpointGauge gauge,
                   double value);
  // Of backends whose queue is configured to be read; others are ignored.
  enum class QueueGauge : uint8_t { kDepth, kReadTimestamp, kTimeToHard };
  void SetQueue(const std::string& backend, QueueGauge gauge, double value);
  struct WeightFactors {
    double latency = 1, queue = 1, slow_start = 1, agent = 1;
  };
  void SetWeightFactors(const std::string& backend, conf::Protocol protocol,
                        const WeightFactors& factors);
  // The one that an endpoint shows.
  void SetBackendCertificate(const std::string& backend, conf::Protocol protocol,
                             base::WallTime not_after);
  enum class AdminState : uint8_t { kReady, kDrain, kMaintenance };
  void SetEndpointAdmin(const std::string& backend, conf::Protocol protocol, AdminState state);

  // The scrape: Prometheus text format 0.0.4, process_* included.
  [[nodiscard]] std::string Text() const;
  // Sums over all threads, for /api/v1/status and tests: name with its prefix and exact labels in
  // the order of design ("postern_sessions_total{listener=\"imaps\",...}"); 0 if there is none.
  [[nodiscard]] double Value(std::string_view series) const;

  struct Impl;  // metrics/registry.h, for this box alone

 private:
  friend class Recorder;
  std::unique_ptr<Impl> impl_;
};

}  // namespace postern::metrics
