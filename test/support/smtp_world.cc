// smtp_world: everything around a SmtpSession, in memory.
// SPDX-License-Identifier: Apache-2.0
#include "test/support/smtp_world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "lb/proto/proxy_header.h"

namespace postern::test {

using io::Stream;

// --- a server ---------------------------------------------------------------------------------

class SmtpServer::Connection final : public Stream::Observer {
 public:
  Connection(SmtpServer& server, std::unique_ptr<SimStream> stream)
      : server_(server), stream_(std::move(stream)) {
    stream_->SetObserver(this);
    if (server_.expects_proxy) return;
    Begin();
  }
  [[nodiscard]] bool is_open() const { return !is_over_; }
  SimStream& stream() { return *stream_; }
  void End(const std::string& how) {
    is_over_ = true;
    if (how == "reset") {
      stream_->Reset();
    } else {
      stream_->CloseGently();
    }
  }
  void Read() {
    while (!is_over_ && !is_hanging_ && TakeLine()) {
    }
  }

 private:
  void OnStream(Stream& stream, Stream::Event event) override {
    if (event == Stream::Event::kTlsUp && server_.is_implicit) {
      Say("GREETING", "220 " + server_.name_);
    } else if (event == Stream::Event::kReadable) {
      Read();
      if (is_over_ || is_hanging_) stream_->Consume(stream_->Input().size());
    } else if (event == Stream::Event::kDrained && is_flooding_) {
      flood_.Pump(stream);
    } else if (event == Stream::Event::kEnd) {
      is_over_ = true;
      stream.CloseGently();
    }
  }

  void Begin() {
    if (server_.is_implicit) {
      StartTls();
    } else {
      Say("GREETING", "220 " + server_.name_);
    }
  }

  void StartTls() {
    io::TlsRequest request;
    request.role = io::TlsRole::kServer;
    stream_->StartTls(request);
  }

  // True: what was usual was said.
  bool Say(const std::string& what, const std::string& usual) {
    std::string words = usual;
    size_t longest = 0;
    for (const auto& [begin, answer] : server_.answers) {
      if (what.compare(0, begin.size(), begin) != 0 || begin.size() < longest) continue;
      longest = begin.size();
      words = answer;
    }
    if (words == "hang") {
      is_hanging_ = true;
    } else if (words == "reset" || words == "close") {
      End(words);
    } else if (words == "half") {
      is_over_ = true;
      stream_->Write(usual.substr(0, usual.size() / 2));
      stream_->CloseGently();
    } else if (words == "flood") {
      is_hanging_ = is_flooding_ = true;
      flood_ = server_.flood;
      if (flood_.is_behind) stream_->Write(usual + "\r\n");
      flood_.Pump(*stream_);
    } else if (words == "endless") {
      stream_->Write(std::string(40000, '2'));
    } else if (words == "twice") {
      stream_->Write(usual + "\r\n" + usual + "\r\n");
      return !what.starts_with("STARTTLS");
    } else {
      stream_->Write(words + "\r\n");
    }
    return words == usual;
  }

  // False if there is no whole line.
  bool TakeLine() {
    const base::ByteView input = stream_->Input();
    if (server_.expects_proxy && !has_header_) {
      const proto::ProxyParse parse = proto::ParseProxyHeader(input);
      if (parse.status == proto::ProxyParse::Status::kNeedMore) return false;
      EXPECT_EQ(parse.status, proto::ProxyParse::Status::kDone);
      has_header_ = true;
      server_.lines.push_back("PROXY " + parse.header.source.ToString());
      stream_->Consume(parse.size_bytes);
      Begin();
      return !server_.is_implicit;
    }
    if (is_in_text_ && server_.reads_nothing) {
      stream_->PauseReads();
      return false;
    }
    if (is_in_chunk_) return TakeChunk(input);
    const size_t end = input.find("\r\n");
    if (end == base::ByteView::npos) {
      if (!is_in_text_ || input.size() < kMaxLineBytes) return false;
      // Part of a line, so that a peer's that has no end is read.
      message_.text += input.substr(0, input.size() - 1);
      stream_->Consume(input.size() - 1);
      is_in_line_ = true;
      return false;
    }
    const std::string line(input.substr(0, end));
    stream_->Consume(end + 2);
    if (!is_in_text_) {
      server_.lines.push_back(line);
      Command(line);
    } else if (line == "." && !is_in_line_) {
      is_in_text_ = false;
      Accept();
    } else {
      message_.text += line + "\r\n";
      is_in_line_ = false;
    }
    return true;
  }

  // False if there is nothing of it.
  bool TakeChunk(base::ByteView input) {
    const base::ByteView octets = input.substr(0, std::min<uint64_t>(input.size(), chunk_left_));
    if (octets.empty() && chunk_left_ > 0) return false;
    message_.text += octets;
    chunk_left_ -= octets.size();
    stream_->Consume(octets.size());
    if (chunk_left_ > 0) return true;
    is_in_chunk_ = false;
    message_.is_chunked = true;
    if (is_last_chunk_) {
      Accept();
    } else {
      Say("BDAT", "250 2.0.0 Ok");
    }
    return true;
  }

  // LMTP: one answer for each recipient.
  void Accept() {
    const std::vector<std::string> to = message_.to;
    server_.messages.push_back(std::move(message_));
    message_ = {};
    const std::string words =
        "250 2.0.0 Ok: queued as " + server_.name_ + "Q" + std::to_string(server_.messages.size());
    if (!server_.is_lmtp) {
      Say(".", words);
      return;
    }
    for (size_t i = 0; i < to.size() && !is_over_ && !is_hanging_; ++i) Say("." + to[i], words);
  }

  void Command(const std::string& line) {
    const auto begins = [&line](std::string_view word) {
      return line.compare(0, word.size(), word) == 0;
    };
    if (begins(server_.is_lmtp ? "LHLO" : "EHLO")) {
      std::string answer = "250-" + server_.name_;
      for (const std::string& keyword : server_.keywords) answer += "\r\n250-" + keyword;
      answer[answer.rfind("250-") + 3] = ' ';
      hello_ = line.substr(5);
      Say("EHLO" + line.substr(4), answer);
    } else if (begins("HELO") && !server_.is_lmtp) {
      hello_ = line.substr(5);
      Say(line, "250 " + server_.name_);
    } else if (begins("MAIL FROM:<")) {
      message_ = {};
      message_.hello = hello_;
      message_.from = line.substr(11, line.find('>') - 11);
      Say(line, "250 2.1.0 Ok");
    } else if (begins("RCPT TO:<")) {
      if (Say(line, "250 2.1.5 Ok")) message_.to.push_back(line.substr(9, line.find('>') - 9));
    } else if (begins("DATA")) {
      is_in_text_ = Say(line, "354 go on");
    } else if (begins("BDAT ") && TakesChunks() && !message_.to.empty()) {
      is_in_chunk_ = true;
      chunk_left_ = std::strtoull(line.c_str() + 5, nullptr, 10);
      is_last_chunk_ = line.ends_with(" LAST");
    } else if (begins("BDAT")) {
      ADD_FAILURE() << "out of place: " << line;
      Say(line, "503 5.5.1 not now");
    } else if (begins("STARTTLS")) {
      if (Say(line, "220 2.0.0 go")) StartTls();
    } else if (begins("AUTH")) {
      Say(line, "235 2.7.0 in");
    } else if (begins("XCLIENT")) {
      Say(line, "220 " + server_.name_);
    } else if (begins("QUIT")) {
      Say(line, "221 2.0.0 bye");
      is_over_ = true;
      stream_->CloseGently();
    } else if (begins("EHLO") || begins("LHLO") || begins("HELO")) {
      Say(line, "500 5.5.1 the other protocol");
    } else {
      Say(line, "250 2.0.0 Ok");
    }
  }

  [[nodiscard]] bool TakesChunks() const {
    return std::find(server_.keywords.begin(), server_.keywords.end(), "CHUNKING") !=
           server_.keywords.end();
  }

  static constexpr size_t kMaxLineBytes = 16 << 10;
  SmtpServer& server_;
  std::unique_ptr<SimStream> stream_;
  Message message_;
  std::string hello_;
  Flood flood_;
  bool has_header_ = false;
  bool is_flooding_ = false;
  bool is_in_text_ = false;
  bool is_in_chunk_ = false;
  bool is_last_chunk_ = false;
  uint64_t chunk_left_ = 0;
  bool is_in_line_ = false;  // of the text: its first part is in the message
  bool is_over_ = false;
  bool is_hanging_ = false;
};

SmtpServer::SmtpServer(SimNet& net, const base::SocketAddress& address, std::string name)
    : name_(std::move(name)) {
  net.Listen(address, [this](std::unique_ptr<SimStream> stream) {
    ++num_connections;
    connections_.push_back(std::make_unique<Connection>(*this, std::move(stream)));
  });
}

SmtpServer::~SmtpServer() = default;

int SmtpServer::num_open() const {
  return static_cast<int>(std::count_if(connections_.begin(), connections_.end(),
                                        [](const auto& each) { return each->is_open(); }));
}

SimStream* SmtpServer::stream() {
  return connections_.empty() ? nullptr : &connections_.back()->stream();
}

void SmtpServer::End(const std::string& how) {
  const auto newest = std::find_if(connections_.rbegin(), connections_.rend(),
                                   [](const auto& each) { return each->is_open(); });
  if (newest != connections_.rend()) (*newest)->End(how);
}

void SmtpServer::ReadAgain() {
  reads_nothing = false;
  connections_.back()->stream().ResumeReads();
}

// --- the world --------------------------------------------------------------------------------

namespace {

class OpaqueTls final : public io::TlsSettings {};

base::IpAddress AddressOf(int backend) {
  return *base::IpAddress::Parse("10.0.0." + std::to_string(backend));
}

}  // namespace

class SmtpWorld::ClientEar final : public Stream::Observer {
 public:
  explicit ClientEar(SmtpWorld& world) : world_(world) {}

 private:
  void OnStream(Stream& stream, Stream::Event event) override {
    if (event == Stream::Event::kReadable) {
      world_.received_ += stream.Input();
      stream.Consume(stream.Input().size());
    } else if (event == Stream::Event::kEnd) {
      world_.client_end_ = stream.end();
    }
  }
  SmtpWorld& world_;
};

SmtpWorld::SmtpWorld(conf::Protocol protocol, uint64_t seed, std::shared_ptr<Meters> meters)
    : rng(seed),
      net(loop, rng),
      disk(loop, rng),
      meters_(meters != nullptr ? std::move(meters) : std::make_shared<Meters>()),
      picker_(0, rng),
      book_(1) {
  config.hostname = "mx.example";
  conf::Listener& its = config.listeners.emplace_back();
  its.name = "l";
  its.protocol = protocol;
  its.route = "r";
  its.auth_requires_tls = false;
  for (int i = 1; i <= 3; ++i) {
    conf::Backend& backend = config.backends.emplace_back();
    backend.name = "b" + std::to_string(i);
    backend.host = AddressOf(i).ToString();
    conf::Endpoint& end = backend.endpoints.emplace_back();
    end.protocol = protocol;
    end.port = 25;
    servers_.push_back(
        std::make_unique<SmtpServer>(net, base::SocketAddress{AddressOf(i), 25}, backend.name));
    servers_.back()->is_lmtp = protocol == conf::Protocol::kLmtp;
  }
  for (const auto& [name, backends] :
       {std::pair<std::string, std::vector<std::string>>{"p", {"b1", "b2"}}, {"q", {"b3"}}}) {
    conf::Pool& pool = config.pools.emplace_back();
    pool.name = name;
    pool.backends = backends;
    pool.balance = conf::Balance::kFirst;
  }
  conf::Route& route = config.routes.emplace_back();
  route.name = "r";
  const auto rule = [&route](const std::string& name, const std::string& recipient) -> conf::Rule& {
    conf::Rule& added = route.rules.emplace_back();
    added.name = name;
    if (!recipient.empty()) added.recipients = {recipient};
    return added;
  };
  rule("away", "*@away.example").action = conf::Rule::ToPool{"q"};
  rule("nowhere", "*@nowhere.example").action = conf::Rule::Reject{"550 5.7.1 Relaying denied"};
  rule("all", "").action = conf::Rule::ToPool{"p"};
}

SmtpWorld::~SmtpWorld() {
  if (env_ && client_ != nullptr) {
    client_->Close();
    loop.RunFor(std::chrono::minutes(15));
    EXPECT_EQ(session, nullptr) << "the session has not ended";
    EXPECT_EQ(num_retired, num_begun);
    EXPECT_EQ(accounts.size(), static_cast<size_t>(num_begun));
    EXPECT_EQ(replay_memory, 0U);
    EXPECT_EQ(disk.num_open, 0);
    for (const conf::Backend& backend : config.backends) {
      EXPECT_EQ(state(backend.name).load[0].active.load(), 0U) << backend.name;
      if (!checks_metrics) continue;
      const std::string protocol(conf::Name(backend.endpoints[0].protocol));
      EXPECT_EQ(Metric("postern_backend_sessions_active{backend=\"" + backend.name +
                       "\",protocol=\"" + protocol + "\"}"),
                0)
          << backend.name;
    }
    if (checks_metrics) {
      const std::string protocol(conf::Name(listener().protocol));
      EXPECT_EQ(Metric("postern_sessions_active{listener=\"l\",protocol=\"" + protocol + "\"}"), 0);
    }
    for (const auto& each : servers_) EXPECT_EQ(each->num_open(), 0) << "a leg was left behind";
  }
  session.reset();
}

void SmtpWorld::SpeakLmtp(int backend) {
  endpoint(backend).protocol = conf::Protocol::kLmtp;
  server(backend).is_lmtp = true;
}

balance::EndpointState& SmtpWorld::state(const std::string& backend) {
  for (const conf::Backend& each : config.backends)
    if (each.name == backend) return *book_.Get(backend, each.endpoints[0].protocol);
  return *book_.Get(backend, listener().protocol);
}

std::shared_ptr<const session::Parts> SmtpWorld::BuildParts() {
  auto parts = std::make_shared<session::Parts>();
  auto conf = std::make_shared<conf::Config>(config);
  slots_ = meters_->SlotsOf(*conf);
  parts->config = conf;
  parts->router = std::make_shared<route::Router>(*conf);
  parts->user_key = std::make_shared<route::UserKey>(conf->users);
  auto table = std::make_shared<balance::EndpointTable>(*conf, book_);
  for (const balance::Endpoint& end : table->endpoints()) {
    if (end.state->facts() != nullptr) continue;
    auto facts = std::make_shared<balance::EndpointFacts>();
    const auto several = addresses.find(end.backend->name);
    facts->addresses = several != addresses.end()
                           ? several->second
                           : std::vector{*base::IpAddress::Parse(end.backend->host)};
    end.state->set_facts(std::move(facts));
  }
  parts->endpoints = table;
  parts->endpoint_slots = slots_.endpoints;
  parts->rule_slots = slots_.rules;
  parts->directory_slots = slots_.directories;
  parts->directories = directories;
  for (const balance::Endpoint& end : table->endpoints())
    parts->back_tls.push_back(
        end.conf->tls == conf::TlsMode::kNone ? nullptr : std::make_shared<OpaqueTls>());
  return parts;
}

void SmtpWorld::Reload() {
  env_->parts = BuildParts();
}

void SmtpWorld::Begin() {
  const std::shared_ptr<const session::Parts> parts = BuildParts();
  auto its = std::make_shared<session::ListenerSettings>();
  its->conf = parts->config->listeners[0];
  its->hostname = parts->config->hostname;
  its->smtp = parts->config->smtp;
  its->slots = slots_.listeners[0];
  its->tls = std::make_shared<OpaqueTls>();
  its->capabilities = capabilities;
  its->wants_peer_name = wants_peer_name;
  settings_ = its;
  env_.emplace(
      session::SessionEnv{loop, net, *this, rng, picker_, meters_->recorder, *this, *this, parts});
  BeginSession();
}

void SmtpWorld::BeginNext() {
  Settle();
  ASSERT_EQ(session, nullptr) << "one client at a time";
  client_end_ = io::StreamEnd::kNone;
  received_.clear();
  BeginSession();
}

void SmtpWorld::BeginSession() {
  ++num_begun;
  const auto client = *base::SocketAddress::Parse(client_address);
  const auto local = *base::SocketAddress::Parse("198.51.100.1:25");
  auto [client_end, server_end] = net.Pair(client, local);
  client_ = std::move(client_end);
  ear_ = std::make_unique<ClientEar>(*this);
  client_->SetObserver(ear_.get());
  if (is_in_tls) {
    struct Quiet final : Stream::Observer {
      void OnStream(Stream&, Stream::Event) override {}
    } quiet;
    server_end->SetObserver(&quiet);
    io::TlsRequest server;
    server.settings = settings_->tls.get();
    server_end->StartTls(server);
    StartClientTls();
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

std::string SmtpWorld::Read() {
  Settle();
  return std::exchange(received_, "");
}

std::string SmtpWorld::Ask(std::string_view line) {
  Line(line);
  return Read();
}

std::string SmtpWorld::Codes() {
  std::istringstream lines(Read());
  std::string codes;
  for (std::string line; std::getline(lines, line);) {
    if (line.size() > 3 && line[3] == '-') continue;
    if (!codes.empty()) codes += ' ';
    codes += line.substr(0, 3);
  }
  return codes;
}

void SmtpWorld::Hello() {
  Begin();
  Line("EHLO client.example");
  ASSERT_EQ(Codes(), "220 250");
}

std::string SmtpWorld::Deliver(const std::string& recipient, const std::string& text) {
  Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<" + recipient + ">\r\nDATA\r\n");
  std::string codes = Codes();
  if (codes.size() < 3 || codes.substr(codes.size() - 3) != "354") return codes;
  Send(text + ".\r\n");
  const std::string more = Codes();
  return more.empty() ? codes : codes + " " + more;
}

void SmtpWorld::StartClientTls() {
  io::TlsRequest request;
  request.role = io::TlsRole::kClient;
  client_->StartTls(request);
  Settle();
}

// --- what the session says and asks ------------------------------------------------------------

void SmtpWorld::Retire(session::Session& ended) {
  EXPECT_EQ(&ended, session.get());
  ++num_retired;
  loop.Post([this] { session.reset(); });
}

bool SmtpWorld::AuthBlocked(const base::IpAddress&, const std::string&) {
  return is_auth_blocked;
}

void SmtpWorld::AuthFailed(const base::IpAddress&, const std::string& user) {
  auth_failed.push_back(user);
}

void SmtpWorld::AuthSucceeded(const base::IpAddress&, const std::string& user) {
  auth_succeeded.push_back(user);
}

bool SmtpWorld::TakeReplayMemory(size_t num_bytes) {
  if (replay_memory + num_bytes > replay_memory_total) return false;
  replay_memory += num_bytes;
  return true;
}

void SmtpWorld::RememberRefusal(const std::string& key, std::string_view reply) {
  refusals[key] = reply;
}

std::string SmtpWorld::RecallRefusal(const std::string& key) {
  const auto found = refusals.find(key);
  if (found == refusals.end()) return "";
  const std::string reply = found->second;
  refusals.erase(found);
  return reply;
}

void SmtpWorld::ReturnReplayMemory(size_t num_bytes) {
  replay_memory -= num_bytes;
}

void SmtpWorld::LearnedCapabilities(const balance::Endpoint& end,
                                    std::vector<std::string> keywords) {
  learned.emplace_back(end.backend->name, std::move(keywords));
}

void SmtpWorld::OnSession(const metrics::SessionAccount& account) {
  accounts.push_back(account);
  accounts.back().listener = "l";  // the session's own goes with it
}

void SmtpWorld::OnTransaction(const metrics::TransactionAccount& account) {
  transactions.push_back(account);
  transactions.back().listener = "l";
}

void SmtpWorld::Resolve(const std::string&, std::function<void(const io::ResolvedName&)>) {}

void SmtpWorld::FindPeerName(const base::IpAddress& address,
                             std::function<void(const io::PeerName&)> done) {
  EXPECT_EQ(address.ToString(), "192.0.2.7");
  name_lookups.push_back(std::move(done));
}

}  // namespace postern::test
