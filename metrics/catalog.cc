// catalog: the rows.
// SPDX-License-Identifier: Apache-2.0
#include "metrics/catalog.h"

#include "lb/base/check.h"

namespace postern::metrics {
namespace {

constexpr std::array<FamilyRow, kNumFamilies> kRows = {{
    {Family::kBuildInfo, "postern_build_info", Kind::kGauge, "version revision tls_library",
     "1; the labels say what is running."},
    {Family::kConfigGeneration, "postern_config_generation", Kind::kGauge, "",
     "Number of the configuration in force; counts from 1 at the start."},
    {Family::kConfigLastReloadSuccessful, "postern_config_last_reload_successful", Kind::kGauge, "",
     "1 if the last reload was accepted, 0 if it was rejected."},
    {Family::kConfigLastReloadSuccessTimestamp,
     "postern_config_last_reload_success_timestamp_seconds", Kind::kGauge, "",
     "When the configuration in force was loaded."},
    {Family::kConfigReloads, "postern_config_reloads_total", Kind::kCounter, "result",
     "Reloads by their result."},
    {Family::kSessionsActive, "postern_sessions_active", Kind::kGauge, "listener protocol",
     "Client sessions open now."},
    {Family::kSessions, "postern_sessions_total", Kind::kCounter, "listener protocol result",
     "Client sessions ended, by how they ended."},
    {Family::kSessionDuration, "postern_session_duration_seconds", Kind::kHistogram, "protocol",
     "How long client sessions lasted."},
    {Family::kBackendSessionsActive, "postern_backend_sessions_active", Kind::kGauge,
     "backend protocol", "Sessions and transactions that hold a leg to the backend now."},
    {Family::kBackendSessions, "postern_backend_sessions_total", Kind::kCounter,
     "backend protocol result", "Legs to the backend that ended, by how they ended."},
    {Family::kBackendUp, "postern_backend_up", Kind::kGauge, "backend protocol",
     "1 unless the endpoint is down."},
    {Family::kBackendDegraded, "postern_backend_degraded", Kind::kGauge, "backend protocol",
     "1 while the endpoint is degraded."},
    {Family::kBackendWeightRatio, "postern_backend_weight_ratio", Kind::kGauge, "backend protocol",
     "Weight in force over configured weight."},
    {Family::kBackendWeightFactor, "postern_backend_weight_factor_ratio", Kind::kGauge,
     "backend protocol factor", "What the weight is multiplied by, and why: 1 is no change."},
    {Family::kBackendAdminState, "postern_backend_admin_state", Kind::kGauge,
     "backend protocol state", "1 for the state that an operator has put the endpoint in."},
    {Family::kBackendPhaseDuration, "postern_backend_phase_duration_seconds", Kind::kHistogram,
     "backend protocol phase", "How long the backend took for each phase of live sessions."},
    {Family::kBackendFailures, "postern_backend_failures_total", Kind::kCounter,
     "backend protocol phase kind", "What went wrong with the backend, and where."},
    {Family::kRetries, "postern_retries_total", Kind::kCounter, "protocol reason",
     "Work that went on to another endpoint, by what the one before did."},
    {Family::kBackendQueueDepth, "postern_backend_queue_depth", Kind::kGauge, "backend",
     "Messages in the backend's queue, as read last; 0 before the first reading."},
    {Family::kBackendQueueReadTimestamp, "postern_backend_queue_read_timestamp_seconds",
     Kind::kGauge, "backend", "When that was; 0: never."},
    {Family::kBackendQueueTimeToHard, "postern_backend_queue_time_to_hard_seconds", Kind::kGauge,
     "backend", "Until the queue reaches `hard` if it goes on as now; +Inf: it does not grow."},
    {Family::kBackendQueueReadErrors, "postern_backend_queue_read_errors_total", Kind::kCounter,
     "backend", "Reads of the queue's source that failed or gave nonsense."},
    {Family::kChecks, "postern_checks_total", Kind::kCounter, "backend protocol result",
     "Checks of the endpoint that have ended."},
    {Family::kCheckDuration, "postern_check_duration_seconds", Kind::kHistogram, "backend protocol",
     "How long a check took, its goodbye not counted."},
    {Family::kCertificateNotAfter, "postern_certificate_not_after_timestamp_seconds", Kind::kGauge,
     "certificate backend protocol",
     "When the certificate expires: one of our own (certificate), or the one that a backend's "
     "endpoint shows (backend, protocol)."},
    {Family::kTlsHandshakes, "postern_tls_handshakes_total", Kind::kCounter,
     "side version group resumed result",
     "TLS handshakes with clients (front) and backends (back)."},
    {Family::kPlaintextSessions, "postern_plaintext_sessions_total", Kind::kCounter,
     "side protocol", "Sessions that were in clear to their end, by leg."},
    {Family::kAuthAttempts, "postern_auth_attempts_total", Kind::kCounter,
     "protocol mechanism result", "Logins tried."},
    {Family::kConnectionsRejected, "postern_connections_rejected_total", Kind::kCounter,
     "listener reason", "Connections closed before they were served."},
    {Family::kRouteDecisions, "postern_route_decisions_total", Kind::kCounter, "route rule pool",
     "Which rule decided; pool is a pool's or a backend's name, empty for a refusal or a directory "
     "that fails. Of a directory's answers, those in its table or map are there from the start."},
    {Family::kDirectoryLookups, "postern_directory_lookups_total", Kind::kCounter,
     "directory result",
     "Questions to a directory by how they were answered; miss: it knows nobody of that name; "
     "stale: its own answer has run out, but it fails."},
    {Family::kDirectoryLookupDuration, "postern_directory_lookup_duration_seconds",
     Kind::kHistogram, "directory", "From a question to its answer, remembered ones left out."},
    {Family::kCommandDuration, "postern_command_duration_seconds", Kind::kHistogram,
     "protocol command", "From a command to its final reply."},
    {Family::kSmtpTransactions, "postern_smtp_transactions_total", Kind::kCounter, "listener reply",
     "SMTP transactions by the class of the reply to the message; by LMTP one for each home."},
    {Family::kSmtpRecipients, "postern_smtp_recipients_total", Kind::kCounter, "listener result",
     "RCPT commands answered; deferred_other_home: the recipient lives elsewhere."},
    {Family::kSmtpReplays, "postern_smtp_replays_total", Kind::kCounter, "reason",
     "Transactions moved to another endpoint, by what the one before did."},
    {Family::kSmtpCopiesLost, "postern_smtp_copies_lost_total", Kind::kCounter, "reason",
     "Messages that went on, but could no longer move to another endpoint; too_long: longer than "
     "smtp.replay_limit; full: replay_memory_total and spool_total are used up, or too much waits "
     "for the disk; disk: the spool file failed, or did nothing for 10 s."},
    {Family::kSmtpSpoolBytes, "postern_smtp_spool_bytes", Kind::kGauge, "",
     "Bytes in spool files (smtp.spool_dir), of messages under way."},
    {Family::kSmtpBareNewlines, "postern_smtp_bare_newlines_total", Kind::kCounter, "listener",
     "Messages with a CR or LF that stands alone."},
    {Family::kDeliveryProbeDuration, "postern_delivery_probe_duration_seconds", Kind::kHistogram,
     "probe stage",
     "Stages of an end-to-end probe: submit (from connecting to the acceptance of the message), "
     "arrive (from there until it is found), roundtrip (both), cleanup (its deletion)."},
    {Family::kDeliveryProbes, "postern_delivery_probes_total", Kind::kCounter, "probe result",
     "End-to-end probes; failed: not accepted, not found in time, or found in the junk folder; "
     "late: found after it was counted as failed."},
    {Family::kBytes, "postern_bytes_total", Kind::kCounter, "listener side direction",
     "Bytes read (in) and written (out), inside TLS where there is TLS."},
    {Family::kWorkerSessions, "postern_worker_sessions", Kind::kGauge, "worker",
     "Client sessions open now, by worker."},
    {Family::kEventLoopLag, "postern_event_loop_lag_seconds", Kind::kGauge, "worker",
     "The longest that an event had to wait within the last second."},
    {Family::kSessionLogDropped, "postern_session_log_dropped_total", Kind::kCounter, "",
     "Lines of the session log lost: its reader was too slow, or the disk is full."},
    {Family::kProcessCpu, "process_cpu_seconds_total", Kind::kCounter, "",
     "User and system CPU time."},
    {Family::kProcessResidentMemory, "process_resident_memory_bytes", Kind::kGauge, "",
     "Resident memory."},
    {Family::kProcessOpenFds, "process_open_fds", Kind::kGauge, "", "Open file descriptors."},
    {Family::kProcessMaxFds, "process_max_fds", Kind::kGauge, "",
     "File descriptors that may be open."},
    {Family::kProcessStartTime, "process_start_time_seconds", Kind::kGauge, "",
     "When the process started."},
}};

constexpr bool IsInOrder() {
  for (int i = 0; i < kNumFamilies; ++i)
    if (static_cast<int>(kRows[static_cast<size_t>(i)].family) != i) return false;
  return true;
}
static_assert(IsInOrder(), "a row stands for the enumerator of its place");

constexpr double kFast[] = {.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30};
constexpr double kDeliveries[] = {.025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900};
constexpr double kSessions[] = {1, 10, 60, 300, 1800, 7200, 28800, 86400};

}  // namespace

std::span<const FamilyRow> Catalog() {
  return kRows;
}

const FamilyRow& Row(Family family) {
  return kRows[static_cast<size_t>(family)];
}

std::span<const double> Buckets(Family histogram) {
  POSTERN_CHECK(Row(histogram).kind == Kind::kHistogram);
  if (histogram == Family::kSessionDuration) return kSessions;
  if (histogram == Family::kDeliveryProbeDuration) return kDeliveries;
  return kFast;
}

std::string CatalogAsMarkdown() {
  std::string text =
      "# What Postern measures\n\n"
      "Made from `metrics/catalog.cc`; `/metrics` on the admin address, Prometheus text format "
      "0.0.4. Counters and gauges of\neverything configured exist from the start; histograms "
      "appear "
      "with their first observation.\n\n"
      "| name | kind | labels | meaning |\n|---|---|---|---|\n";
  constexpr std::string_view kKinds[] = {"counter", "gauge", "histogram"};
  for (const FamilyRow& row : kRows) {
    text += "| " + std::string(row.name) + " | ";
    text += kKinds[static_cast<size_t>(row.kind)];
    text += " | " + std::string(row.labels) + " | " + std::string(row.help) + " |\n";
  }
  text +=
      "\n# The session log\n\n"
      "One line for each session and each SMTP transaction, where `log.sessions` says, as JSON or "
      "logfmt (`log.format`). Keys: `time\nevent session transaction listener protocol client user "
      "tls_version tls_cipher tls_group backend why phases_ms bytes_in\nbytes_out commands result "
      "phase side`; transactions add `from to refused size reply queue_id`.\n\n"
      "- `event` is `session` or `transaction`; `session` is the same for both, 16 hex digits.\n"
      "- `transaction`: the number of the transaction within its session, from 1 (by LMTP to "
      "several "
      "homes: the same on the line of each); on the line of a session how many it had.\n"
      "- `bytes_in`, `bytes_out`, `commands`: from the client, to the client, commands of the "
      "client; "
      "those of a transaction are\n  counted from the end of the one before it (from the start of "
      "the session for the first).\n"
      "- `refused`: of `to`, by LMTP, those whose own answer to the message was no 250; `reply` is "
      "the first of these answers.\n"
      "- `phases_ms`: milliseconds of each phase with the backend. In logfmt each is a key of its "
      "own: `phases_ms.connect=1.250`.\n"
      "- `to`: the accepted recipients, a list; in logfmt one text with commas between them.\n"
      "- Where there is nothing to say the value is empty; `from` is `<>` for the empty sender. "
      "Text "
      "of peers is escaped as in JSON.\n"
      "- Lines that cannot be written at once are dropped and counted "
      "(`postern_session_log_dropped_total`).\n";
  return text;
}

}  // namespace postern::metrics
