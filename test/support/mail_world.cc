// mail_world: everything around a MailSession, in memory.
// SPDX-License-Identifier: Apache-2.0
#include "test/support/mail_world.h"

#include <gtest/gtest.h>

#include <utility>

namespace postern::test {

using io::Stream;

namespace {

class OpaqueTls final : public io::TlsSettings {};

base::SocketAddress AddressOf(int backend) {
  return *base::SocketAddress::Parse("10.0.0." + std::to_string(backend) + ":143");
}

}  // namespace

class MailWorld::ClientEar final : public Stream::Observer {
 public:
  explicit ClientEar(MailWorld& world) : world_(world) {}

 private:
  void OnStream(Stream& stream, Stream::Event event) override {
    if (event == Stream::Event::kReadable) {
      world_.received_ += stream.Input();
      stream.Consume(stream.Input().size());
    } else if (event == Stream::Event::kEnd) {
      world_.client_end_ = stream.end();
    }
  }
  MailWorld& world_;
};

MailWorld::MailWorld(conf::Protocol protocol, uint64_t seed, std::shared_ptr<Meters> meters)
    : rng(seed),
      net(loop, rng),
      meters_(meters != nullptr ? std::move(meters) : std::make_shared<Meters>()),
      picker_(0, rng),
      book_(1) {
  config.hostname = "mail.example";
  conf::Listener& its = config.listeners.emplace_back();
  its.name = "l";
  its.protocol = protocol;
  its.route = "r";
  for (int i = 1; i <= 2; ++i) {
    conf::Backend& backend = config.backends.emplace_back();
    backend.name = "b" + std::to_string(i);
    backend.host = AddressOf(i).ip.ToString();
    conf::Endpoint& end = backend.endpoints.emplace_back();
    end.protocol = protocol;
    end.port = 143;
  }
  conf::Pool& pool = config.pools.emplace_back();
  pool.name = "p";
  pool.backends = {"b1", "b2"};
  pool.balance = conf::Balance::kFirst;
  pool.storage = conf::Storage::kShared;
  conf::Route& route = config.routes.emplace_back();
  route.name = "r";
  conf::Rule& nobody = route.rules.emplace_back();
  nobody.name = "nobody";
  nobody.users = {"nobody@*", "nobody"};
  nobody.action = conf::Rule::Reject{""};
  conf::Rule& later = route.rules.emplace_back();
  later.name = "later";
  later.users = {"later"};
  later.action = conf::Rule::TempFail{""};
  conf::Rule& all = route.rules.emplace_back();
  all.name = "all";
  all.action = conf::Rule::ToPool{"p"};
  b1 = std::make_unique<ScriptedBackend>(loop, net, AddressOf(1), protocol, "b1");
  b2 = std::make_unique<ScriptedBackend>(loop, net, AddressOf(2), protocol, "b2");
}

MailWorld::~MailWorld() {
  // Whatever a test has done: the session ends once, is accounted once, and holds nothing.
  if (env_ && client_ != nullptr) {
    client_->Close();
    // Longer than any timeout: a connection may hang without a word.
    loop.RunFor(std::chrono::minutes(45));
    EXPECT_EQ(session, nullptr) << "the session has not ended";
    EXPECT_EQ(num_retired, 1);
    EXPECT_EQ(accounts.size(), 1U);
    const std::string protocol =
        "\",protocol=\"" + std::string(conf::Name(listener().protocol)) + "\"}";
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(state(i).load[0].active.load(), 0U);
      if (!checks_metrics) continue;
      EXPECT_EQ(
          Metric("postern_backend_sessions_active{backend=\"b" + std::to_string(i + 1) + protocol),
          0);
    }
    if (checks_metrics) {
      EXPECT_EQ(Metric("postern_sessions_active{listener=\"l" + protocol), 0);
    }
    // What hangs never hears that it was closed.
    for (const ScriptedBackend* backend : {b1.get(), b2.get()})
      if (!backend->breaks_after || backend->breaks_after->second != SimSocket::Break::kHang) {
        EXPECT_EQ(backend->num_open(), 0) << "a back leg was left behind";
      }
  }
  session.reset();
}

const balance::EndpointState& MailWorld::state(int backend) {
  return *book_.Get(config.backends[static_cast<size_t>(backend)].name, listener().protocol);
}

void MailWorld::Build() {
  auto its = std::make_shared<session::ListenerSettings>();
  auto parts = std::make_shared<session::Parts>();
  auto conf = std::make_shared<conf::Config>(config);
  const metrics::Registry::Slots& slots = meters_->SlotsOf(*conf);
  parts->config = conf;
  parts->router = std::make_shared<route::Router>(*conf);
  parts->user_key = std::make_shared<route::UserKey>(conf->users);
  auto table = std::make_shared<balance::EndpointTable>(*conf, book_);
  for (const balance::Endpoint& end : table->endpoints()) {
    if (end.state->facts() != nullptr) continue;
    auto facts = std::make_shared<balance::EndpointFacts>();
    if (const auto ip = base::IpAddress::Parse(end.backend->host)) facts->addresses = {*ip};
    end.state->set_facts(std::move(facts));
  }
  parts->endpoints = table;
  parts->endpoint_slots = slots.endpoints;
  parts->rule_slots = slots.rules;
  parts->directory_slots = slots.directories;
  parts->directories = directories;
  for (const balance::Endpoint& end : table->endpoints())
    parts->back_tls.push_back(
        end.conf->tls == conf::TlsMode::kNone ? nullptr : std::make_shared<OpaqueTls>());
  its->conf = conf->listeners[0];
  its->hostname = conf->hostname;
  its->slots = slots.listeners[0];
  its->tls = std::make_shared<OpaqueTls>();
  its->capabilities = {"IMAP4rev1", "SASL-IR", "ID"};
  if (its->conf.protocol == conf::Protocol::kPop3) its->capabilities = {"TOP"};
  its->offers_xoauth2 = true;
  settings_ = std::move(its);
  env_.emplace(
      session::SessionEnv{loop, net, *this, rng, picker_, meters_->recorder, *this, *this, parts});
}

void MailWorld::Begin() {
  Build();
  const auto client = *base::SocketAddress::Parse(client_address);
  const auto local = *base::SocketAddress::Parse("198.51.100.1:993");
  auto [client_end, server_end] = net.Pair(client, local);
  client_ = std::move(client_end);
  ear_ = std::make_unique<ClientEar>(*this);
  client_->SetObserver(ear_.get());
  if (is_in_tls) {
    struct Quiet final : Stream::Observer {
      void OnStream(Stream&, Stream::Event) override {}
    } quiet;
    server_end->SetObserver(&quiet);
    io::TlsRequest server, as_client;
    server.settings = settings_->tls.get();
    as_client.role = io::TlsRole::kClient;
    as_client.server_name = "imap.example";
    server_end->StartTls(server);
    client_->StartTls(as_client);
    Settle();
  }
  if (!early.empty()) {
    client_->Write(early);
    // A server that is busy: all of it has come when the session begins.
    server_end->PauseReads();
    loop.RunFor(std::chrono::milliseconds(20));
    server_end->ResumeReads();
  }
  session::ClientFacts facts;
  facts.session_id = 0x1234;
  facts.client = client;
  facts.local = local;
  facts.accepted = loop.Now();
  session = session::MakeSession(*env_, settings_, facts, std::move(server_end));
  session->Start();
  Settle();
}

void MailWorld::Send(std::string_view bytes) {
  client_->Write(bytes);
}

std::string MailWorld::Read() {
  Settle();
  return std::exchange(received_, "");
}

std::string MailWorld::Ask(std::string_view line) {
  Line(line);
  return Read();
}

void MailWorld::StartClientTls() {
  io::TlsRequest request;
  request.role = io::TlsRole::kClient;
  client_->StartTls(request);
  Settle();
}

std::string MailWorld::LogIn(const std::string& user, const std::string& password) {
  if (listener().protocol == conf::Protocol::kImap)
    return Ask("a" + std::to_string(++num_tags_) + " LOGIN " + user + " " + password);
  const std::string first = Ask("USER " + user);
  EXPECT_TRUE(first.ends_with("+OK Send the password\r\n")) << first;
  return Ask("PASS " + password);
}

void MailWorld::Retire(session::Session& ended) {
  EXPECT_EQ(&ended, session.get());
  ++num_retired;
  loop.Post([this] { session.reset(); });
}

bool MailWorld::AuthBlocked(const base::IpAddress&, const std::string&) {
  return is_auth_blocked;
}

void MailWorld::AuthFailed(const base::IpAddress&, const std::string& user) {
  auth_failed.push_back(user);
}

void MailWorld::AuthSucceeded(const base::IpAddress&, const std::string& user) {
  auth_succeeded.push_back(user);
}

bool MailWorld::TakeReplayMemory(size_t) {
  return true;
}

void MailWorld::ReturnReplayMemory(size_t) {}

void MailWorld::LearnedCapabilities(const balance::Endpoint& end,
                                    std::vector<std::string> capabilities) {
  learned.emplace_back(end.backend->name, std::move(capabilities));
}

void MailWorld::OnSession(const metrics::SessionAccount& account) {
  EXPECT_EQ(account.listener, "l");
  EXPECT_EQ(account.session, 0x1234U);
  EXPECT_EQ(account.client.ToString(), client_address);
  accounts.push_back(account);
  accounts.back().listener = "l";  // the session's own goes with it
}

void MailWorld::OnTransaction(const metrics::TransactionAccount&) {
  ADD_FAILURE() << "no transaction belongs here";
}

void MailWorld::Resolve(const std::string&, std::function<void(const io::ResolvedName&)>) {}

void MailWorld::FindPeerName(const base::IpAddress&, std::function<void(const io::PeerName&)>) {}

}  // namespace postern::test
