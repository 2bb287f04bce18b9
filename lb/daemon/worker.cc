// worker: accepts, counts, and owns sessions.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/worker.h"

#include <algorithm>
#include <utility>

#include "lb/base/check.h"
#include "lb/base/log.h"
#include "lb/net/socket_stream.h"

namespace postern::daemon {
namespace {

constexpr base::Duration kDrainTick = std::chrono::milliseconds(100);
// Session lines wait at most this long for company in one write.
constexpr base::Duration kFlushTick = std::chrono::milliseconds(50);

template <typename T>
void Link(T*& head, T& node) {
  node.previous_in_host = nullptr;
  node.next_in_host = head;
  if (head != nullptr) head->previous_in_host = &node;
  head = &node;
}

template <typename T>
void Unlink(T*& head, T& node) {
  if (node.next_in_host != nullptr) node.next_in_host->previous_in_host = node.previous_in_host;
  if (node.previous_in_host != nullptr) {
    node.previous_in_host->next_in_host = node.next_in_host;
  } else {
    head = node.next_in_host;
  }
  node.previous_in_host = node.next_in_host = nullptr;
}

}  // namespace

Worker::Worker(int index, Shared& shared, LdapHelper& ldap_helper, metrics::Registry& registry,
               metrics::SessionLog& log)
    : index_(index),
      shared_(shared),
      recorder_(registry),
      log_(log, [this] { FlushSoon(); }),
      dialer_(loop_),
      ldap_dialer_(loop_, ldap_helper),
      resolver_(loop_),
      spool_(shared.spool, loop_),
      rng_(base::SystemSeed()),
      picker_(index, rng_),
      env_{loop_, dialer_, resolver_, rng_, picker_, recorder_, log_, *this, nullptr},
      directories_(loop_, dialer_, ldap_dialer_, resolver_),
      idle_legs_(loop_),
      drain_timer_(loop_.timers(), io::Timer::Invoke<&Worker::DrainTick, Worker>, this),
      flush_timer_(loop_.timers(), io::Timer::Invoke<&Worker::FlushTick, Worker>, this) {
  recorder_.EventLoopLag(index_, base::Duration::zero());  // its gauges exist from now on
}

Worker::~Worker() {
  POSTERN_CHECK(!thread_.joinable());
}

void Worker::Start() {
  thread_ = std::thread([this] {
    loop_.Run();
    log_.Flush();
  });
}

void Worker::Apply(WorkerParts parts, std::vector<ListenSocket> sockets) {
  // std::function wants copyable tasks, and descriptors are not.
  auto shared_sockets = std::make_shared<std::vector<ListenSocket>>(std::move(sockets));
  loop_.Post([this, parts = std::move(parts), shared_sockets] {
    directories_.Use(parts.parts->config, parts.maps, parts.directory_tls);
    auto mine = std::make_shared<session::Parts>(*parts.parts);
    mine->directories = directories_.all();
    env_.parts = std::move(mine);
    const conf::Smtp& smtp = env_.parts->config->smtp;
    spool_.Configure(smtp.spool_dir, smtp.spool_total);
    idle_legs_.CloseAll();
    std::map<std::string, Listening> wanted;
    for (ListenSocket& socket : *shared_sockets) {
      Listening& listening = wanted[socket.key];
      if (const auto known = listening_.find(socket.key); known != listening_.end()) {
        listening.socket = std::move(known->second.socket);
        listening_.erase(known);
      }
      listening.settings = parts.listeners[socket.listener];
    }
    // Those that are left are no longer wanted. What the kernel has accepted is served under the
    // old settings.
    for (auto& [key, listening] : listening_) {
      listening.socket->DrainAccepts();
      listening.socket->Close();
      closed_listeners_.push_back(std::move(listening.socket));
    }
    listening_ = std::move(wanted);
    for (ListenSocket& socket : *shared_sockets) {
      Listening& listening = listening_[socket.key];
      if (listening.socket != nullptr || is_draining_) continue;
      listening.socket = std::make_unique<net::TcpListener>(
          loop_, std::move(socket.fd),
          [this, key = socket.key](net::OwnedFd fd, const base::SocketAddress& peer) {
            OnAccept(key, std::move(fd), peer);
          });
      listening.socket->SetOnShortage([](bool is_short) {
        if (is_short) {
          base::log::Error("accept_paused", {{"why", "out of file descriptors or memory"}});
        } else {
          base::log::Info("accept_resumed", {});
        }
      });
    }
    PostSweep();
  });
}

void Worker::ReplaceMap(size_t directory, LoadedMap loaded) {
  loop_.Post([this, directory, loaded = std::move(loaded)] {
    directories_.ReplaceMap(directory, loaded);
  });
}

void Worker::Announce(ListenerList listeners) {
  loop_.Post([this, listeners = std::move(listeners)] {
    for (auto& [key, listening] : listening_) {
      const uint32_t index = listening.settings->index;
      if (index < listeners.size() && listeners[index]->conf.name == listening.settings->conf.name)
        listening.settings = listeners[index];
    }
  });
}

void Worker::OnAccept(const std::string& key, net::OwnedFd fd, const base::SocketAddress& peer) {
  const auto found = listening_.find(key);
  if (found == listening_.end()) return;
  const std::shared_ptr<const session::ListenerSettings> listener = found->second.settings;
  const auto reject = [&](metrics::RejectReason reason, std::string_view words) {
    recorder_.Rejected(listener->slots, reason);
    base::log::Info("connection_rejected", {{"listener", listener->conf.name},
                                            {"client", peer.ToString()},
                                            {"reason", std::string(words)}});
  };
  if (shared_.sessions.load(std::memory_order_relaxed) >= listener->conf.limits.sessions)
    return reject(metrics::RejectReason::kLimitSessions, "limit_sessions");
  const bool has_proxy = !listener->conf.accept_proxy_from.empty();
  if (has_proxy && !base::AnyContains(listener->conf.accept_proxy_from, peer.ip))
    return reject(metrics::RejectReason::kProxyHeader, "proxy_header");

  auto stream = std::make_unique<net::SocketStream>(loop_, std::move(fd), peer, nullptr);
  session::ClientFacts client;
  client.session_id = shared_.next_session.fetch_add(1, std::memory_order_relaxed);
  client.client = peer;
  client.local = found->second.socket->address();
  if (client.local.ip.is_unspecified()) client.local = stream->local_address();
  client.accepted = loop_.Now();
  SessionCountChanged(+1);
  if (session::Intake::IsNeeded(*listener)) {
    // The limit per address is for the client's own address, which a PROXY header has yet to tell.
    auto* intake =
        new session::Intake(env_.loop, env_.recorder, *this, listener, client, std::move(stream));
    Link(intakes_, *intake);
    intake->Start();
    return;
  }
  Begin(listener, client, std::move(stream));
}

void Worker::Begin(std::shared_ptr<const session::ListenerSettings> listener,
                   const session::ClientFacts& client, std::unique_ptr<io::Stream> stream) {
  const conf::Limits& its = listener->conf.limits;
  const uint64_t max = base::AnyContains(its.exempt, client.client.ip)
                           ? UINT64_MAX
                           : its.SessionsPerAddress(listener->conf.protocol);
  if (shared_.addresses.Enter(client.client.ip, max) == AddressTable::Admission::kOverLimit) {
    recorder_.Rejected(listener->slots, metrics::RejectReason::kLimitAddress);
    base::log::Info("connection_rejected", {{"listener", listener->conf.name},
                                            {"client", client.client.ToString()},
                                            {"reason", "limit_address"}});
    stream->Write(session::RefusalLine(listener->conf.protocol));
    stream->CloseGently();
    SessionCountChanged(-1);
    return;
  }
  std::unique_ptr<session::Session> session =
      session::MakeSession(env_, std::move(listener), client, std::move(stream));
  session->client_ip = client.client.ip;
  session::Session* raw = session.release();
  Link(sessions_, *raw);
  raw->Start();
}

void Worker::IntakeReady(session::Intake& intake) {
  auto stream = std::move(intake.stream);
  RemoveIntake(intake);
  Begin(intake.listener, intake.client, std::move(stream));
}

void Worker::IntakeFailed(session::Intake& intake) {
  RemoveIntake(intake);
  SessionCountChanged(-1);
}

void Worker::RemoveIntake(session::Intake& intake) {
  Unlink(intakes_, intake);
  retired_intakes_.emplace_back(&intake);
  PostSweep();
}

void Worker::Retire(session::Session& session) {
  Unlink(sessions_, session);
  retired_.emplace_back(&session);
  shared_.addresses.Leave(session.client_ip);
  SessionCountChanged(-1);
  PostSweep();
}

void Worker::PostSweep() {
  if (is_sweep_posted_) return;
  is_sweep_posted_ = true;
  loop_.Post([this] {
    is_sweep_posted_ = false;
    retired_.clear();
    retired_intakes_.clear();
    closed_listeners_.clear();
    if (is_stopping_ && sessions_ == nullptr && intakes_ == nullptr) loop_.Stop();
  });
}

// A session may be long, but what it has done shows at once.
void Worker::FlushSoon() {
  flush_timer_.ArmAt(loop_.Now() + kFlushTick);
}

void Worker::FlushTick() {
  log_.Flush();
}

void Worker::SessionCountChanged(int64_t by) {
  num_sessions_.store(num_sessions_.load(std::memory_order_relaxed) + static_cast<uint64_t>(by),
                      std::memory_order_relaxed);
  shared_.sessions.fetch_add(static_cast<uint64_t>(by), std::memory_order_relaxed);
}

void Worker::BeginDrain(base::Duration spread) {
  loop_.Post([this, spread] {
    if (is_draining_) return;
    is_draining_ = true;
    idle_legs_.Stop();
    for (auto& [key, listening] : listening_) {
      listening.socket->DrainAccepts();
      listening.socket->Close();
      closed_listeners_.push_back(std::move(listening.socket));
    }
    listening_.clear();
    PostSweep();
    drain_end_ = loop_.Now() + spread;
    DrainTick();
  });
}

// Asks a share of the sessions that were not asked yet, so that all have been by drain_end_.
void Worker::DrainTick() {
  std::vector<session::Session*> waiting;
  for (session::Session* s = sessions_; s != nullptr; s = s->next_in_host)
    if (!s->is_drain_begun) waiting.push_back(s);
  if (waiting.empty() && intakes_ == nullptr) return;
  const base::Duration left = std::max(drain_end_ - loop_.Now(), base::Duration::zero());
  const auto ticks = static_cast<size_t>(left / kDrainTick) + 1;
  const size_t share = (waiting.size() + ticks - 1) / ticks;
  for (size_t i = 0; i < share; ++i) {
    waiting[i]->is_drain_begun = true;
    waiting[i]->BeginDrain();
  }
  drain_timer_.ArmAt(loop_.Now() + kDrainTick);
}

void Worker::LeaveEndpoint(const balance::EndpointState& endpoint) {
  loop_.Post([this, &endpoint] {
    idle_legs_.LeaveEndpoint(endpoint);
    // One that ends meanwhile is deleted later.
    std::vector<session::Session*> all;
    for (session::Session* s = sessions_; s != nullptr; s = s->next_in_host) all.push_back(s);
    for (session::Session* s : all) s->LeaveEndpoint(endpoint);
  });
}

void Worker::ReportLag() {
  loop_.Post([this] { recorder_.EventLoopLag(index_, loop_.TakeLag()); });
}

void Worker::Stop() {
  loop_.Post([this] { StopNow(); });
}

void Worker::StopNow() {
  is_stopping_ = true;
  is_draining_ = true;
  idle_legs_.Stop();
  drain_timer_.Cancel();
  for (auto& [key, listening] : listening_) {
    listening.socket->Close();
    closed_listeners_.push_back(std::move(listening.socket));
  }
  listening_.clear();
  while (sessions_ != nullptr) {
    session::Session* first = sessions_;
    first->Kill(base::SessionResult::kShutdown);
    POSTERN_CHECK(sessions_ != first);  // Kill retires
  }
  while (intakes_ != nullptr) intakes_->Kill();
  PostSweep();
}

void Worker::Join() {
  if (thread_.joinable()) thread_.join();
}

bool Worker::AuthBlocked(const base::IpAddress& client, const std::string& user) {
  return shared_.addresses.IsBlocked(client, user, limits(), loop_.Now());
}

void Worker::AuthFailed(const base::IpAddress& client, const std::string& user) {
  shared_.addresses.AuthFailed(client, user, limits(), loop_.Now());
}

void Worker::AuthSucceeded(const base::IpAddress& client, const std::string& user) {
  shared_.addresses.AuthSucceeded(client, user);
}

size_t Worker::HighWater(size_t wanted_bytes) const {
  // Each worker has its share of limits.buffers_total. With that used up a leg holds what it holds,
  // and takes no more before all of it is gone.
  const uint64_t share = limits().buffers_total / shared_.num_workers;
  return loop_.unsent_bytes() < share ? wanted_bytes : 0;
}

bool Worker::TakeReplayMemory(size_t num_bytes) {
  const uint64_t before = shared_.replay_memory.fetch_add(num_bytes, std::memory_order_relaxed);
  if (before + num_bytes <= env_.parts->config->smtp.replay_memory_total) return true;
  shared_.replay_memory.fetch_sub(num_bytes, std::memory_order_relaxed);
  return false;
}

void Worker::ReturnReplayMemory(size_t num_bytes) {
  shared_.replay_memory.fetch_sub(num_bytes, std::memory_order_relaxed);
}

void Worker::RememberRefusal(const std::string& key, std::string_view reply) {
  shared_.refusals.Remember(key, reply, loop_.Now());
}

std::string Worker::RecallRefusal(const std::string& key) {
  return shared_.refusals.Recall(key, loop_.Now());
}

void Worker::LearnedCapabilities(const balance::Endpoint& endpoint,
                                 std::vector<std::string> capabilities) {
  if (shared_.learned) shared_.learned(endpoint.state, std::move(capabilities));
}

}  // namespace postern::daemon
