// snapshot: one configuration with everything built from it: certificates, routes, endpoints, TLS
// contexts.
//
// Built aside, whole or not at all; then published to every worker as one pointer. Endpoint state,
// ticket keys and metric slots are not in it: they survive reloads.
// Owner:    the process (control
// thread); workers hold their own WorkerParts.
// Thread:   built on the control thread; const
// afterwards. WorkerParts is used by its worker alone.
// Tests:    test/integration/
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "conf/config.h"
#include "lb/balance/endpoint.h"
#include "lb/base/clock.h"
#include "lb/base/result.h"
#include "lb/daemon/directories.h"
#include "lb/session/session_env.h"
#include "metrics/recorder.h"

namespace postern::tls {
class CertificateStore;
class TicketKeys;
class TrustStores;
}  // namespace postern::tls

namespace postern::daemon {

using ListenerList = std::vector<std::shared_ptr<const session::ListenerSettings>>;

// What one worker needs of a snapshot; its TLS contexts are its own.
struct WorkerParts {
  std::shared_ptr<const session::Parts> parts;  // but for the directories: the worker makes them
  LoadedMaps maps;
  DirectoryTls directory_tls;
  ListenerList listeners;  // as Config::listeners
};

struct Snapshot {
  uint64_t generation = 0;
  base::WallTime loaded{};
  std::shared_ptr<const conf::Config> config;
  std::shared_ptr<const route::Router> router;
  std::shared_ptr<const route::UserKey> user_key;
  std::shared_ptr<const balance::EndpointTable> endpoints;
  std::shared_ptr<const tls::CertificateStore> certificates;  // null without certificates
  LoadedMaps maps;
  std::vector<WorkerParts> workers;
  WorkerParts control;  // the control thread's own: it explains, without listeners and back legs
  // The health thread's own: TLS contexts by EndpointId, and by backend (null: none needed); slots
  // as Config::backends.
  std::vector<std::shared_ptr<const io::TlsSettings>> health_tls;
  std::vector<std::shared_ptr<const io::TlsSettings>> queue_tls;
  // For listeners of our own, where a delivery probe goes through one; verifies nothing.
  std::shared_ptr<const io::TlsSettings> delivery_tls;
  std::vector<std::vector<metrics::CheckSlots>> check_slots;
  std::string shown;                  // the configuration as it may be shown
  std::vector<std::string> problems;  // for people: warnings of the configuration and of the build
};

struct SnapshotInputs {
  int num_workers = 1;
  balance::EndpointBook& endpoint_book;
  std::shared_ptr<tls::TicketKeys> ticket_keys;
  const base::Clock& clock;
  MapLoader& maps;
};

// Everything that can fail is done here, before anything is published. The slots of the metrics are
// filled by FillSlots, once it is sure that the snapshot will be used.
[[nodiscard]] base::Result<std::shared_ptr<Snapshot>> BuildSnapshot(
    std::shared_ptr<const conf::Config> config, const SnapshotInputs& inputs);

// Of it what somebody needs who only asks for ways (control), without anything that serving needs:
// no certificate, key or CA of the configuration is read, but for the CAs of directories.
[[nodiscard]] base::Result<std::shared_ptr<Snapshot>> BuildWays(
    std::shared_ptr<const conf::Config> config, const SnapshotInputs& inputs);

void FillSlots(Snapshot& snapshot, const metrics::Registry::Slots& slots);

// The listeners' settings with what the endpoints can do by now; the same objects where nothing has
// changed.
[[nodiscard]] ListenerList Announce(const Snapshot& snapshot, const ListenerList& listeners);

}  // namespace postern::daemon
