// accounting: what is counted and written down of one session of IMAP, POP3 or tcp.
// SPDX-License-Identifier: Apache-2.0
#include "lb/session/accounting.h"

#include <utility>

namespace postern::session {
namespace {

using base::Phase;

constexpr std::array kKeptPhases = {Phase::kConnect, Phase::kTls, Phase::kGreeting, Phase::kHello,
                                    Phase::kLogin};

}  // namespace

void Accounting::Bytes(base::Side side, metrics::Direction direction, size_t num_bytes) {
  if (side == base::Side::kFront)
    (direction == metrics::Direction::kIn ? bytes_in_ : bytes_out_) += num_bytes;
  env_.recorder.Bytes(listener_.slots, side, direction, num_bytes);
}

void Accounting::Relayed(base::Side from, size_t num_bytes) {
  Bytes(from, metrics::Direction::kIn, num_bytes);
  Bytes(from == base::Side::kFront ? base::Side::kBack : base::Side::kFront,
        metrics::Direction::kOut, num_bytes);
}

void Accounting::LegStarted(const balance::Endpoint& endpoint,
                            const metrics::EndpointSlots& slots) {
  state_ = endpoint.state;
  slots_ = slots;
  has_leg_ = true;
  phases_ms_.fill(-1);
  env_.picker.Started(*endpoint.state);
  env_.recorder.BackendSessionStarted(slots_);
}

void Accounting::PhaseDone(Phase phase, base::Duration duration) {
  for (size_t i = 0; i < kNumKept; ++i) {
    if (kKeptPhases[i] != phase) continue;
    if (phases_ms_[i] < 0) phases_ms_[i] = 0;
    phases_ms_[i] += static_cast<float>(base::Seconds(duration) * 1000);
  }
}

void Accounting::LoggedIn() {
  for (size_t i = 0; i < kNumKept; ++i) {
    if (phases_ms_[i] < 0) continue;
    const auto micros = static_cast<int64_t>(phases_ms_[i] * 1000);
    state_->CountPhase(env_.picker.worker(), kKeptPhases[i], std::chrono::microseconds(micros));
  }
}

void Accounting::LegFailed(Phase phase, base::FaultKind kind) {
  env_.recorder.BackendFailure(slots_, phase, kind);
}

void Accounting::FlushPhases() {
  for (size_t i = 0; i < kNumKept; ++i) {
    if (phases_ms_[i] < 0) continue;
    const auto micros = static_cast<int64_t>(phases_ms_[i] * 1000);
    env_.recorder.BackendPhase(slots_, kKeptPhases[i], std::chrono::microseconds(micros));
  }
}

void Accounting::LegEnded(base::SessionResult result) {
  if (!std::exchange(has_leg_, false)) return;
  env_.picker.Ended(*state_);
  if (result == base::SessionResult::kBackendLost) state_->WantCheck();
  FlushPhases();
  env_.recorder.BackendSessionEnded(slots_, result);
}

void Accounting::Finished(const ClientFacts& client, const io::Stream& front, uint64_t num_commands,
                          base::EndCause cause) {
  LegEnded(cause.result);
  const io::TlsFacts* tls = front.tls_facts();
  // What is passed on unopened is TLS all the same.
  if (tls == nullptr && listener_.conf.tls != conf::TlsMode::kPassthrough)
    env_.recorder.PlaintextSession(base::Side::kFront, listener_.conf.protocol);
  env_.recorder.SessionEnded(listener_.slots, cause.result, env_.loop.Now() - client.accepted);

  metrics::SessionAccount account;
  account.time = env_.loop.WallNow();
  account.session = client.session_id;
  account.listener = listener_.conf.name;
  account.protocol = listener_.conf.protocol;
  account.client = client.client;
  account.user = user;
  if (tls != nullptr) {
    account.tls_version = tls->version;
    account.tls_cipher = tls->cipher;
    account.tls_group = tls->group;
  }
  account.backend = backend();
  account.bytes_in = bytes_in_;
  account.bytes_out = bytes_out_;
  account.commands = num_commands;
  for (size_t i = 0; i < kNumKept; ++i)
    account.phases_ms[static_cast<size_t>(kKeptPhases[i])] = static_cast<double>(phases_ms_[i]);
  account.cause = std::move(cause);
  env_.accounts.OnSession(account);
}

}  // namespace postern::session
