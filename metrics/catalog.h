// catalog: THE list of what is measured: name, kind, labels, help, in the order in which it is
// shown.
//
// metrics/README.md is generated from it (a test fails when it is stale). Labels are closed sets:
// names from the configuration, or words of an enum; never a user, an address or a peer's text.
// Tests:    test/metrics/
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace postern::metrics {

enum class Kind : uint8_t { kCounter, kGauge, kHistogram };

enum class Family : uint8_t {
  kBuildInfo,
  kConfigGeneration,
  kConfigLastReloadSuccessful,
  kConfigLastReloadSuccessTimestamp,
  kConfigReloads,
  kSessionsActive,
  kSessions,
  kSessionDuration,
  kBackendSessionsActive,
  kBackendSessions,
  kBackendUp,
  kBackendDegraded,
  kBackendWeightRatio,
  kBackendWeightFactor,
  kBackendAdminState,
  kBackendPhaseDuration,
  kBackendFailures,
  kRetries,
  kBackendQueueDepth,
  kBackendQueueReadTimestamp,
  kBackendQueueTimeToHard,
  kBackendQueueReadErrors,
  kChecks,
  kCheckDuration,
  kCertificateNotAfter,
  kTlsHandshakes,
  kPlaintextSessions,
  kAuthAttempts,
  kConnectionsRejected,
  kRouteDecisions,
  kDirectoryLookups,
  kDirectoryLookupDuration,
  kCommandDuration,
  kSmtpTransactions,
  kSmtpRecipients,
  kSmtpReplays,
  kSmtpCopiesLost,
  kSmtpSpoolBytes,
  kSmtpBareNewlines,
  kDeliveryProbeDuration,
  kDeliveryProbes,
  kBytes,
  kWorkerSessions,
  kEventLoopLag,
  kSessionLogDropped,
  kProcessCpu,
  kProcessResidentMemory,
  kProcessOpenFds,
  kProcessMaxFds,
  kProcessStartTime,
};
inline constexpr int kNumFamilies = 50;

struct FamilyRow {
  Family family;
  std::string_view name;  // with its prefix
  Kind kind;
  std::string_view labels;  // separated by blanks, in the order in which they are printed
  std::string_view help;
};

[[nodiscard]] std::span<const FamilyRow> Catalog();
[[nodiscard]] const FamilyRow& Row(Family family);

// Upper bounds in seconds, without +Inf.
[[nodiscard]] std::span<const double> Buckets(Family histogram);

// metrics/README.md.
[[nodiscard]] std::string CatalogAsMarkdown();

}  // namespace postern::metrics
