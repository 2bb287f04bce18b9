// snapshot: builds everything that a configuration needs, or says what does not work.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/snapshot.h"

#include <algorithm>
#include <map>
#include <utility>

#include "health/queue_monitor.h"
#include "lb/base/url.h"
#include "lb/daemon/announce.h"
#include "lb/tls/certificate_store.h"
#include "lb/tls/ticket_keys.h"
#include "lb/tls/tls_context.h"
#include "lb/tls/tls_library.h"

namespace postern::daemon {
namespace {

using TlsPointer = std::shared_ptr<const io::TlsSettings>;

base::Result<TlsPointer> BuildClientTls(const conf::Config& config, const std::string& whose,
                                        const conf::Verify& verify, const std::string& host,
                                        const SnapshotInputs& inputs,
                                        tls::TrustStores& trust_stores, tls::SessionReuse reuse) {
  std::shared_ptr<const tls::TrustStore> trust;
  if (!verify.off) {
    auto loaded = trust_stores.Get(verify.ca);
    if (!loaded) return base::Error{whose + ": " + loaded.error()};
    trust = std::move(loaded).value();
  }
  auto built =
      tls::TlsClientContext::Build(config.tls, verify, host, std::move(trust), inputs.clock, reuse);
  if (!built) return base::Error{whose + ": " + built.error()};
  return TlsPointer(std::move(built).value());
}

// TLS contexts of one worker: listeners of one protocol share one, and so do endpoints that are
// verified alike.
class ContextCache {
 public:
  ContextCache(const conf::Config& config, const SnapshotInputs& inputs,
               std::shared_ptr<const tls::CertificateStore> certificates,
               tls::TrustStores& trust_stores)
      : config_(config),
        inputs_(inputs),
        certificates_(std::move(certificates)),
        trust_stores_(trust_stores) {}

  base::Result<TlsPointer> ForListener(conf::Protocol protocol) {
    TlsPointer& cached = servers_[protocol];
    if (cached == nullptr) {
      auto built =
          tls::TlsServerContext::Build(config_.tls, certificates_, inputs_.ticket_keys, protocol);
      if (!built) return base::Error{built.error()};
      cached = std::move(built).value();
    }
    return cached;
  }

  base::Result<TlsPointer> ForEndpoint(const conf::Backend& backend) {
    const conf::Verify& verify = backend.verify;
    TlsPointer& cached = clients_[{verify.off ? "off" : "on", backend.host, verify.name, verify.ca,
                                   verify.cert, verify.key}];
    if (cached == nullptr) {
      auto built = BuildClientTls(config_, "backend " + backend.name, verify, backend.host, inputs_,
                                  trust_stores_, tls::SessionReuse::kYes);
      if (!built) return base::Error{built.error()};
      cached = std::move(built).value();
    }
    return cached;
  }
  // Null: the URL is in clear, or of a kind that Postern does not speak to itself.
  base::Result<TlsPointer> ForDirectory(const conf::Directory& directory, const std::string& url) {
    const auto parsed = base::ParseHttpUrl(url);
    if (!parsed || !parsed->is_https) return TlsPointer();
    conf::Verify verify;
    verify.ca = directory.ca;
    return BuildClientTls(config_, "directory " + directory.name, verify, parsed->host, inputs_,
                          trust_stores_, tls::SessionReuse::kYes);
  }

 private:
  const conf::Config& config_;
  const SnapshotInputs& inputs_;
  std::shared_ptr<const tls::CertificateStore> certificates_;
  tls::TrustStores& trust_stores_;
  std::map<conf::Protocol, TlsPointer> servers_;
  std::map<std::array<std::string, 6>, TlsPointer> clients_;
};

bool HasTls(conf::TlsMode mode) {
  return mode == conf::TlsMode::kStartTls || mode == conf::TlsMode::kImplicit;
}

// What whoever asks the directories needs. back_tls: as Parts has it.
base::Result<WorkerParts> BuildParts(const Snapshot& snapshot, ContextCache& contexts,
                                     std::vector<TlsPointer> back_tls) {
  auto parts = std::make_shared<session::Parts>();
  parts->config = snapshot.config;
  parts->router = snapshot.router;
  parts->user_key = snapshot.user_key;
  parts->endpoints = snapshot.endpoints;
  parts->back_tls = std::move(back_tls);
  WorkerParts built;
  built.parts = std::move(parts);
  built.maps = snapshot.maps;
  for (const conf::Directory& directory : snapshot.config->directories) {
    std::vector<TlsPointer>& its = built.directory_tls.emplace_back();
    for (const std::string& url : directory.urls) {
      auto context = contexts.ForDirectory(directory, url);
      if (!context) return base::Error{context.error()};
      its.push_back(std::move(context).value());
    }
  }
  return built;
}

base::Result<WorkerParts> BuildWorker(const Snapshot& snapshot, const SnapshotInputs& inputs,
                                      tls::TrustStores& trust_stores) {
  const conf::Config& config = *snapshot.config;
  ContextCache contexts(config, inputs, snapshot.certificates, trust_stores);
  std::vector<TlsPointer> back_tls;
  for (const balance::Endpoint& endpoint : snapshot.endpoints->endpoints()) {
    TlsPointer tls;
    if (HasTls(endpoint.conf->tls)) {
      auto context = contexts.ForEndpoint(*endpoint.backend);
      if (!context) return base::Error{context.error()};
      tls = std::move(context).value();
    }
    back_tls.push_back(std::move(tls));
  }
  auto built = BuildParts(snapshot, contexts, std::move(back_tls));
  if (!built) return built;
  WorkerParts worker = std::move(built).value();
  for (uint32_t i = 0; i < config.listeners.size(); ++i) {
    auto listener = std::make_shared<session::ListenerSettings>();
    listener->conf = config.listeners[i];
    listener->hostname = config.hostname;
    listener->smtp = config.smtp;
    listener->index = i;
    if (HasTls(listener->conf.tls)) {
      auto context = contexts.ForListener(listener->conf.protocol);
      if (!context) return base::Error{"listener " + listener->conf.name + ": " + context.error()};
      listener->tls = std::move(context).value();
    }
    worker.listeners.push_back(std::move(listener));
  }
  return worker;
}

// Of the health thread: a context for each endpoint, as each remembers the certificate that it saw
// last, and every check is to see one. Backends' queue sources have one too where it is needed.
base::Result<bool> BuildHealthTls(Snapshot& snapshot, const SnapshotInputs& inputs,
                                  tls::TrustStores& trust_stores) {
  const conf::Config& config = *snapshot.config;
  for (const balance::Endpoint& endpoint : snapshot.endpoints->endpoints()) {
    const conf::Backend& backend = *endpoint.backend;
    TlsPointer tls;
    if (HasTls(endpoint.conf->tls)) {
      auto built = BuildClientTls(config, "backend " + backend.name, backend.verify, backend.host,
                                  inputs, trust_stores, tls::SessionReuse::kNo);
      if (!built) return base::Error{built.error()};
      tls = std::move(built).value();
    }
    snapshot.health_tls.push_back(std::move(tls));
  }
  for (const conf::Backend& backend : config.backends) {
    TlsPointer tls;
    if (const auto wanted = health::QueueTlsOf(backend)) {
      auto built = BuildClientTls(config, "backend " + backend.name, wanted->verify, wanted->host,
                                  inputs, trust_stores, tls::SessionReuse::kYes);
      if (!built) return base::Error{built.error()};
      tls = std::move(built).value();
    }
    snapshot.queue_tls.push_back(std::move(tls));
  }
  if (std::any_of(config.probes.begin(), config.probes.end(),
                  [](const conf::Probe& probe) { return !probe.send_listener.empty(); })) {
    conf::Verify verify;
    verify.off = true;
    auto built = BuildClientTls(config, "probes", verify, config.hostname, inputs, trust_stores,
                                tls::SessionReuse::kNo);
    if (!built) return base::Error{built.error()};
    snapshot.delivery_tls = std::move(built).value();
  }
  return true;
}

void CollectProblems(Snapshot& snapshot) {
  if (!tls::IsLibraryCurrent())
    snapshot.problems.push_back("TLS library is " + tls::LibraryName() +
                                ": for production build with a current BoringSSL "
                                "(-DBORINGSSL_ROOT=...)");
}

// Rules, names, endpoints and maps.
base::Result<std::shared_ptr<Snapshot>> BeginSnapshot(std::shared_ptr<const conf::Config> config,
                                                      const SnapshotInputs& inputs) {
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->config = std::move(config);
  snapshot->loaded = inputs.clock.WallNow();
  snapshot->router = std::make_shared<route::Router>(*snapshot->config);
  snapshot->user_key = std::make_shared<route::UserKey>(snapshot->config->users);
  snapshot->endpoints =
      std::make_shared<balance::EndpointTable>(*snapshot->config, inputs.endpoint_book);
  auto maps = inputs.maps.Take(*snapshot->config, *snapshot->user_key);
  if (!maps) return base::Error{maps.error()};
  snapshot->maps = std::move(maps).value();
  return snapshot;
}

base::Result<bool> BuildControl(Snapshot& snapshot, const SnapshotInputs& inputs,
                                tls::TrustStores& trust_stores) {
  ContextCache contexts(*snapshot.config, inputs, snapshot.certificates, trust_stores);
  auto control = BuildParts(snapshot, contexts, {});
  if (!control) return base::Error{control.error()};
  snapshot.control = std::move(control).value();
  return true;
}

}  // namespace

base::Result<std::shared_ptr<Snapshot>> BuildWays(std::shared_ptr<const conf::Config> config,
                                                  const SnapshotInputs& inputs) {
  auto begun = BeginSnapshot(std::move(config), inputs);
  if (!begun) return begun;
  tls::TrustStores trust_stores;
  if (const auto control = BuildControl(*begun.value(), inputs, trust_stores); !control)
    return base::Error{control.error()};
  return begun;
}

base::Result<std::shared_ptr<Snapshot>> BuildSnapshot(std::shared_ptr<const conf::Config> config,
                                                      const SnapshotInputs& inputs) {
  auto begun = BeginSnapshot(std::move(config), inputs);
  if (!begun) return begun;
  std::shared_ptr<Snapshot> snapshot = std::move(begun).value();
  if (!snapshot->config->tls.certificates.empty()) {
    auto loaded = tls::CertificateStore::Load(snapshot->config->tls.certificates);
    if (!loaded) return base::Error{loaded.error()};
    snapshot->certificates = std::move(loaded).value();
  }
  tls::TrustStores trust_stores;
  for (int i = 0; i < inputs.num_workers; ++i) {
    auto worker = BuildWorker(*snapshot, inputs, trust_stores);
    if (!worker) return base::Error{worker.error()};
    snapshot->workers.push_back(std::move(worker).value());
  }
  if (const auto control = BuildControl(*snapshot, inputs, trust_stores); !control)
    return base::Error{control.error()};
  if (const auto health = BuildHealthTls(*snapshot, inputs, trust_stores); !health)
    return base::Error{health.error()};
  CollectProblems(*snapshot);
  return snapshot;
}

void FillSlots(Snapshot& snapshot, const metrics::Registry::Slots& slots) {
  snapshot.check_slots = slots.checks;
  const auto fill = [&slots](WorkerParts& thread) {
    auto parts = std::make_shared<session::Parts>(*thread.parts);
    parts->endpoint_slots = slots.endpoints;
    parts->rule_slots = slots.rules;
    parts->directory_slots = slots.directories;
    thread.parts = std::move(parts);
  };
  fill(snapshot.control);
  for (WorkerParts& worker : snapshot.workers) {
    fill(worker);
    for (auto& listener : worker.listeners) {
      auto filled = std::make_shared<session::ListenerSettings>(*listener);
      filled->slots = slots.listeners[filled->index];
      listener = std::move(filled);
    }
  }
}

ListenerList Announce(const Snapshot& snapshot, const ListenerList& listeners) {
  ListenerList announced;
  const auto answers = NamesAnsweredBy(*snapshot.config, snapshot.maps);
  for (const auto& listener : listeners) {
    const conf::Route* route = snapshot.config->FindRoute(listener->conf.route);
    std::vector<const balance::Endpoint*> eligible;
    if (route != nullptr)
      eligible = snapshot.endpoints->Eligible(*route, listener->conf.protocol, answers);
    Announcement news = AnnouncementOf(listener->conf, eligible);
    const bool wants_peer_name =
        std::any_of(eligible.begin(), eligible.end(), [](const balance::Endpoint* endpoint) {
          return endpoint->conf->client_address == conf::ClientAddress::kXclient;
        });
    if (news.capabilities == listener->capabilities &&
        wants_peer_name == listener->wants_peer_name &&
        news.offers_xoauth2 == listener->offers_xoauth2 &&
        news.offers_oauthbearer == listener->offers_oauthbearer) {
      announced.push_back(listener);
      continue;
    }
    auto changed = std::make_shared<session::ListenerSettings>(*listener);
    changed->capabilities = std::move(news.capabilities);
    changed->offers_xoauth2 = news.offers_xoauth2;
    changed->offers_oauthbearer = news.offers_oauthbearer;
    changed->wants_peer_name = wants_peer_name;
    announced.push_back(std::move(changed));
  }
  return announced;
}

}  // namespace postern::daemon
