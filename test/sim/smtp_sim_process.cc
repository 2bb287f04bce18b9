// smtp_sim_process: sessions' host.
// SPDX-License-Identifier: Apache-2.0
#include "test/sim/smtp_sim_process.h"

#include <gtest/gtest.h>

#include <utility>

#include "lb/route/user_key.h"

namespace postern::test {
namespace {

class OpaqueTls final : public io::TlsSettings {};

}  // namespace

// Answers late, or never, or not in earnest.
struct SmtpSimProcess::Directory final : public io::Directory {
  explicit Directory(SmtpSimProcess& process) : process_(process) {}

  struct Waits final : io::Lookup {
    std::shared_ptr<Done> done;
  };

  std::optional<io::LookupAnswer> Ask(const io::LookupQuery& query, Done done,
                                      std::unique_ptr<io::Lookup>& pending) override {
    io::LookupAnswer answer;
    const char first = query.key.empty() ? 'n' : query.key.front();
    answer.kind = first == 'p' || first == 'q' ? io::LookupAnswer::Kind::kFound
                  : first == 'f'               ? io::LookupAnswer::Kind::kFailed
                                               : io::LookupAnswer::Kind::kUnknown;
    answer.value = first;
    Dice& dice = process_.dice_;
    if (dice.OneIn(2)) return answer;
    auto waits = std::make_unique<Waits>();
    waits->done = std::make_shared<Done>(std::move(done));
    process_.loop_.Schedule(dice.UpTo(std::chrono::milliseconds(dice.OneIn(10) ? 3000 : 30)),
                            [answer, waiting = std::weak_ptr(waits->done)] {
                              if (const auto still = waiting.lock()) (*still)(answer);
                            });
    pending = std::move(waits);
    return std::nullopt;
  }

  SmtpSimProcess& process_;
};

SmtpSimProcess::SmtpSimProcess(SmtpChoices& choices, SimLoop& loop, SimNet& net, SimSpool& disk,
                               Dice& dice, SmtpBooks& books, std::shared_ptr<Meters> meters)
    : choices_(choices),
      loop_(loop),
      net_(net),
      disk_(disk),
      dice_(dice),
      books_(books),
      meters_(std::move(meters)),
      picker_(0, dice.rng()),
      env_{loop, net, *this, dice.rng(), picker_, meters_->recorder, *this, *this, nullptr},
      idle_legs_(loop) {
  Load();
}

SmtpSimProcess::~SmtpSimProcess() = default;

// --- parts ---------------------------------------------------------------------------------------

void SmtpSimProcess::Load() {
  auto conf = std::make_shared<conf::Config>(choices_.config);
  const metrics::Registry::Slots slots = meters_->registry.Configure(*conf);
  auto parts = std::make_shared<session::Parts>();
  parts->config = conf;
  parts->router = std::make_shared<route::Router>(*conf);
  parts->user_key = std::make_shared<route::UserKey>(conf->users);
  parts->endpoints = std::make_shared<balance::EndpointTable>(*conf, book_);
  parts->endpoint_slots = slots.endpoints;
  parts->rule_slots = slots.rules;
  parts->directory_slots = slots.directories;
  parts->directories = {std::make_shared<Directory>(*this)};
  for (const balance::Endpoint& end : parts->endpoints->endpoints()) {
    parts->back_tls.push_back(
        end.conf->tls == conf::TlsMode::kNone ? nullptr : std::make_shared<OpaqueTls>());
    if (choices_.is_watched && end.state->facts() != nullptr) continue;
    auto facts = std::make_shared<balance::EndpointFacts>();
    facts->addresses = {*base::IpAddress::Parse(end.backend->host)};
    end.state->set_facts(std::move(facts));
  }
  auto its = std::make_shared<session::ListenerSettings>();
  its->conf = conf->listeners[0];
  its->hostname = conf->hostname;
  its->smtp = conf->smtp;
  its->slots = slots.listeners[0];
  its->tls = std::make_shared<OpaqueTls>();
  its->capabilities = {"PIPELINING", "SIZE 10240000", "8BITMIME", "ENHANCEDSTATUSCODES",
                       "CHUNKING"};
  for (const conf::Backend& backend : conf->backends)
    its->wants_peer_name |= backend.endpoints[0].client_address == conf::ClientAddress::kXclient;
  settings_ = its;
  env_.parts = std::move(parts);
  idle_legs_.CloseAll();
  books_.OnConfig(loop_.Now(), *conf);
  if (choices_.is_watched) StartMonitor(slots);
}

void SmtpSimProcess::StartMonitor(const metrics::Registry::Slots& slots) {
  if (!monitor_) {
    health::MonitorHooks hooks;
    hooks.on_news = [] {};
    hooks.on_down = [this](balance::EndpointState& state) { LeaveEndpoint(state); };
    monitor_.emplace(loop_, net_, *this, dice_.rng(), meters_->registry, std::move(hooks));
  }
  health::MonitorInputs inputs;
  inputs.config = env_.parts->config;
  inputs.endpoints = env_.parts->endpoints;
  inputs.back_tls = env_.parts->back_tls;
  inputs.queue_tls.resize(inputs.config->backends.size());
  inputs.slots = slots.checks;
  monitor_->Watch(std::move(inputs));
}

// --- sessions ------------------------------------------------------------------------------------

void SmtpSimProcess::Accept(const base::SocketAddress& client, std::unique_ptr<SimStream> stream) {
  session::ClientFacts facts;
  facts.session_id = ++last_session_;
  facts.client = client;
  facts.local = *base::SocketAddress::Parse("198.51.100.1:25");
  facts.accepted = loop_.Now();
  auto intake = std::make_unique<session::Intake>(loop_, meters_->recorder, *this, settings_, facts,
                                                  std::move(stream));
  session::Intake& its = *intake;
  intakes_.push_back(std::move(intake));
  if (session::Intake::IsNeeded(*settings_)) {
    its.Start();
  } else {
    IntakeReady(its);
  }
}

void SmtpSimProcess::IntakeReady(session::Intake& intake) {
  auto session =
      session::MakeSession(env_, intake.listener, intake.client, std::move(intake.stream));
  IntakeFailed(intake);
  session::Session& its = *session;
  sessions_.push_back(std::move(session));
  its.Start();
}

void SmtpSimProcess::IntakeFailed(session::Intake& intake) {
  loop_.Post([this, &intake] {
    std::erase_if(intakes_, [&](const auto& each) { return each.get() == &intake; });
  });
}

void SmtpSimProcess::Retire(session::Session& session) {
  loop_.Post([this, &session] {
    std::erase_if(sessions_, [&](const auto& each) { return each.get() == &session; });
  });
}

bool SmtpSimProcess::AuthBlocked(const base::IpAddress&, const std::string&) {
  return !choices_.is_quiet && dice_.OneIn(50);
}

bool SmtpSimProcess::TakeReplayMemory(size_t num_bytes) {
  if (replay_memory_ + num_bytes > choices_.replay_total) return false;
  replay_memory_ += num_bytes;
  return true;
}

void SmtpSimProcess::ReturnReplayMemory(size_t num_bytes) {
  EXPECT_GE(replay_memory_, num_bytes);
  replay_memory_ -= num_bytes;
}

std::string SmtpSimProcess::RecallRefusal(const std::string& key) {
  const auto known = refusals_.find(key);
  if (known == refusals_.end()) return "";
  std::string reply = std::move(known->second);
  refusals_.erase(known);
  return reply;
}

// --- names ---------------------------------------------------------------------------------------

void SmtpSimProcess::Resolve(const std::string& host,
                             std::function<void(const io::ResolvedName&)> done) {
  io::ResolvedName name;
  if (const auto address = base::IpAddress::Parse(host)) name.addresses = {*address};
  name.ttl = std::chrono::hours(1);
  loop_.Post([done = std::move(done), name] { done(name); });
}

void SmtpSimProcess::FindPeerName(const base::IpAddress&,
                                  std::function<void(const io::PeerName&)> done) {
  io::PeerName name;
  name.kind = static_cast<io::PeerName::Kind>(dice_.Below(3));
  if (name.kind == io::PeerName::Kind::kName) name.name = "client.example";
  loop_.Schedule(dice_.UpTo(std::chrono::milliseconds(dice_.OneIn(8) ? 2000 : 20)),
                 [done = std::move(done), name] { done(name); });
}

// --- an operator's hand, and fate ----------------------------------------------------------------

std::vector<session::Session*> SmtpSimProcess::Sessions() const {
  std::vector<session::Session*> all;
  for (const auto& each : sessions_) all.push_back(each.get());
  return all;
}

void SmtpSimProcess::Drain() {
  for (session::Session* one : Sessions()) one->BeginDrain();
}

void SmtpSimProcess::KillOne() {
  if (sessions_.empty()) return;
  sessions_[dice_.Below(sessions_.size())]->Kill(base::SessionResult::kKicked);
}

balance::EndpointState& SmtpSimProcess::SomeState() {
  const auto& all = env_.parts->endpoints->endpoints();
  return *all[dice_.Below(all.size())].state;
}

void SmtpSimProcess::SetSomeHealth() {
  balance::EndpointState& state = SomeState();
  state.health = static_cast<balance::Health>(dice_.Below(3));
  state.is_above_hard = dice_.OneIn(4);
  state.weight_ratio = static_cast<float>(dice_.rng().Unit());
  if (state.health == balance::Health::kDown) LeaveEndpoint(state);
}

void SmtpSimProcess::SetSomeAdmin() {
  SomeState().admin = static_cast<balance::AdminState>(dice_.Below(3));
}

void SmtpSimProcess::MakeAllReady() {
  for (const balance::Endpoint& end : env_.parts->endpoints->endpoints()) {
    end.state->admin = balance::AdminState::kReady;
    end.state->is_above_hard = false;
    if (!choices_.is_watched) end.state->health = balance::Health::kUp;
  }
}

void SmtpSimProcess::LeaveEndpoint(const balance::EndpointState& endpoint) {
  loop_.Post([this, &endpoint] {
    idle_legs_.LeaveEndpoint(endpoint);
    for (session::Session* one : Sessions()) one->LeaveEndpoint(endpoint);
  });
}

void SmtpSimProcess::CheckFree() const {
  EXPECT_EQ(num_sessions(), 0U) << "a session has not ended";
  EXPECT_EQ(replay_memory_, 0U);
  EXPECT_EQ(disk_.num_open, 0);
  EXPECT_EQ(pins_.size(), 0U);
  for (const balance::Endpoint& end : env_.parts->endpoints->endpoints())
    EXPECT_EQ(end.state->load[0].active.load(), 0U) << end.backend->name;
}

}  // namespace postern::test
