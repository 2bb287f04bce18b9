// mail_world: everything around a MailSession, in memory.
// SPDX-License-Identifier: Apache-2.0
#include "test/support/mail_world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "lb/base/base64.h"
#include "lb/base/bytes.h"
#include "lb/proto/proxy_header.h"

namespace postern::test {

using io::Stream;

// --- a backend --------------------------------------------------------------------------------

class ScriptedBackend::Connection final : public Stream::Observer {
 public:
  Connection(ScriptedBackend& backend, std::unique_ptr<SimStream> stream)
      : backend_(backend), stream_(std::move(stream)) {
    stream_->SetObserver(this);
    if (backend_.breaks_after)
      stream_->socket().BreakAfter(backend_.breaks_after->first, backend_.breaks_after->second);
    if (backend_.expects_proxy) return;
    if (backend_.is_implicit) {
      StartTls();
    } else {
      Greet();
    }
  }

  [[nodiscard]] bool is_open() const { return !stream_->is_closed() && !is_over_; }
  SimStream& stream() { return *stream_; }

 private:
  void OnStream(Stream& stream, Stream::Event event) override {
    switch (event) {
      case Stream::Event::kReadable:
        Read();
        return;
      case Stream::Event::kTlsUp:
        if (backend_.is_implicit) Greet();
        return;
      case Stream::Event::kEnd:
        backend_.has_seen_eof = true;
        // A real server ends when its client does.
        if (backend_.stays_open && stream.end() == io::StreamEnd::kEof) return;
        is_over_ = true;
        if (stream.end() == io::StreamEnd::kEof) {
          stream.CloseGently();
        } else {
          stream.Close();
        }
        return;
      case Stream::Event::kConnected:
      case Stream::Event::kDrained:
        return;
    }
  }

  void StartTls() {
    io::TlsRequest request;
    request.role = io::TlsRole::kServer;
    stream_->StartTls(request);
  }

  [[nodiscard]] bool is_tcp() const { return backend_.protocol_ == conf::Protocol::kTcp; }
  [[nodiscard]] bool is_imap() const { return backend_.protocol_ == conf::Protocol::kImap; }

  // Sends the answer, or does what the fault says instead.
  void Answer(const std::string& answer) {
    const bool is_faulty = backend_.fault != Fault::kNone && num_answers_ == backend_.fault_at;
    ++num_answers_;
    if (!is_faulty) {
      Write(answer);
      return;
    }
    const std::string tag = tag_.empty() ? "*" : tag_;
    switch (backend_.fault) {
      case Fault::kNone:
        return;
      case Fault::kHang:
        is_hanging_ = true;
        return;
      case Fault::kReset:
        End();
        stream_->Reset();
        return;
      case Fault::kClose:
        End();
        stream_->CloseGently();
        return;
      case Fault::kHalfLine:
        Write(answer.substr(0, answer.size() / 2));
        End();
        stream_->CloseGently();
        return;
      case Fault::kGarbage:
        Write("HTTP/1.1 400 Bad Request\r\n");
        return;
      case Fault::kEndless:
        Write(std::string(40000, 'x'));
        return;
      case Fault::kBusy:
        Write(is_imap() ? "* BYE too busy\r\n" : "-ERR [SYS/TEMP] too busy\r\n");
        End();
        stream_->CloseGently();
        return;
      case Fault::kTempFail:
        Write(is_imap() ? tag + " NO [UNAVAILABLE] later\r\n" : "-ERR [SYS/TEMP] later\r\n");
        return;
      case Fault::kInjects:
        Write(answer + answer);
        return;
    }
  }

  void End() { is_over_ = true; }

  void Write(std::string_view bytes) {
    if (is_logged_in_) backend_.said += bytes;
    stream_->Write(bytes);
  }

  void Greet() {
    if (is_tcp()) {
      is_logged_in_ = true;
      return;
    }
    if (backend_.greeting_delay == base::Duration{}) {
      GreetNow();
      return;
    }
    backend_.loop_.Schedule(backend_.greeting_delay, [this, alive = std::weak_ptr<int>(alive_)] {
      if (!alive.expired() && is_open()) GreetNow();
    });
  }

  void GreetNow() {
    if (is_imap()) {
      Answer("* OK [CAPABILITY " + Capabilities() + "] back ready\r\n");
    } else {
      Answer("+OK [XCLIENT] back ready\r\n");
    }
  }

  std::string Capabilities() const {
    std::string text = backend_.capabilities;
    if (text.empty())
      text = is_imap() ? "IMAP4rev1 SASL-IR ID AUTH=PLAIN"
                       : "TOP\r\nUSER\r\n"
                         "SASL PLAIN";
    if (backend_.has_starttls && !backend_.strips_starttls && !stream_->in_tls())
      text += is_imap() ? " STARTTLS" : "\r\nSTLS";
    return text;
  }

  void Read() {
    if (is_hanging_ || is_over_) {
      stream_->Consume(stream_->Input().size());
      return;
    }
    if (backend_.expects_proxy && backend_.before_tls.empty()) {
      const auto parse = proto::ParseProxyHeader(stream_->Input());
      if (parse.status == proto::ProxyParse::Status::kNeedMore) return;
      EXPECT_EQ(parse.status, proto::ProxyParse::Status::kDone);
      backend_.before_tls = std::string(stream_->Input().substr(0, parse.size_bytes));
      stream_->Consume(parse.size_bytes);
      if (backend_.is_implicit) {
        StartTls();
        return;
      }
      Greet();
    }
    while (!is_logged_in_ && !is_over_ && !is_hanging_) {
      const base::ByteView input = stream_->Input();
      const size_t end = input.find("\r\n");
      if (end == base::ByteView::npos) return;
      const std::string line(input.substr(0, end));
      stream_->Consume(end + 2);
      backend_.lines.push_back(line);
      TakeLine(line);
    }
    if (!is_logged_in_) return;
    backend_.relayed += stream_->Input();
    stream_->Consume(stream_->Input().size());
    if (is_tcp()) return;
    const std::string& got = backend_.relayed;
    // LOGOUT and QUIT are the only commands that it knows by now.
    const size_t logout = got.find(" LOGOUT\r\n");
    if (logout != std::string::npos) {
      const size_t start =
          got.rfind('\n', logout) == std::string::npos ? 0 : got.rfind('\n', logout) + 1;
      Write("* BYE bye\r\n" + got.substr(start, logout - start) + " OK done\r\n");
      End();
      stream_->CloseGently();
    } else if (got.ends_with("QUIT\r\n")) {
      Write("+OK bye\r\n");
      End();
      stream_->CloseGently();
    }
  }

  void TakeLine(const std::string& line) {
    if (is_imap()) {
      TakeImap(line);
    } else {
      TakePop3(line);
    }
  }

  void TakeImap(const std::string& line) {
    const size_t blank = line.find(' ');
    if (is_challenged_) {
      is_challenged_ = false;
      Answer(tag_ + " NO [AUTHENTICATIONFAILED] bad token\r\n");
      return;
    }
    tag_ = line.substr(0, blank);
    const std::string command = blank == std::string::npos ? "" : line.substr(blank + 1);
    if (command == "CAPABILITY") {
      Answer("* CAPABILITY " + Capabilities() + "\r\n" + tag_ + " OK done\r\n");
    } else if (command == "STARTTLS") {
      Answer(tag_ + " OK begin\r\n");
      if (!is_over_ && !is_hanging_ && backend_.fault != Fault::kInjects) StartTls();
    } else if (command.starts_with("ID ")) {
      Answer("* ID NIL\r\n" + tag_ + " OK done\r\n");
    } else if (command.starts_with("AUTHENTICATE PLAIN ")) {
      const std::string plain = base::Base64Decode(command.substr(19)).value_or("");
      const size_t second = plain.find('\0', 1);
      if (second != std::string::npos) LogIn(plain.substr(1, second - 1), plain.substr(second + 1));
    } else if (command.starts_with("AUTHENTICATE XOAUTH2 ")) {
      is_challenged_ = true;
      Answer("+ " + backend_.token_challenge + "\r\n");
    } else if (command.starts_with("LOGIN \"")) {
      const size_t middle = command.find("\" \"");
      LogIn(command.substr(7, middle - 7), command.substr(middle + 3, command.size() - middle - 4));
    } else {
      Answer(tag_ + " BAD what?\r\n");
    }
  }

  void TakePop3(const std::string& line) {
    if (line == "CAPA") {
      Answer("+OK\r\n" + Capabilities() + "\r\n.\r\n");
    } else if (line == "STLS") {
      Answer("+OK begin\r\n");
      if (!is_over_ && !is_hanging_ && backend_.fault != Fault::kInjects) StartTls();
    } else if (line.starts_with("XCLIENT ")) {
      Answer("+OK\r\n");
    } else if (line.starts_with("USER ")) {
      user_ = line.substr(5);
      Answer("+OK\r\n");
    } else if (line.starts_with("PASS ")) {
      LogIn(user_, line.substr(5));
    } else {
      Answer("-ERR what?\r\n");
    }
  }

  void LogIn(const std::string& user, const std::string& password) {
    const auto found = backend_.passwords.find(user);
    const bool is_right = found != backend_.passwords.end() && found->second == password;
    std::string answer;
    if (!is_right) {
      answer = !backend_.refusal.empty() ? backend_.refusal + "\r\n"
               : is_imap() ? tag_ + " NO [AUTHENTICATIONFAILED] " + user + " is no user\r\n"
                           : "-ERR [AUTH] " + user + " is no user\r\n";
    } else if (is_imap()) {
      answer = tag_ + " OK ";
      if (!backend_.post_capabilities.empty())
        answer += "[CAPABILITY " + backend_.post_capabilities + "] ";
      answer += "Logged in at " + backend_.name_ + "\r\n" + backend_.behind_ok;
    } else {
      answer = "+OK Logged in at " + backend_.name_ + "\r\n" + backend_.behind_ok;
    }
    // Who says its OK, and more or less than the rest, has said OK all the same.
    const bool is_faulty = backend_.fault != Fault::kNone && num_answers_ == backend_.fault_at;
    const bool says_ok = backend_.fault == Fault::kInjects ||
                         (backend_.fault == Fault::kHalfLine &&
                          answer.substr(0, answer.size() / 2).find("\r\n") != std::string::npos);
    const bool will_fail = is_faulty && !says_ok;
    if (is_right && !will_fail) {
      is_logged_in_ = true;
      backend_.logins.push_back(user);
    }
    if (backend_.auth_delay == base::Duration{}) {
      Answer(answer);
      return;
    }
    backend_.loop_.Schedule(backend_.auth_delay,
                            [this, answer, alive = std::weak_ptr<int>(alive_)] {
                              if (!alive.expired() && is_open()) Answer(answer);
                            });
  }

  ScriptedBackend& backend_;
  std::unique_ptr<SimStream> stream_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  int num_answers_ = 0;
  bool is_hanging_ = false;
  bool is_over_ = false;
  bool is_logged_in_ = false;
  bool is_challenged_ = false;
  std::string tag_, user_;
};

ScriptedBackend::ScriptedBackend(SimLoop& loop, SimNet& net, const base::SocketAddress& address,
                                 conf::Protocol protocol, std::string name)
    : loop_(loop), protocol_(protocol), name_(std::move(name)) {
  net.Listen(address, [this](std::unique_ptr<SimStream> stream) {
    ++num_connections_;
    connections_.push_back(std::make_unique<Connection>(*this, std::move(stream)));
  });
}

ScriptedBackend::~ScriptedBackend() = default;

int ScriptedBackend::num_open() const {
  return static_cast<int>(std::count_if(connections_.begin(), connections_.end(),
                                        [](const auto& each) { return each->is_open(); }));
}

SimStream* ScriptedBackend::stream() {
  return connections_.empty() ? nullptr : &connections_.back()->stream();
}

void ScriptedBackend::Say(std::string_view bytes) {
  ASSERT_NE(stream(), nullptr);
  said += bytes;
  stream()->Write(bytes);
}

// --- the world --------------------------------------------------------------------------------

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

void MailWorld::Begin() {
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
    facts->addresses = {*base::IpAddress::Parse(end.backend->host)};
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
  env_.emplace(
      session::SessionEnv{loop, net, *this, rng, picker_, meters_->recorder, *this, *this, parts});

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
    server.settings = its->tls.get();
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
  session = session::MakeSession(*env_, std::move(its), facts, std::move(server_end));
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
