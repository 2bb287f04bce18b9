// smtp_sim_test: whole SMTP sessions on a virtual network and clock, with faults by seed.
//
// What must hold whatever happens: a message answered 250 is with one server, whole and once, for
// the recipients that were accepted; no message is with two; none is there that the client did not
// finish; replies come in order, one a command; where nothing is broken, all is delivered, also for
// a client that says QUIT and closes its side at once; every session ends once and holds nothing
// (SmtpWorld checks that when it goes).
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lb/proto/smtp_chunks.h"
#include "test/sim/seeds.h"
#include "test/support/smtp_world.h"

namespace postern::test {
namespace {

class Simulation {
 public:
  Simulation(conf::Protocol protocol, uint64_t seed, const std::shared_ptr<Meters>& meters)
      : rng_(seed * 2654435761U), protocol_(protocol), world_(protocol, seed, meters) {
    world_.checks_metrics = false;
    ChooseNetwork();
    front_ = static_cast<conf::TlsMode>(rng_.Below(3));
    world_.listener().tls = front_;
    if (!is_submission() && rng_.Below(2) == 0) ChooseMixed();
    world_.is_in_tls = front_ == conf::TlsMode::kImplicit;
    if (rng_.Below(5) > 0) {
      ChooseFault(1);
      if (rng_.Below(2) == 0) ChooseFault(2);
      if (rng_.Below(4) == 0) ChooseFault(3);
    }
    // Several clients in turn, whose legs go on to the next where nobody logs in.
    world_.shares_legs = rng_.Below(2) == 0;
    if (world_.shares_legs) num_clients_ = 1 + rng_.Below(4);
    if (rng_.Below(3) == 0) world_.config.smtp.legs_transactions = 2;
    if (rng_.Below(3) == 0) world_.config.smtp.legs_idle = std::chrono::seconds(1);
    if (rng_.Below(3) == 0) CommitAfterData();
  }

  void Run() {
    world_.Begin();
    Visit();
    for (uint64_t i = 1; i < num_clients_ && WaitForNobody(); ++i) {
      DisturbIdleLegs();
      world_.BeginNext();
      replies_.clear();
      is_over_ = false;
      Visit();
    }
    Check();
  }

 private:
  [[nodiscard]] bool is_submission() const { return protocol_ == conf::Protocol::kSubmission; }

  void Visit() {
    ScheduleLoss();
    if (Greets()) {
      const uint64_t num_messages = 1 + rng_.Below(3);
      for (uint64_t i = 0; i < num_messages && !is_over_; ++i) Deliver();
      if (!is_over_ && rng_.Below(4) > 0) {
        const int code = Ask("QUIT");
        EXPECT_TRUE(code == 221 || is_faulty_) << code;
      }
    }
  }

  // The client is gone, and what it has left behind is at peace.
  bool WaitForNobody() {
    world_.client().CloseGently();
    for (int i = 0; i < 20000 && world_.session != nullptr; ++i)
      world_.Wait(std::chrono::milliseconds(100));
    EXPECT_EQ(world_.session, nullptr);
    if (rng_.Below(4) == 0) world_.Wait(std::chrono::milliseconds(rng_.Below(12'000)));
    return world_.session == nullptr;
  }

  // No fault that a client could notice.
  void DisturbIdleLegs() {
    SmtpServer& server = world_.server(1 + static_cast<int>(rng_.Below(2)));
    switch (rng_.Below(8)) {
      case 0:
        return server.End("reset");
      case 1:
        return server.End("close");
      case 2:
        if (server.num_open() > 0) server.stream()->Write("421 4.4.2 too long\r\n");
        return;
      case 3:
        return world_.Reload();
      default:
        return;
    }
  }

  // Up to the first message.
  bool Greets() {
    name_ = rng_.Below(2) == 0 ? "client.example" : "other.example";
    if (!Gets(220, WaitReply()) || !Gets(250, Ask("EHLO " + name_))) return false;
    if (front_ == conf::TlsMode::kStartTls) {
      if (!Gets(220, Ask("STARTTLS"))) return false;
      world_.StartClientTls();
      for (int i = 0; i < 20 && !world_.client().in_tls(); ++i)
        world_.Wait(std::chrono::seconds(1));
      if (!Gets(1, world_.client().in_tls()) || !Gets(250, Ask("EHLO " + name_))) return false;
    }
    // alice, secret.
    return !is_submission() || Gets(235, Ask("AUTH PLAIN AGFsaWNlAHNlY3JldA=="));
  }

  // Without a fault nothing else may come.
  bool Gets(int wanted, int code) {
    EXPECT_TRUE(code == wanted || is_faulty_) << code << " instead of " << wanted;
    return code == wanted;
  }

  void ChooseNetwork() {
    static constexpr SimNet::Cut kCuts[] = {SimNet::Cut::kWhole, SimNet::Cut::kByByte,
                                            SimNet::Cut::kRandom, SimNet::Cut::kRandom};
    world_.net.options.cut = kCuts[rng_.Below(4)];
    world_.net.options.latency = std::chrono::microseconds(10 + rng_.Below(5000));
    if (rng_.Below(3) == 0) world_.net.options.window_bytes = 256 + rng_.Below(8192);
    world_.config.smtp.replay_memory = rng_.Below(2) == 0 ? rng_.Below(2048) : 256 << 10;
    if (rng_.Below(8) == 0) world_.config.smtp.replay_limit = rng_.Below(4096);
    ChooseDisk();
    world_.config.smtp.retries = static_cast<uint32_t>(rng_.Below(3));
    for (int backend = 1; backend <= 2; ++backend) {
      switch (rng_.Below(3)) {
        case 0:
          break;
        case 1:
          world_.endpoint(backend).tls = conf::TlsMode::kStartTls;
          world_.server(backend).keywords.push_back("STARTTLS");
          break;
        default:
          world_.endpoint(backend).tls = conf::TlsMode::kImplicit;
          world_.server(backend).is_implicit = true;
      }
      if (!is_submission() && rng_.Below(3) == 0) world_.SpeakLmtp(backend);
      if (is_submission()) {
        world_.server(backend).keywords.push_back("AUTH PLAIN LOGIN");
        if (rng_.Below(4) == 0) world_.endpoint(backend).reauth = conf::Reauth::kNever;
      }
      if (rng_.Below(3) == 0) {
        auto& keywords = world_.server(backend).keywords;
        keywords.erase(keywords.begin());  // PIPELINING
      }
      if (rng_.Below(2) == 0) world_.server(backend).keywords.push_back("CHUNKING");
    }
  }

  // Recipients of several homes in one transaction: to a pool of their own, to one that has the
  // members of the first home too, or to an endpoint that both homes have.
  void ChooseMixed() {
    std::vector<conf::Rule>& rules = world_.config.routes[0].rules;
    conf::Pool& relay = world_.config.pools.emplace_back();
    relay.name = "relay";
    relay.balance = conf::Balance::kFirst;
    relay.backends = {"b3"};
    if (rng_.Below(2) == 0) relay.backends = {"b2", "b3", "b1"};
    if (rng_.Below(3) == 0) world_.config.pools[1].backends = {"b3", "b2"};
    for (conf::Rule& rule : rules)
      if (rng_.Below(4) > 0) rule.mixed_relay_pool = "relay";
  }

  // A disk may fail as it likes: alone it harms nothing, and with a backend it costs no more than
  // the message that was to move.
  void ChooseDisk() {
    SimSpool::Options& disk = world_.disk.options;
    disk.latency = std::chrono::microseconds(rng_.Below(20'000));
    disk.window_bytes = rng_.Below(3) == 0 ? 0 : rng_.Below(4096);
    if (rng_.Below(2) == 0) disk.read_bytes = 1 + rng_.Below(500);
    switch (rng_.Below(12)) {
      case 0:
        disk.total_bytes = rng_.Below(2000);
        break;
      case 1:
        disk.disk_bytes = rng_.Below(2000);
        break;
      case 2:
        disk.bad_read_offset = rng_.Below(2000);
        break;
      case 3:
        disk.hangs = true;
        break;
      default:
        break;
    }
  }

  // A disk that fails then takes what no server has.
  void CommitAfterData() {
    world_.config.smtp.commit = conf::Commit::kAfterData;
    const SimSpool::Options& disk = world_.disk.options;
    if (disk.hangs || disk.disk_bytes < UINT64_MAX || disk.bad_read_offset < UINT64_MAX)
      is_faulty_ = true;
  }

  void ChooseFault(int backend) {
    static constexpr const char* kPlaces[] = {"GREETING", "EHLO", "STARTTLS", "AUTH", "MAIL",
                                              "RCPT",     "DATA", "BDAT",     ".",    "RSET"};
    static constexpr const char* kFaults[] = {
        "hang",           "reset",           "close",
        "421 4.3.2 busy", "451 4.3.0 later", "450 4.2.0 greylisted",
        "550 5.7.1 no",   "nonsense"};
    if (rng_.Below(4) == 0) return;
    is_faulty_ = true;
    world_.server(backend).answers[kPlaces[rng_.Below(10)]] = kFaults[rng_.Below(8)];
  }

  // Either side breaks at some byte, at some time.
  void ScheduleLoss() {
    if (rng_.Below(3) > 0) return;
    is_faulty_ = true;
    const auto when = std::chrono::microseconds(rng_.Below(200'000));
    const int who = static_cast<int>(rng_.Below(3));
    const uint64_t bytes = rng_.Below(3000);
    world_.loop.Schedule(when, [this, who, bytes] {
      SimStream* stream = who == 0 ? &world_.client() : world_.server(who).stream();
      if (stream == nullptr) return;
      SimSocket& socket = stream->socket();
      socket.BreakAfter(socket.total_sent_bytes() + bytes, who == 0 || rng_.Below(2) == 0
                                                               ? SimSocket::Break::kReset
                                                               : SimSocket::Break::kFin);
    });
  }

  void Deliver() {
    Sent sent;
    sent.id = {'m', static_cast<char>('a' + sent_.size())};
    sent.hello = name_;
    sent.text = "Subject: " + sent.id + "\r\n\r\n";
    const uint64_t most_lines = rng_.Below(40) == 0 ? 4000 : 60;
    for (uint64_t i = rng_.Below(most_lines); i > 0; --i) {
      static constexpr const char* kLines[] = {".", ".dot", "", "plain words", "x."};
      sent.text += kLines[rng_.Below(5)];
      sent.text += "\r\n";
    }
    sent_.push_back(sent);
    const bool is_pipelined = rng_.Below(2) == 0;
    const bool is_chunked = rng_.Below(2) == 0;
    std::vector<std::string> commands = {"MAIL FROM:<a@x.example>"};
    const uint64_t num_recipients = 1 + rng_.Below(3);
    for (uint64_t i = 0; i < num_recipients; ++i)
      commands.push_back("RCPT TO:<r" + std::to_string(i) + "@" +
                         (rng_.Below(5) == 0   ? "nowhere.example"
                          : rng_.Below(5) == 0 ? "away.example"
                                               : "y.example") +
                         ">");
    if (!is_chunked) commands.push_back("DATA");
    if (is_pipelined) {
      std::string group;
      for (const std::string& command : commands) group += command + "\r\n";
      Send(group);
    }
    int data_code = 0;
    for (const std::string& command : commands) {
      if (!is_pipelined) Send(command + "\r\n");
      const int code = WaitReply();
      if (is_over_) return;
      if (command == "DATA") {
        data_code = code;
      } else {
        // One reply a command, of a class that the command can have.
        EXPECT_TRUE(code / 100 == 2 || code / 100 == 4 || code / 100 == 5) << command << code;
        if (command.starts_with("RCPT") && code / 100 == 2)
          sent_.back().to.push_back(command.substr(9, command.size() - 10));
      }
    }
    if (is_chunked) return DeliverChunks();
    if (data_code != 354) {
      EXPECT_NE(data_code / 100, 2);
      EXPECT_TRUE(is_faulty_ || sent_.back().to.empty()) << data_code;
      return;
    }
    EXPECT_FALSE(sent_.back().to.empty()) << "354 without a recipient";
    if (rng_.Below(12) == 0) {
      // Goes away in the middle: nobody may get a message of it.
      const std::string dotted = Dotted(sent.text);
      Send(dotted.substr(0, rng_.Below(dotted.size())));
      world_.client().CloseGently();
      is_over_ = true;
      return;
    }
    sent_.back().is_finished = true;
    // Says goodbye and that it has no more to say, but still wants to know.
    const bool is_leaving = rng_.Below(6) == 0;
    Send(Dotted(sent.text) + (is_leaving ? ".\r\nQUIT\r\n" : ".\r\n"));
    if (is_leaving && !world_.client_sees_end()) world_.client().ShutdownWrite();
    sent_.back().reply = WaitReply();
    (void)Gets(250, sent_.back().reply);
    if (!is_over_) {
      EXPECT_NE(sent_.back().reply / 100, 3);
    }
    if (is_leaving) {
      if (!is_over_) (void)Gets(221, WaitReply());
      is_over_ = true;
    }
  }

  // Goes away in the middle, or says all and then goodbye, as by DATA.
  void DeliverChunks() {
    Sent& sent = sent_.back();
    const bool is_lost = rng_.Below(12) == 0;
    std::string_view rest = sent.text;
    while (true) {
      const std::string_view octets = rest.substr(0, rng_.Below(rest.size() + 1));
      rest.remove_prefix(octets.size());
      const bool is_last = rest.empty() && rng_.Below(2) == 0;
      if (is_lost && (is_last || rng_.Below(3) == 0)) {
        Send("BDAT " + std::to_string(octets.size() + 1) + (is_last ? " LAST\r\n" : "\r\n") +
             std::string(octets));
        world_.client().CloseGently();
        is_over_ = true;
        return;
      }
      sent.is_finished = is_last;
      const bool is_leaving = is_last && rng_.Below(6) == 0;
      Send("BDAT " + std::to_string(octets.size()) + (is_last ? " LAST\r\n" : "\r\n") +
           std::string(octets) + (is_leaving ? "QUIT\r\n" : ""));
      if (is_leaving && !world_.client_sees_end()) world_.client().ShutdownWrite();
      const int code = WaitReply();
      EXPECT_TRUE(code == 250 || is_faulty_ || sent.to.empty()) << code;
      EXPECT_FALSE(code == 250 && sent.to.empty()) << "a chunk for nobody";
      if (is_last) sent.reply = code;
      if (is_leaving) {
        if (!is_over_) (void)Gets(221, WaitReply());
        is_over_ = true;
      }
      if (is_last || is_over_ || code != 250) return;
    }
  }

  static std::string Dotted(std::string_view text) {
    proto::SmtpDotStuffer stuffer;
    std::string made;
    return std::string(stuffer.Take(text, made));
  }

  void Send(const std::string& bytes) {
    if (!world_.client_sees_end()) world_.Send(bytes);
  }
  int Ask(const std::string& line) {
    Send(line + "\r\n");
    return WaitReply();
  }

  // The code of the next whole reply; 0: the connection is over.
  int WaitReply() {
    for (int i = 0; i < 4000; ++i) {
      size_t at = 0;
      while (true) {
        const size_t end = replies_.find("\r\n", at);
        if (end == std::string::npos) break;
        if (end - at < 4) {
          ADD_FAILURE() << "no reply: " << replies_;
          return 0;
        }
        const bool is_last = replies_[at + 3] != '-';
        const int code = std::atoi(replies_.substr(at, 3).c_str());
        at = end + 2;
        if (!is_last) continue;
        replies_.erase(0, at);
        return code;
      }
      if (world_.client_sees_end()) break;
      if (i > 20) world_.Wait(std::chrono::seconds(1));
      replies_ += world_.Read();
    }
    EXPECT_TRUE(world_.client_sees_end()) << "no reply within an hour";
    is_over_ = true;
    return 0;
  }

  void Check() {
    // A window, and what the client's socket and one read of it may hold.
    EXPECT_LE(world_.disk.most_waiting_bytes, world_.disk.options.window_bytes + (128 << 10));
    std::map<std::string, int> copies;
    for (int backend = 1; backend <= 3; ++backend)
      for (const SmtpServer::Message& message : world_.server(backend).messages) {
        const std::string id = message.text.substr(9, 2);
        ++copies[id];
        bool is_known = false;
        for (const Sent& sent : sent_)
          if (sent.id == id) {
            is_known = true;
            EXPECT_EQ(message.text, message.is_chunked ? sent.text : Dotted(sent.text));
            EXPECT_EQ(message.hello, sent.hello);
            EXPECT_TRUE(sent.is_finished) << "a partial message was completed";
            if (sent.reply / 100 == 2) {
              EXPECT_EQ(message.to, sent.to);
            }
          }
        EXPECT_TRUE(is_known) << message.text;
        EXPECT_FALSE(message.to.empty());
      }
    for (const Sent& sent : sent_) {
      EXPECT_LE(copies[sent.id], 1) << "sent to two servers";
      if (sent.reply / 100 == 2) {
        EXPECT_EQ(copies[sent.id], 1) << "250 for a message that nobody has";
      }
    }
  }

  struct Sent {
    std::string id, hello, text;
    std::vector<std::string> to;  // that were accepted
    bool is_finished = false;
    int reply = 0;
  };

  base::SeededRng rng_;
  conf::Protocol protocol_;
  conf::TlsMode front_ = conf::TlsMode::kNone;
  SmtpWorld world_;
  std::vector<Sent> sent_;
  std::string replies_;
  std::string name_;  // of the client that is there
  uint64_t num_clients_ = 1;
  bool is_over_ = false;
  bool is_faulty_ = false;
};

void Simulate(conf::Protocol protocol) {
  const auto meters = std::make_shared<Meters>();
  ForSeeds(1000, [&](uint64_t seed) { Simulation(protocol, seed, meters).Run(); });
}

TEST(SmtpSimTest, Smtp) {
  Simulate(conf::Protocol::kSmtp);
}

TEST(SmtpSimTest, Submission) {
  Simulate(conf::Protocol::kSubmission);
}

TEST(SmtpSimTest, TheSameSeedGivesTheSameBooks) {
  const auto run = [] {
    SmtpWorld world(conf::Protocol::kSmtp, 42);
    world.net.options.cut = SimNet::Cut::kRandom;
    world.Hello();
    const std::string reply = world.Deliver();
    return reply + std::to_string(world.loop.num_steps());
  };
  EXPECT_EQ(run(), run());
}

}  // namespace
}  // namespace postern::test
