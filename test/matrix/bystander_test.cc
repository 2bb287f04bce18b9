// bystander_test: a client beside a fault, and that it notices when it is made to wait.
// SPDX-License-Identifier: Apache-2.0
#include "test/matrix/bystander.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "test/support/mail_world.h"

namespace postern::test {

using conf::Protocol;
using io::Stream;

class Bystander::Ear final : public Stream::Observer {
 public:
  explicit Ear(Bystander& owner) : owner_(owner) {}

 private:
  void OnStream(Stream& stream, Stream::Event event) override {
    if (event != Stream::Event::kReadable) return;
    owner_.heard_ += stream.Input();
    stream.Consume(stream.Input().size());
  }
  Bystander& owner_;
};

void Bystander::AddHome(conf::Config& config) {
  const Protocol protocol = config.listeners[0].protocol;
  const base::SocketAddress address = HomeAddress(protocol);
  conf::Backend& backend = config.backends.emplace_back();
  backend.name = "by";
  backend.host = address.ip.ToString();
  conf::Endpoint& endpoint = backend.endpoints.emplace_back();
  endpoint.protocol = protocol;
  endpoint.port = address.port;
  conf::Pool& pool = config.pools.emplace_back();
  pool.name = "by";
  pool.backends = {"by"};
  pool.storage = conf::Storage::kShared;
  conf::Rule rule;
  rule.name = "by";
  if (protocol == Protocol::kSmtp) {
    rule.recipients = {"*@by.example"};
  } else {
    rule.users = {"bystander"};
  }
  rule.action = conf::Rule::ToPool{"by"};
  std::vector<conf::Rule>& rules = config.routes[0].rules;
  rules.insert(rules.begin(), std::move(rule));
}

base::SocketAddress Bystander::HomeAddress(Protocol protocol) {
  const bool is_mailbox = protocol == Protocol::kImap || protocol == Protocol::kPop3;
  return *base::SocketAddress::Parse(is_mailbox ? "10.0.0.9:143" : "10.0.0.9:25");
}

Bystander::Bystander(SimLoop& loop, SimNet& net, const session::SessionEnv& env,
                     const session::ListenerSettings& settings, Who who)
    : loop_(loop),
      protocol_(settings.conf.protocol),
      who_(std::move(who)),
      worker_(env.host),
      env_{env.loop,     env.dialer, env.resolver, env.rng,  env.picker,
           env.recorder, *this,      *this,        env.parts} {
  auto its = std::make_shared<session::ListenerSettings>(settings);
  its->conf.tls = conf::TlsMode::kNone;
  its->conf.auth_requires_tls = false;
  its->conf.greet_delay = {};
  session::ClientFacts facts;
  facts.session_id = 0x5678;
  facts.client = *base::SocketAddress::Parse("192.0.2.9:4712");
  facts.local = *base::SocketAddress::Parse("198.51.100.1:993");
  facts.accepted = loop.Now();
  auto [client_end, server_end] = net.Pair(facts.client, facts.local);
  client_ = std::move(client_end);
  ear_ = std::make_unique<Ear>(*this);
  client_->SetObserver(ear_.get());
  session_ = session::MakeSession(env_, std::move(its), facts, std::move(server_end));
  session_->Start();
}

Bystander::~Bystander() {
  client_->Close();
  EXPECT_TRUE(loop_.RunUntil([this] { return session_ == nullptr; })) << "does not end";
}

void Bystander::Retire(session::Session& ended) {
  EXPECT_EQ(&ended, session_.get());
  loop_.Post([this] { session_.reset(); });
}

void Bystander::LogIn() {
  switch (protocol_) {
    case Protocol::kImap:
      return Ask("a LOGIN " + who_.user + " secret\r\n", "a OK ", "login");
    case Protocol::kPop3:
      Ask("USER " + who_.user + "\r\n", "+OK Send", "user");
      return Ask("PASS secret\r\n", "+OK Logged in", "login");
    case Protocol::kSubmission:
      Ask("EHLO by.example\r\n", "250 ", "hello");
      return Ask("AUTH PLAIN AGJ5c3RhbmRlcgBzZWNyZXQ=\r\n", "235 ", "login");
    default:
      return Ask("EHLO by.example\r\n", "250 ", "hello");
  }
}

void Bystander::Work() {
  switch (protocol_) {
    case Protocol::kImap:
      return Ask("n NOOP\r\n", "n OK ", "command");
    case Protocol::kPop3:
      return Ask("NOOP\r\n", "+OK", "command");
    default:
      Ask("MAIL FROM:<a@x.example>\r\nRCPT TO:<" + who_.recipient + ">\r\nDATA\r\n", "354 ",
          "envelope");
      return Ask("Subject: by\r\n\r\nhello\r\n.\r\n", "250 ", "message");
  }
}

bool Bystander::HasHeard(std::string_view words) const {
  if (!heard_.ends_with("\r\n")) return false;
  const size_t before = heard_.rfind('\n', heard_.size() - 2);
  return std::string_view(heard_)
      .substr(before == std::string::npos ? 0 : before + 1)
      .starts_with(words);
}

void Bystander::Ask(std::string_view text, std::string_view words, std::string_view what) {
  // Who works without a pause is not waited for either: time stands still then.
  constexpr uint64_t kMaxSteps = 100'000;
  heard_.clear();
  const base::MonoTime began = loop_.Now();
  const base::Duration waited_before = WaitedFor();
  const auto took = [&] { return loop_.Now() - began + (WaitedFor() - waited_before); };
  client_->Write(text);
  (void)loop_.RunUntil([&] { return HasHeard(words) || took() > kPrompt; }, kMaxSteps);
  EXPECT_TRUE(HasHeard(words) && took() <= kPrompt)
      << "a bystander's " << what << " is delayed: after "
      << std::chrono::duration_cast<std::chrono::microseconds>(took()).count()
      << " us it has heard \"" << heard_ << '"';
}

namespace {

// A world in which nothing is wrong but what the test does.
struct Place {
  explicit Place(Protocol protocol)
      : world(protocol),
        home(world.loop, world.net, Bystander::HomeAddress(protocol), protocol, "by") {
    Bystander::AddHome(world.config);
    home.passwords["bystander"] = "secret";
    home.answers_all = true;
    world.listener().auth_requires_tls = false;
    world.Begin();
    bystander.emplace(world.loop, world.net, world.env(), world.settings(), Bystander::Who());
  }
  MailWorld world;
  ScriptedBackend home;
  std::optional<Bystander> bystander;  // goes first
};

TEST(BystanderTest, IsServedAtOnce) {
  for (const Protocol protocol : {Protocol::kImap, Protocol::kPop3}) {
    Place place(protocol);
    place.bystander->LogIn();
    place.bystander->Work();
    EXPECT_EQ(place.home.logins, std::vector<std::string>{"bystander"});
  }
}

TEST(BystanderTest, NoticesABackendThatIsSlow) {
  Place place(Protocol::kImap);
  place.home.greeting_delay = std::chrono::milliseconds(10);
  EXPECT_NONFATAL_FAILURE(place.bystander->LogIn(), "a bystander's login is delayed");
}

TEST(BystanderTest, NoticesAThreadThatWaits) {
  Place place(Protocol::kImap);
  place.bystander->LogIn();
  place.world.loop.Post([] { (void)::poll(nullptr, 0, 500); });
  EXPECT_NONFATAL_FAILURE(place.bystander->Work(), "a bystander's command is delayed");
  place.bystander->Work();
}

TEST(BystanderTest, NoticesAThreadThatIsKeptBusy) {
  bool is_busy = true;
  std::function<void()> spin;  // until the place has ended, whose loop has it
  Place place(Protocol::kImap);
  place.bystander->LogIn();
  spin = [&] {
    if (is_busy) place.world.loop.Post(spin);
  };
  spin();
  EXPECT_NONFATAL_FAILURE(place.bystander->Work(), "a bystander's command is delayed");
  is_busy = false;
}

}  // namespace
}  // namespace postern::test
