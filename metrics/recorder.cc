// recorder: events of one thread, added to its block.
// SPDX-License-Identifier: Apache-2.0
#include "metrics/recorder.h"

#include <algorithm>
#include <map>

#include "metrics/registry.h"

namespace postern::metrics {
namespace {

std::vector<std::string> Words(int count, std::string_view (*name)(int)) {
  std::vector<std::string> words;
  for (int i = 0; i < count; ++i) words.emplace_back(name(i));
  return words;
}

}  // namespace

const std::vector<std::string>& ResultWords() {
  static const std::vector<std::string> words = Words(base::kNumSessionResults, [](int i) {
    return base::Name(static_cast<base::SessionResult>(i));
  });
  return words;
}

const std::vector<std::string>& FaultWords() {
  static const std::vector<std::string> words = Words(
      base::kNumFaultKinds, [](int i) { return base::Name(static_cast<base::FaultKind>(i)); });
  return words;
}

const std::vector<std::string>& RejectWords() {
  static const std::vector<std::string> words = {"limit_address", "limit_sessions", "draining",
                                                 "early_talker",  "proxy_header",   "tls"};
  return words;
}

const std::vector<std::string>& CopyLossWords() {
  static const std::vector<std::string> words = {"too_long", "full", "disk"};
  return words;
}

const std::vector<std::string>& AuthWords() {
  static const std::vector<std::string> words = {"ok", "bad_credentials", "temp_failure", "aborted",
                                                 "blocked"};
  return words;
}

const std::vector<std::string>& MechanismWords() {
  static const std::vector<std::string> words = {"plain",       "login",         "xoauth2",
                                                 "oauthbearer", "login_command", "user_pass"};
  return words;
}

const std::vector<std::string>& DeliveryStageWords() {
  static const std::vector<std::string> words = {"submit", "arrive", "cleanup", "roundtrip"};
  return words;
}

const std::vector<std::string>& DeliveryOutcomeWords() {
  static const std::vector<std::string> words = {"ok", "failed", "late"};
  return words;
}

const std::vector<std::string>& CommandWords() {
  static const std::vector<std::string> words = {
      "ehlo", "mail",   "rcpt",  "data",  "rset",   "noop",   "vrfy", "auth",
      "quit", "select", "fetch", "store", "search", "append", "idle", "uid",
      "list", "status", "stat",  "retr",  "top",    "dele",   "uidl", "other"};
  return words;
}

Recorder::Recorder(Registry& registry) : registry_(registry), block_(std::make_unique<Block>()) {
  const std::lock_guard lock(registry_.impl_->mutex);
  registry_.impl_->blocks.push_back(block_.get());
}

Recorder::~Recorder() {
  Registry::Impl& registry = *registry_.impl_;
  const std::lock_guard lock(registry.mutex);
  for (Slot slot = 1; slot < registry.next_slot; ++slot)
    if (const int64_t count = block_->Load(slot); count != 0) registry.retired[slot] += count;
  std::erase(registry.blocks, block_.get());
}

void Recorder::Add(Slot slot, int64_t count) {
  block_->Add(slot, count);
}

// Slot of labels that are known only when they happen; a map of the thread's own in front of the
// registry's lock.
Slot Recorder::Find(Family family, std::vector<std::string> labels) {
  const auto key = std::pair(family, labels);
  if (const auto it = found_.find(key); it != found_.end()) return it->second;
  const std::lock_guard lock(registry_.impl_->mutex);
  return found_[key] = registry_.impl_->Get(family, std::move(labels), false);
}

void Recorder::Observe(Family family, Slot first, base::Duration duration) {
  const std::span<const double> buckets = Buckets(family);
  const double seconds = base::Seconds(duration);
  const auto bucket = static_cast<Slot>(std::lower_bound(buckets.begin(), buckets.end(), seconds) -
                                        buckets.begin());
  Add(first + bucket, 1);
  Add(first + static_cast<Slot>(buckets.size()) + 1, duration.count());
}

void Recorder::SessionStarted(const ListenerSlots& listener) {
  Add(listener.active, 1);
  block_->sessions.store(block_->sessions.load(std::memory_order_relaxed) + 1,
                         std::memory_order_relaxed);
}

void Recorder::SessionEnded(const ListenerSlots& listener, base::SessionResult result,
                            base::Duration duration) {
  Add(listener.active, -1);
  Add(listener.sessions + static_cast<Slot>(result), 1);
  Observe(Family::kSessionDuration, listener.duration, duration);
  block_->sessions.store(block_->sessions.load(std::memory_order_relaxed) - 1,
                         std::memory_order_relaxed);
}

void Recorder::Rejected(const ListenerSlots& listener, RejectReason reason) {
  Add(listener.rejected + static_cast<Slot>(reason), 1);
}

void Recorder::Bytes(const ListenerSlots& listener, base::Side side, Direction direction,
                     uint64_t count) {
  const Slot of_side = side == base::Side::kBack ? 2 : 0;
  Add(listener.bytes + of_side + static_cast<Slot>(direction), static_cast<int64_t>(count));
}

void Recorder::PlaintextSession(base::Side side, conf::Protocol protocol) {
  Add(Find(Family::kPlaintextSessions,
           {std::string(base::Name(side)), std::string(conf::Name(protocol))}),
      1);
}

void Recorder::Handshake(base::Side side, std::string_view version, std::string_view group,
                         bool is_resumed, bool is_ok) {
  Add(Find(Family::kTlsHandshakes,
           {std::string(base::Name(side)), std::string(version), std::string(group),
            is_resumed ? "true" : "false", is_ok ? "ok" : "failed"}),
      1);
}

void Recorder::Auth(conf::Protocol protocol, Mechanism mechanism, AuthResult result) {
  Add(Find(Family::kAuthAttempts,
           {std::string(conf::Name(protocol)), MechanismWords()[static_cast<size_t>(mechanism)],
            AuthWords()[static_cast<size_t>(result)]}),
      1);
}

void Recorder::RouteDecision(Slot decision) {
  Add(decision, 1);
}

void Recorder::DirectoryLookup(const DirectorySlots& directory, LookupResult result,
                               std::optional<base::Duration> duration) {
  Add(directory.results + static_cast<Slot>(result), 1);
  if (duration) Observe(Family::kDirectoryLookupDuration, directory.duration, *duration);
}

void Recorder::BackendSessionStarted(const EndpointSlots& endpoint) {
  Add(endpoint.active, 1);
}

void Recorder::BackendSessionEnded(const EndpointSlots& endpoint, base::SessionResult result) {
  Add(endpoint.active, -1);
  Add(endpoint.sessions + static_cast<Slot>(result), 1);
}

void Recorder::BackendPhase(const EndpointSlots& endpoint, base::Phase phase,
                            base::Duration duration) {
  switch (phase) {
    case base::Phase::kConnect:
    case base::Phase::kTls:
    case base::Phase::kGreeting:
    case base::Phase::kHello:
    case base::Phase::kLogin:
    case base::Phase::kMail:
    case base::Phase::kRcpt:
    case base::Phase::kDataReply:
      Observe(Family::kBackendPhaseDuration,
              endpoint.phases +
                  static_cast<Slot>(phase) * Registry::Impl::Width(Family::kBackendPhaseDuration),
              duration);
      return;
    case base::Phase::kAccept:
    case base::Phase::kRoute:
    case base::Phase::kData:
    case base::Phase::kCommand:
    case base::Phase::kRelay:
      return;
  }
}

void Recorder::BackendFailure(const EndpointSlots& endpoint, base::Phase phase,
                              base::FaultKind kind) {
  Add(endpoint.failures + static_cast<Slot>(phase) * base::kNumFaultKinds + static_cast<Slot>(kind),
      1);
}

void Recorder::CheckDone(const CheckSlots& endpoint, bool is_ok, base::Duration duration) {
  Add(endpoint.results + (is_ok ? 0 : 1), 1);
  Observe(Family::kCheckDuration, endpoint.duration, duration);
}

void Recorder::Retry(conf::Protocol protocol, base::FaultKind reason) {
  Add(Find(Family::kRetries,
           {std::string(conf::Name(protocol)), FaultWords()[static_cast<size_t>(reason)]}),
      1);
}

void Recorder::QueueReadError(const std::string& backend) {
  Add(Find(Family::kBackendQueueReadErrors, {backend}), 1);
}

void Recorder::DeliveryStageDone(const std::string& probe, DeliveryStage stage,
                                 base::Duration duration) {
  Observe(Family::kDeliveryProbeDuration,
          Find(Family::kDeliveryProbeDuration,
               {probe, DeliveryStageWords()[static_cast<size_t>(stage)]}),
          duration);
}

void Recorder::DeliveryDone(const std::string& probe, DeliveryOutcome outcome) {
  Add(Find(Family::kDeliveryProbes, {probe, DeliveryOutcomeWords()[static_cast<size_t>(outcome)]}),
      1);
}

void Recorder::CommandDone(conf::Protocol protocol, Command command, base::Duration duration) {
  Slot& slot = commands_[static_cast<size_t>(protocol)][static_cast<size_t>(command)];
  if (slot == 0)
    slot = Find(Family::kCommandDuration,
                {std::string(conf::Name(protocol)), CommandWords()[static_cast<size_t>(command)]});
  Observe(Family::kCommandDuration, slot, duration);
}

void Recorder::SmtpTransaction(const ListenerSlots& listener, ReplyClass reply) {
  Add(listener.transactions + static_cast<Slot>(reply), 1);
}

void Recorder::SmtpRecipient(const ListenerSlots& listener, RecipientResult result) {
  Add(listener.recipients + static_cast<Slot>(result), 1);
}

void Recorder::SmtpReplay(base::FaultKind reason) {
  Add(Find(Family::kSmtpReplays, {FaultWords()[static_cast<size_t>(reason)]}), 1);
}

void Recorder::SmtpCopyLost(CopyLoss reason) {
  Add(Find(Family::kSmtpCopiesLost, {CopyLossWords()[static_cast<size_t>(reason)]}), 1);
}

void Recorder::SmtpBareNewline(const ListenerSlots& listener) {
  Add(listener.bare_newlines, 1);
}

void Recorder::EventLoopLag(int worker, base::Duration lag) {
  block_->worker.store(worker, std::memory_order_relaxed);
  block_->lag_ns.store(lag.count(), std::memory_order_relaxed);
}

}  // namespace postern::metrics
