// registry: makes series and slots from the configuration, keeps what is set.
// SPDX-License-Identifier: Apache-2.0
#include "metrics/registry.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <set>
#include <string_view>

#include "lb/base/check.h"

namespace postern::metrics {
namespace {

// The phases that have a label of their own; failures elsewhere are counted under their own word
// too.
std::string EndpointProtocol(const conf::Endpoint& endpoint) {
  return std::string(conf::Name(endpoint.protocol));
}

// The rule's own target; empty: it has none.
std::string TargetOf(const conf::Rule& rule) {
  if (const auto* pool = std::get_if<conf::Rule::ToPool>(&rule.action)) return pool->name;
  if (const auto* backend = std::get_if<conf::Rule::ToBackend>(&rule.action)) return backend->name;
  return "";
}

// The names that the rule's directory is known to answer, by its table or map.
std::set<std::string_view> NamesOf(const conf::Rule& rule, const conf::Config& config,
                                   const std::vector<std::vector<std::string>>& answers) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < config.directories.size(); ++i) {
    const conf::Directory& directory = config.directories[i];
    if (directory.name != rule.directory) continue;
    for (const auto& [pattern, name] : directory.table) names.insert(name);
    if (directory.type == conf::Directory::Type::kFile && i < answers.size())
      names.insert(answers[i].begin(), answers[i].end());
  }
  const bool is_one = !rule.value.empty() && rule.value.find('*') == std::string::npos;
  if (is_one) std::erase_if(names, [&rule](std::string_view name) { return name != rule.value; });
  return names;
}

// How users of this protocol may log in.
std::vector<std::string> MechanismsOf(conf::Protocol protocol) {
  switch (protocol) {
    case conf::Protocol::kSubmission:
      return {"plain", "login", "xoauth2", "oauthbearer"};
    case conf::Protocol::kImap:
      return {"plain", "login", "xoauth2", "oauthbearer", "login_command"};
    case conf::Protocol::kPop3:
      return {"plain", "login", "xoauth2", "oauthbearer", "user_pass"};
    case conf::Protocol::kSmtp:
    case conf::Protocol::kLmtp:
    case conf::Protocol::kSieve:
    case conf::Protocol::kTcp:
      break;
  }
  return {};
}

constexpr std::array<const char*, 4> kFactorWords = {"latency", "queue", "slow_start", "agent"};

bool HasTls(conf::TlsMode mode) {
  return mode == conf::TlsMode::kStartTls || mode == conf::TlsMode::kImplicit;
}

bool IsLabelledPhase(base::Phase phase) {
  switch (phase) {
    case base::Phase::kConnect:
    case base::Phase::kTls:
    case base::Phase::kGreeting:
    case base::Phase::kHello:
    case base::Phase::kLogin:
    case base::Phase::kMail:
    case base::Phase::kRcpt:
    case base::Phase::kDataReply:
      return true;
    case base::Phase::kAccept:
    case base::Phase::kRoute:
    case base::Phase::kData:
    case base::Phase::kCommand:
    case base::Phase::kRelay:
      return false;
  }
  return false;
}

}  // namespace

uint32_t Registry::Impl::Width(Family family) {
  return Row(family).kind == Kind::kHistogram ? static_cast<uint32_t>(Buckets(family).size()) + 2
                                              : 1;
}

Slot Registry::Impl::Get(Family family, LabelValues labels, bool is_configured, bool is_quiet) {
  auto [it, is_new] = series.try_emplace({family, labels});
  Series& its = it->second;
  if (is_new) {
    its.family = family;
    its.labels = std::move(labels);
    its.first = next_slot;
    next_slot += Width(family);
    POSTERN_CHECK(next_slot < Recorder::Block::kChunkSlots * Recorder::Block::kMaxChunks);
  }
  its.is_configured |= is_configured;
  its.is_quiet = is_quiet;
  its.is_shown = true;
  return its.first;
}

// The run must be made in one go: only then are its slots neighbours, now and after every reload.
Slot Registry::Impl::GetRun(Family family, const LabelValues& labels,
                            const std::vector<std::string>& words, bool is_configured) {
  Slot first = 0;
  for (size_t i = 0; i < words.size(); ++i) {
    LabelValues all = labels;
    all.push_back(words[i]);
    const Slot slot = Get(family, std::move(all), is_configured);
    if (i == 0) first = slot;
    POSTERN_CHECK(slot == first + i);
  }
  return first;
}

// Whatever a directory may answer can be counted; there from the start is what it is known to.
RuleSlots Registry::Impl::SlotsOf(const conf::Route& route, const conf::Rule& rule,
                                  const conf::Config& config,
                                  const std::vector<std::vector<std::string>>& answers) {
  const auto get = [&](const std::string& target, bool is_quiet = false) {
    return Get(Family::kRouteDecisions, {route.name, rule.name, target}, true, is_quiet);
  };
  RuleSlots its;
  const std::string target = TargetOf(rule);
  if (target.empty() || !rule.directory.empty()) its.none = get("");
  if (!target.empty()) its.target = get(target);
  if (!std::holds_alternative<conf::Rule::DirectoryAnswer>(rule.action)) return its;
  const std::set<std::string_view> names = NamesOf(rule, config, answers);
  for (const conf::Pool& pool : config.pools)
    its.answers.push_back(get(pool.name, !names.contains(pool.name)));
  for (const conf::Backend& backend : config.backends)
    its.answers.push_back(get(backend.name, !names.contains(backend.name)));
  return its;
}

int64_t Registry::Impl::Sum(Slot slot) const {
  int64_t sum = 0;
  if (const auto it = retired.find(slot); it != retired.end()) sum = it->second;
  for (const Recorder::Block* block : blocks) sum += block->Load(slot);
  return sum;
}

Registry::Registry() : impl_(std::make_unique<Impl>()) {
  for (const char* result : {"accepted", "rejected", "rolled_back"})
    impl_->values[{Family::kConfigReloads, {result}}] = 0;
  for (const base::Side side : {base::Side::kFront, base::Side::kBack})
    for (const conf::Protocol protocol :
         {conf::Protocol::kSmtp, conf::Protocol::kSubmission, conf::Protocol::kImap,
          conf::Protocol::kPop3, conf::Protocol::kLmtp})
      (void)impl_->Get(Family::kPlaintextSessions,
                       {std::string(base::Name(side)), std::string(conf::Name(protocol))}, false);
  for (const std::string& reason : FaultWords())
    (void)impl_->Get(Family::kSmtpReplays, {reason}, false);
  for (const std::string& reason : CopyLossWords())
    (void)impl_->Get(Family::kSmtpCopiesLost, {reason}, false);
  impl_->values[{Family::kSmtpSpoolBytes, {}}] = 0;
  for (const conf::Protocol protocol :
       {conf::Protocol::kSmtp, conf::Protocol::kSubmission, conf::Protocol::kImap,
        conf::Protocol::kPop3, conf::Protocol::kLmtp}) {
    const std::string name(conf::Name(protocol));
    (void)impl_->GetRun(Family::kRetries, {name}, FaultWords(), false);
    for (const std::string& command : CommandWords())
      (void)impl_->Get(Family::kCommandDuration, {name, command}, false, true);
  }
  impl_->values[{Family::kSessionLogDropped, {}}] = 0;
}

Registry::~Registry() {
  POSTERN_CHECK(impl_->blocks.empty());
}

void Registry::Impl::KeepValue(std::map<ValueKey, double>& old, ValueKey key, double initial) {
  const auto known = old.find(key);
  values[std::move(key)] = known == old.end() ? initial : known->second;
}

Registry::Slots Registry::Configure(const conf::Config& config,
                                    const std::vector<std::string>& groups,
                                    const std::vector<std::vector<std::string>>& answers) {
  const std::lock_guard lock(impl_->mutex);
  for (auto& [key, series] : impl_->series)
    if (series.is_configured) series.is_shown = false;
  std::map<ValueKey, double> old = impl_->values;
  std::erase_if(impl_->values, [](const auto& value) {
    switch (value.first.first) {
      case Family::kBackendUp:
      case Family::kBackendDegraded:
      case Family::kBackendWeightRatio:
      case Family::kBackendWeightFactor:
      case Family::kBackendAdminState:
      case Family::kBackendQueueDepth:
      case Family::kBackendQueueReadTimestamp:
      case Family::kBackendQueueTimeToHard:
      case Family::kCertificateNotAfter:
        return true;
      default:
        return false;
    }
  });
  impl_->AddHandshakes(config, groups);
  Slots slots;
  for (const conf::Listener& listener : config.listeners) {
    const std::string protocol(conf::Name(listener.protocol));
    ListenerSlots its;
    its.protocol = listener.protocol;
    its.active = impl_->Get(Family::kSessionsActive, {listener.name, protocol}, true);
    its.sessions = impl_->GetRun(Family::kSessions, {listener.name, protocol}, ResultWords(), true);
    its.rejected =
        impl_->GetRun(Family::kConnectionsRejected, {listener.name}, RejectWords(), true);
    if (listener.protocol == conf::Protocol::kSmtp ||
        listener.protocol == conf::Protocol::kSubmission ||
        listener.protocol == conf::Protocol::kLmtp) {
      its.transactions = impl_->GetRun(Family::kSmtpTransactions, {listener.name},
                                       {"2xx", "4xx", "5xx", "lost"}, true);
      its.recipients = impl_->GetRun(Family::kSmtpRecipients, {listener.name},
                                     {"accepted", "rejected", "deferred_other_home"}, true);
      its.bare_newlines = impl_->Get(Family::kSmtpBareNewlines, {listener.name}, true);
    }
    its.bytes = impl_->GetRun(Family::kBytes, {listener.name, "front"}, {"in", "out"}, true);
    const Slot back = impl_->GetRun(Family::kBytes, {listener.name, "back"}, {"in", "out"}, true);
    POSTERN_CHECK(back == its.bytes + 2);
    its.duration = impl_->Get(Family::kSessionDuration, {protocol}, true, true);
    for (const std::string& mechanism : MechanismsOf(listener.protocol))
      (void)impl_->GetRun(Family::kAuthAttempts, {protocol, mechanism}, AuthWords(), true);
    slots.listeners.push_back(its);
  }
  for (const conf::Backend& backend : config.backends) {
    std::vector<EndpointSlots> of_backend;
    std::vector<CheckSlots> checks_of_backend;
    for (const conf::Endpoint& endpoint : backend.endpoints) {
      const std::string protocol = EndpointProtocol(endpoint);
      EndpointSlots its;
      its.protocol = endpoint.protocol;
      its.active = impl_->Get(Family::kBackendSessionsActive, {backend.name, protocol}, true);
      its.sessions =
          impl_->GetRun(Family::kBackendSessions, {backend.name, protocol}, ResultWords(), true);
      for (int i = 0; i < base::kNumPhases; ++i) {
        const auto phase = static_cast<base::Phase>(i);
        const Slot slot =
            impl_->Get(Family::kBackendPhaseDuration,
                       {backend.name, protocol, std::string(base::Name(phase))}, true, true);
        if (i == 0) its.phases = slot;
      }
      for (int i = 0; i < base::kNumPhases; ++i) {
        const auto phase = static_cast<base::Phase>(i);
        for (size_t k = 0; k < FaultWords().size(); ++k) {
          const Slot slot =
              impl_->Get(Family::kBackendFailures,
                         {backend.name, protocol, std::string(base::Name(phase)), FaultWords()[k]},
                         true, !IsLabelledPhase(phase));
          if (i == 0 && k == 0) its.failures = slot;
        }
      }
      CheckSlots its_checks;
      its_checks.results =
          impl_->GetRun(Family::kChecks, {backend.name, protocol}, {"ok", "failed"}, true);
      its_checks.duration =
          impl_->Get(Family::kCheckDuration, {backend.name, protocol}, true, true);
      for (const char* factor : kFactorWords)
        impl_->KeepValue(old, {Family::kBackendWeightFactor, {backend.name, protocol, factor}}, 1);
      if (const ValueKey key = {Family::kCertificateNotAfter, {"", backend.name, protocol}};
          old.contains(key))
        impl_->KeepValue(old, key, 0);
      impl_->KeepValue(old, {Family::kBackendUp, {backend.name, protocol}}, 1);
      impl_->KeepValue(old, {Family::kBackendDegraded, {backend.name, protocol}}, 0);
      impl_->KeepValue(old, {Family::kBackendWeightRatio, {backend.name, protocol}}, 1);
      for (const char* state : {"ready", "drain", "maintenance"})
        impl_->KeepValue(old, {Family::kBackendAdminState, {backend.name, protocol, state}},
                         std::string_view(state) == "ready" ? 1 : 0);
      of_backend.push_back(its);
      checks_of_backend.push_back(its_checks);
    }
    if (backend.queue) {
      impl_->KeepValue(old, {Family::kBackendQueueDepth, {backend.name}}, 0);
      impl_->KeepValue(old, {Family::kBackendQueueReadTimestamp, {backend.name}}, 0);
      impl_->KeepValue(old, {Family::kBackendQueueTimeToHard, {backend.name}}, HUGE_VAL);
      (void)impl_->Get(Family::kBackendQueueReadErrors, {backend.name}, true);
    }
    slots.endpoints.push_back(std::move(of_backend));
    slots.checks.push_back(std::move(checks_of_backend));
  }
  for (const conf::Route& route : config.routes) {
    std::vector<RuleSlots> of_route;
    for (const conf::Rule& rule : route.rules) {
      of_route.push_back(impl_->SlotsOf(route, rule, config, answers));
    }
    slots.rules.push_back(std::move(of_route));
  }
  for (const conf::Directory& directory : config.directories)
    slots.directories.push_back(
        {impl_->GetRun(Family::kDirectoryLookups, {directory.name},
                       {"hit", "miss", "cached", "stale", "error"}, true),
         impl_->Get(Family::kDirectoryLookupDuration, {directory.name}, true, true)});
  for (const conf::Probe& probe : config.probes) {
    (void)impl_->GetRun(Family::kDeliveryProbes, {probe.name}, DeliveryOutcomeWords(), true);
    for (const std::string& stage : DeliveryStageWords())
      (void)impl_->Get(Family::kDeliveryProbeDuration, {probe.name, stage}, true, true);
  }
  return slots;
}

void Registry::SetBuildInfo(std::string_view version, std::string_view revision,
                            std::string_view tls_library) {
  const std::lock_guard lock(impl_->mutex);
  impl_->values[{Family::kBuildInfo,
                 {std::string(version), std::string(revision), std::string(tls_library)}}] = 1;
}

void Registry::SetConfigGeneration(uint64_t generation, base::WallTime loaded) {
  const std::lock_guard lock(impl_->mutex);
  impl_->values[{Family::kConfigGeneration, {}}] = static_cast<double>(generation);
  impl_->values[{Family::kConfigLastReloadSuccessful, {}}] = 1;
  impl_->values[{Family::kConfigLastReloadSuccessTimestamp, {}}] =
      base::Seconds(loaded.time_since_epoch());
}

void Registry::CountReload(ReloadResult result) {
  static constexpr std::array<const char*, 3> kWords = {"accepted", "rejected", "rolled_back"};
  const std::lock_guard lock(impl_->mutex);
  impl_->values[{Family::kConfigReloads, {kWords[static_cast<size_t>(result)]}}] += 1;
  impl_->values[{Family::kConfigLastReloadSuccessful, {}}] =
      result == ReloadResult::kRejected ? 0 : 1;
}

// All that a handshake can end with, on the sides that have TLS.
void Registry::Impl::AddHandshakes(const conf::Config& config,
                                   const std::vector<std::string>& groups) {
  std::vector<std::string> sides;
  if (std::any_of(config.listeners.begin(), config.listeners.end(),
                  [](const conf::Listener& listener) { return HasTls(listener.tls); }))
    sides.emplace_back(base::Name(base::Side::kFront));
  if (std::any_of(config.backends.begin(), config.backends.end(), [](const conf::Backend& backend) {
        return std::any_of(backend.endpoints.begin(), backend.endpoints.end(),
                           [](const conf::Endpoint& endpoint) { return HasTls(endpoint.tls); });
      }))
    sides.emplace_back(base::Name(base::Side::kBack));
  for (const std::string& side : sides) {
    (void)Get(Family::kTlsHandshakes, {side, "", "", "false", "failed"}, true);
    for (const std::string& group : groups) {
      for (const char* resumed : {"false", "true"})
        (void)Get(Family::kTlsHandshakes, {side, "TLSv1.3", group, resumed, "ok"}, true);
      if (config.tls.min_version < 0x0304 && group != "X25519MLKEM768")  // of TLS 1.3 alone
        (void)Get(Family::kTlsHandshakes, {side, "TLSv1.2", group, "false", "ok"}, true);
    }
    // Resuming a session of TLS 1.2 exchanges no key.
    if (config.tls.min_version < 0x0304)
      (void)Get(Family::kTlsHandshakes, {side, "TLSv1.2", "", "true", "ok"}, true);
  }
}

void Registry::SetSessionLogDropped(uint64_t num_lines) {
  const std::lock_guard lock(impl_->mutex);
  impl_->values[{Family::kSessionLogDropped, {}}] = static_cast<double>(num_lines);
}

void Registry::SetSpoolBytes(uint64_t num_bytes) {
  const std::lock_guard lock(impl_->mutex);
  impl_->values[{Family::kSmtpSpoolBytes, {}}] = static_cast<double>(num_bytes);
}

void Registry::SetCertificate(const std::string& certificate, base::WallTime not_after) {
  const std::lock_guard lock(impl_->mutex);
  impl_->values[{Family::kCertificateNotAfter, {certificate}}] =
      base::Seconds(not_after.time_since_epoch());
}

void Registry::SetEndpoint(const std::string& backend, conf::Protocol protocol, EndpointGauge gauge,
                           double value) {
  static constexpr std::array<Family, 3> kFamilies = {Family::kBackendUp, Family::kBackendDegraded,
                                                      Family::kBackendWeightRatio};
  const std::lock_guard lock(impl_->mutex);
  impl_->values[{kFamilies[static_cast<size_t>(gauge)],
                 {backend, std::string(conf::Name(protocol))}}] = value;
}

void Registry::SetQueue(const std::string& backend, QueueGauge gauge, double value) {
  static constexpr std::array<Family, 3> kFamilies = {Family::kBackendQueueDepth,
                                                      Family::kBackendQueueReadTimestamp,
                                                      Family::kBackendQueueTimeToHard};
  const std::lock_guard lock(impl_->mutex);
  const auto it = impl_->values.find({kFamilies[static_cast<size_t>(gauge)], {backend}});
  if (it != impl_->values.end()) it->second = value;
}

void Registry::SetWeightFactors(const std::string& backend, conf::Protocol protocol,
                                const WeightFactors& factors) {
  const std::array<double, kFactorWords.size()> values = {factors.latency, factors.queue,
                                                          factors.slow_start, factors.agent};
  const std::lock_guard lock(impl_->mutex);
  for (size_t i = 0; i < values.size(); ++i)
    impl_->values[{Family::kBackendWeightFactor,
                   {backend, std::string(conf::Name(protocol)), kFactorWords[i]}}] = values[i];
}

void Registry::SetBackendCertificate(const std::string& backend, conf::Protocol protocol,
                                     base::WallTime not_after) {
  const std::lock_guard lock(impl_->mutex);
  impl_->values[{Family::kCertificateNotAfter, {"", backend, std::string(conf::Name(protocol))}}] =
      base::Seconds(not_after.time_since_epoch());
}

void Registry::SetEndpointAdmin(const std::string& backend, conf::Protocol protocol,
                                AdminState state) {
  static constexpr std::array<const char*, 3> kWords = {"ready", "drain", "maintenance"};
  const std::lock_guard lock(impl_->mutex);
  for (size_t i = 0; i < kWords.size(); ++i)
    impl_->values[{Family::kBackendAdminState,
                   {backend, std::string(conf::Name(protocol)), kWords[i]}}] =
        i == static_cast<size_t>(state) ? 1 : 0;
}

}  // namespace postern::metrics
