// lmtp_sim_test: whole LMTP sessions on a virtual network and clock, with faults by seed: of one
// home and of several, where users may be anywhere, each at one member, or move with the message.
//
// What must hold whatever happens: a recipient who is answered 250 behind the text has the message
// once, whole, at home and nowhere else; nobody has it twice, nor without that the client has
// finished it; there is one reply for each command, and behind the text one for each recipient that
// was accepted; where nothing is broken all is delivered; the lines of the log name as delivered
// whom the client heard 250 for, and nobody else.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
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
  Simulation(uint64_t seed, const std::shared_ptr<Meters>& meters)
      : rng_(seed * 2654435761U), world_(conf::Protocol::kLmtp, seed, meters) {
    world_.checks_metrics = false;
    ChooseNetwork();
    ChooseHomes();
    if (rng_.Below(4) > 0)
      for (int backend = 1; backend <= 3; ++backend) ChooseFault(backend);
  }

  void Run() {
    world_.Begin();
    ScheduleLoss();
    if (Gets(220, WaitReply()) && Gets(250, Ask("LHLO client.example"))) {
      const uint64_t num_messages = 1 + rng_.Below(4);
      for (uint64_t i = 0; i < num_messages && !is_over_; ++i) Deliver(i);
      if (!is_over_ && rng_.Below(4) > 0) (void)Gets(221, Ask("QUIT"));
    }
    world_.client().Close();
    world_.Wait(std::chrono::minutes(15));
    Check();
  }

 private:
  struct Recipient {
    std::string address;
    int verdict = 0;  // to RCPT
    int reply = 0;    // to the text; 0: none came
  };
  struct Sent {
    std::string id, text;
    std::vector<Recipient> to;
    bool is_finished = false;
  };

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
    world_.config.smtp.retries = static_cast<uint32_t>(rng_.Below(3));
    if (rng_.Below(6) == 0) world_.is_short_of_buffers = true;
    for (int backend = 1; backend <= 3; ++backend) {
      auto& keywords = world_.server(backend).keywords;
      if (rng_.Below(3) == 0) keywords.erase(keywords.begin());  // PIPELINING
      if (rng_.Below(2) == 0) keywords.push_back("CHUNKING");
    }
  }

  void ChooseHomes() {
    static constexpr conf::Storage kStorages[] = {conf::Storage::kShared, conf::Storage::kUnset,
                                                  conf::Storage::kExclusive};
    world_.config.pools[0].storage = kStorages[rng_.Below(3)];
    if (rng_.Below(4) > 0) return;
    world_.config.routes[0].rules.front().action = conf::Rule::ToPool{"p"};
    is_away_at_p_ = true;
  }

  void ChooseFault(int backend) {
    static constexpr const char* kPlaces[] = {"GREETING",    "EHLO", "MAIL", "RCPT", "RCPT TO:<r1@",
                                              "RCPT TO:<r3", "DATA", "BDAT", ".",    ".r0",
                                              ".r2",         "RSET"};
    static constexpr const char* kFaults[] = {
        "hang",           "reset",           "close",
        "421 4.3.2 busy", "451 4.3.0 later", "452 4.5.3 too many",
        "550 5.7.1 no",   "nonsense"};
    if (rng_.Below(2) == 0) return;
    is_faulty_ = true;
    world_.server(backend).answers[kPlaces[rng_.Below(12)]] = kFaults[rng_.Below(8)];
  }

  // Either side breaks at some byte, at some time.
  void ScheduleLoss() {
    if (rng_.Below(3) > 0) return;
    is_faulty_ = true;
    const auto when = std::chrono::microseconds(rng_.Below(200'000));
    const int who = static_cast<int>(rng_.Below(4));
    const uint64_t bytes = rng_.Below(3000);
    world_.loop.Schedule(when, [this, who, bytes] {
      SimStream* stream = who == 0 ? &world_.client() : world_.server(who).stream();
      if (stream == nullptr) return;
      SimSocket& socket = stream->socket();
      socket.BreakAfter(socket.total_sent_bytes() + bytes,
                        rng_.Below(2) == 0 ? SimSocket::Break::kReset : SimSocket::Break::kFin);
    });
  }

  void Deliver(uint64_t number) {
    Sent& sent = sent_.emplace_back();
    sent.id = "m" + std::to_string(number);
    sent.text = "Subject: " + sent.id + "\r\n\r\n";
    for (uint64_t i = rng_.Below(rng_.Below(40) == 0 ? 4000 : 60); i > 0; --i) {
      static constexpr const char* kLines[] = {".", ".dot", "", "plain words", "x."};
      sent.text += kLines[rng_.Below(5)];
      sent.text += "\r\n";
    }
    for (uint64_t i = 0, count = 1 + rng_.Below(6); i < count; ++i)
      sent.to.push_back({"r" + std::to_string(i) + "@" +
                         (rng_.Below(8) == 0   ? "nowhere.example"
                          : rng_.Below(3) == 0 ? "away.example"
                                               : "y.example")});
    const bool is_chunked = rng_.Below(3) == 0;
    const bool is_pipelined = rng_.Below(3) > 0;
    std::vector<std::string> commands = {"MAIL FROM:<a@x.example>\r\n"};
    for (const Recipient& each : sent.to) commands.push_back("RCPT TO:<" + each.address + ">\r\n");
    if (!is_chunked) commands.emplace_back("DATA\r\n");
    if (is_pipelined)
      for (const std::string& command : commands) Send(command);
    std::vector<int> codes;
    for (const std::string& command : commands) {
      if (!is_pipelined) Send(command);
      codes.push_back(WaitReply());
      if (is_over_) return;
    }
    size_t num_accepted = 0;
    for (size_t i = 0; i < sent.to.size(); ++i) {
      sent.to[i].verdict = codes[i + 1];
      EXPECT_TRUE(codes[i + 1] / 100 == 2 || codes[i + 1] / 100 == 4 || codes[i + 1] / 100 == 5);
      num_accepted += codes[i + 1] / 100 == 2 ? 1 : 0;
    }
    if (is_chunked) {
      if (num_accepted == 0) return (void)Ask("RSET");
      return Finish(sent, "BDAT " + std::to_string(sent.text.size()) + " LAST\r\n" + sent.text);
    }
    if (codes.back() != 354) {
      EXPECT_EQ(num_accepted == 0, codes.back() == 503) << codes.back();
      EXPECT_TRUE(is_faulty_ || num_accepted == 0);
      return;
    }
    EXPECT_GT(num_accepted, 0U) << "354 without a recipient";
    Finish(sent, Dotted(sent.text) + ".\r\n");
  }

  // Sends the text, or goes away in the middle.
  void Finish(Sent& sent, const std::string& bytes) {
    if (rng_.Below(12) == 0) {
      Send(bytes.substr(0, rng_.Below(bytes.size())));
      world_.client().CloseGently();
      is_over_ = true;
      return;
    }
    sent.is_finished = true;
    Send(bytes);
    for (Recipient& each : sent.to) {
      if (each.verdict / 100 != 2) continue;
      each.reply = WaitReply();
      if (is_over_) return;
      (void)Gets(250, each.reply);
      EXPECT_TRUE(each.reply / 100 == 2 || each.reply / 100 == 4 || each.reply / 100 == 5);
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
      for (size_t end = 0; (end = replies_.find("\r\n", at)) != std::string::npos; at = end + 2) {
        if (replies_.compare(at + 3, 1, "-") == 0) continue;
        const int code = std::atoi(replies_.substr(at, 3).c_str());
        replies_.erase(0, end + 2);
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

  [[nodiscard]] bool IsHome(const std::string& address, int backend) const {
    const bool is_away = !is_away_at_p_ && address.ends_with("@away.example");
    return is_away == (backend == 3) && !address.ends_with("@nowhere.example");
  }

  void Check() {
    std::map<std::string, int> copies;  // of "m0 r1@y.example"
    for (int backend = 1; backend <= 3; ++backend)
      for (const SmtpServer::Message& message : world_.server(backend).messages) {
        const std::string id = message.text.substr(9, 2);
        const auto sent = std::find_if(sent_.begin(), sent_.end(),
                                       [&id](const Sent& each) { return each.id == id; });
        ASSERT_NE(sent, sent_.end()) << message.text;
        EXPECT_TRUE(sent->is_finished) << "a partial message was completed";
        EXPECT_EQ(message.text, message.is_chunked ? sent->text : Dotted(sent->text));
        EXPECT_FALSE(message.to.empty());
        for (const std::string& address : message.to) {
          EXPECT_TRUE(IsHome(address, backend)) << address << " at " << backend;
          EXPECT_EQ(++copies[id + " " + address], 1) << "twice: " << id << " " << address;
        }
      }
    const std::map<std::string, int> delivered = Delivered();
    for (const Sent& sent : sent_)
      for (const Recipient& each : sent.to) {
        const std::string name = sent.id + " " + each.address;
        const int books = delivered.contains(name) ? delivered.at(name) : 0;
        EXPECT_LE(books, 1) << name;
        if (each.reply / 100 == 2) {
          EXPECT_EQ(copies[name], 1) << "250 for what nobody has: " << name;
          EXPECT_EQ(books, 1) << "not written down: " << name;
        } else if (each.reply != 0 || each.verdict / 100 != 2) {
          EXPECT_EQ(books, 0) << "written down as delivered: " << name;
        }
      }
  }

  // By the lines of the log.
  std::map<std::string, int> Delivered() {
    std::map<std::string, int> delivered;
    for (const metrics::TransactionAccount& line : world_.transactions) {
      if (!line.reply.starts_with('2') && line.refused.empty()) continue;
      for (const std::string& address : line.to)
        if (std::find(line.refused.begin(), line.refused.end(), address) == line.refused.end())
          ++delivered["m" + std::to_string(line.transaction - 1) + " " + address];
    }
    return delivered;
  }

  base::SeededRng rng_;
  SmtpWorld world_;
  std::vector<Sent> sent_;
  std::string replies_;
  bool is_away_at_p_ = false;
  bool is_over_ = false;
  bool is_faulty_ = false;
};

TEST(LmtpSimTest, EachRecipientHasTheMessageItWasToldOf) {
  const auto meters = std::make_shared<Meters>();
  ForSeeds(1000, [&](uint64_t seed) { Simulation(seed, meters).Run(); });
}

}  // namespace
}  // namespace postern::test
