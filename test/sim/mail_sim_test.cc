// mail_sim_test: whole IMAP and POP3 sessions on a virtual network and clock, with faults by seed.
//
// What must hold whatever happens: the client hears OK only for the right password, and only after
// a backend has said so; a fault is never told as a wrong password; no backend gets a line that
// Postern did not make; after the login both sides get what the other has sent, in order, once,
// unchanged, all of it where nothing broke; every session ends in time, once, and holds nothing
// (MailWorld checks that when it goes).
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <memory>
#include <string>

#include "test/sim/seeds.h"
#include "test/support/mail_world.h"

namespace postern::test {
namespace {

using conf::ClientAddress;
using conf::Protocol;
using conf::TlsMode;
using Fault = ScriptedBackend::Fault;

class Simulation {
 public:
  Simulation(Protocol protocol, uint64_t seed, const std::shared_ptr<Meters>& meters)
      : rng_(seed * 2654435761U), protocol_(protocol), world_(protocol, seed, meters) {
    world_.checks_metrics = false;
    ChooseNetwork();
    ChooseBackend(0, *world_.b1);
    ChooseBackend(1, *world_.b2);
    password_ = Chance(5) ? "wrong" : "secret";
    front_ = static_cast<TlsMode>(rng_.Below(3));
    world_.listener().tls = front_;
    world_.listener().auth_requires_tls = front_ != TlsMode::kNone;
    world_.is_in_tls = front_ == TlsMode::kImplicit;
  }

  void Run() {
    // A POP3 server does not speak unasked, and is not believed if it does.
    if (Chance(2) && is_imap()) world_.b1->behind_ok = Bytes(1 + rng_.Below(300));
    if (Chance(2)) world_.b2->behind_ok = world_.b1->behind_ok;
    world_.Begin();
    LoseClient();
    if (Talk()) Relay();
    Check();
  }

 private:
  [[nodiscard]] bool Chance(uint64_t one_in) { return rng_.Below(one_in) == 0; }
  [[nodiscard]] bool is_imap() const { return protocol_ == Protocol::kImap; }

  void ChooseNetwork() {
    static constexpr std::array kCuts = {SimCut::kWhole, SimCut::kByByte, SimCut::kRandom,
                                         SimCut::kRandom};
    world_.net.options.cut = kCuts[rng_.Below(kCuts.size())];
    world_.net.options.latency = std::chrono::microseconds(10 + rng_.Below(3000));
    if (Chance(3)) world_.net.options.window_bytes = 256 + rng_.Below(8192);
    if (Chance(4)) world_.listener().limits.buffer = 512 + rng_.Below(4096);
  }

  void ChooseBackend(int index, ScriptedBackend& backend) {
    conf::Endpoint& endpoint = world_.endpoint(index);
    endpoint.tls = static_cast<TlsMode>(rng_.Below(3));
    backend.has_starttls = endpoint.tls == TlsMode::kStartTls;
    backend.is_implicit = endpoint.tls == TlsMode::kImplicit;
    backend.strips_starttls = Chance(20);
    switch (rng_.Below(4)) {
      case 0:
        endpoint.client_address = ClientAddress::kProxyV1;
        break;
      case 1:
        endpoint.client_address = ClientAddress::kProxyV2;
        break;
      case 2:
        endpoint.client_address = is_imap() ? ClientAddress::kImapId : ClientAddress::kXclient;
        break;
      default:
        break;
    }
    backend.expects_proxy = endpoint.client_address == ClientAddress::kProxyV1 ||
                            endpoint.client_address == ClientAddress::kProxyV2;
    if (Chance(3)) {
      backend.fault = static_cast<Fault>(1 + rng_.Below(9));
      backend.fault_at = static_cast<int>(rng_.Below(6));
      is_faulty_ = true;
    }
    if (Chance(6)) {
      backend.breaks_after = {rng_.Below(2000), static_cast<SimSocket::Break>(rng_.Below(3))};
      is_faulty_ = true;
    }
    const auto address =
        *base::SocketAddress::Parse("10.0.0." + std::to_string(index + 1) + ":143");
    if (Chance(12)) {
      world_.net.SetDoor(address, static_cast<SimNet::Door>(1 + rng_.Below(3)));
      is_faulty_ = true;
    }
    if (Chance(20)) {
      world_.net.SetBadCertificate(address, true);
      is_faulty_ = is_faulty_ || endpoint.tls != TlsMode::kNone;
    }
    is_faulty_ = is_faulty_ || backend.strips_starttls;
  }

  void LoseClient() {
    if (!Chance(4)) return;
    is_faulty_ = true;
    SimSocket& socket = world_.client().socket();
    socket.BreakAfter(socket.total_sent_bytes() + rng_.Below(600),
                      static_cast<SimSocket::Break>(rng_.Below(3)));
  }

  // Any bytes but what would be an end: lines, literals, binary.
  std::string Bytes(uint64_t size) {
    std::string bytes;
    while (bytes.size() < size) {
      const uint64_t kind = rng_.Below(6);
      if (kind == 0) {
        bytes += "* " + std::to_string(rng_.Below(1000)) + " EXISTS\r\n";
      } else if (kind == 1) {
        bytes += "* 1 FETCH (X {" + Literal('b') + ")\r\n";
      } else {
        bytes += static_cast<char>('a' + rng_.Below(26));
        if (Chance(20)) bytes += "\r\n";
      }
    }
    return bytes + "\r\n";
  }

  // What a client says after its login, each answered by nobody.
  std::string Commands() {
    std::string commands;
    for (uint64_t n = rng_.Below(5); n > 0; --n) {
      commands += "c" + std::to_string(n);
      if (is_imap() && Chance(3)) {
        commands += " APPEND x {";
        const std::string literal = Literal('l');
        commands += literal.substr(0, literal.find('}')) + "+" + literal.substr(literal.find('}'));
      } else {
        commands += " NOOP " + std::string(rng_.Below(400), 'x');
      }
      commands += "\r\n";
    }
    return commands;
  }

  // From its size on: "3}" CRLF and three bytes, with ends of lines among them.
  std::string Literal(char filling) {
    std::string bytes(rng_.Below(200), filling);
    if (bytes.size() > 9) bytes.replace(rng_.Below(bytes.size() - 9), 9, "\r\n* BYE\r\n");
    return std::to_string(bytes.size()) + "}\r\n" + bytes;
  }

  // Listens until what has come is enough, or nothing can come any more; at most some minutes.
  std::string Await(const std::function<bool(const std::string&)>& is_enough) {
    std::string got = world_.Read();
    for (base::Duration wait = std::chrono::milliseconds(50);
         wait < std::chrono::minutes(4) && !is_enough(got) && !world_.client_sees_end() &&
         world_.session != nullptr;
         wait *= 2) {
      world_.Wait(wait);
      got += world_.Read();
    }
    return got;
  }

  // A whole line begins with this.
  static bool HasLine(const std::string& got, const std::string& begin) {
    const size_t at = got.starts_with(begin) ? 0 : got.find("\n" + begin);
    return at != std::string::npos && got.find('\n', at + 1) != std::string::npos;
  }

  // Up to the login. False: there is none.
  bool Talk() {
    const std::string ok = is_imap() ? "* OK" : "+OK";
    const std::string greeting = Await([&](const auto& got) { return HasLine(got, ok); });
    if (greeting.find("ready") == std::string::npos) return false;
    if (front_ == TlsMode::kStartTls) {
      const std::string go = is_imap() ? "s OK" : "+OK";
      world_.Line(is_imap() ? "s STARTTLS" : "STLS");
      const std::string answer = Await([&](const auto& got) { return HasLine(got, go); });
      if (answer.find("Begin TLS") == std::string::npos) return false;
      world_.StartClientTls();
      (void)Await([&](const auto&) { return world_.client().in_tls(); });
      if (!world_.client().in_tls()) return false;
    }
    // Sometimes all in one packet.
    is_pipelined_ = Chance(3);
    const std::string login = is_imap() ? "a LOGIN alice " + password_ + "\r\n"
                                        : "USER alice\r\nPASS " + password_ + "\r\n";
    if (is_pipelined_) sent_ = Commands();
    world_.Send(login + sent_);
    answer_ = Await([&](const std::string& got) {
      if (is_imap()) return HasLine(got, "a ");
      return HasLine(got, "-ERR") || got.find('\n', got.find('\n') + 1) != std::string::npos;
    });
    return IsOk();
  }

  [[nodiscard]] bool IsOk() const {
    const size_t at = answer_.find("Logged in at ");
    return at != std::string::npos && answer_.find('\n', at) != std::string::npos;
  }

  void Relay() {
    ScriptedBackend& backend = here();
    const std::string bytes = Bytes(rng_.Below(Chance(5) ? 40000 : 500));
    if (backend.num_open() > 0) backend.Say(bytes);
    if (!is_pipelined_) {
      sent_ = Commands();
      if (!world_.client_sees_end()) world_.Send(sent_);
    }
    if (Chance(8) && backend.num_open() > 0) {
      // What it has said before it goes is delivered.
      backend_closes_ = true;
      backend.stream()->ShutdownWrite();
    } else {
      if (Chance(2)) world_.Settle();
      const std::string quit = is_imap() ? "z LOGOUT\r\n" : "QUIT\r\n";
      if (world_.session != nullptr && !world_.client_sees_end()) {
        world_.Send(quit);
        sent_ += quit;
        // Who has nothing to say any more still hears the rest.
        if (Chance(3)) world_.ShutClientWrite();
      }
    }
    answer_ += Await([](const std::string&) { return false; });
    world_.Wait(std::chrono::seconds(5));
    answer_ += world_.Read();
  }

  // The backend that says that it has the session.
  ScriptedBackend& here() {
    return answer_.find("Logged in at b2") != std::string::npos ? *world_.b2 : *world_.b1;
  }

  static bool IsOurs(const std::string& line) {
    for (const char* start :
         {"P1 ", "P2 ", "P3 ", "P4 ", "P5 ", "CAPA", "STLS", "XCLIENT ADDR=192.0.2.7 PORT=4711",
          "USER alice", "PASS secret", "PASS wrong"})
      if (line.starts_with(start)) return true;
    return false;
  }

  // The bytes end with a line, not within a literal.
  static bool IsBetweenLines(const std::string& bytes) {
    size_t at = 0;
    while (at < bytes.size()) {
      const size_t end = bytes.find("\r\n", at);
      if (end == std::string::npos) return false;
      const size_t brace = bytes.rfind('{', end);
      size_t literal = 0;
      if (bytes[end - 1] == '}' && brace != std::string::npos && brace >= at)
        literal = std::stoul(bytes.substr(brace + 1));
      at = end + 2 + literal;
    }
    return at == bytes.size();
  }

  void Check() {
    for (const ScriptedBackend* backend : {world_.b1.get(), world_.b2.get()}) {
      // Where answers have no tags, one too many is taken for that to the next command, which is
      // the backend's own affair; but the other one has no part in it.
      if (!is_imap() && backend->fault == Fault::kInjects && backend->num_connections() > 0) {
        is_out_of_step_ = true;
        continue;
      }
      for (const std::string& line : backend->lines) EXPECT_TRUE(IsOurs(line)) << line;
      // In order, once, unchanged, and only where a login was.
      EXPECT_TRUE(sent_.starts_with(backend->relayed)) << backend->relayed;
      if (backend->logins.empty()) {
        EXPECT_EQ(backend->relayed, "");
      }
    }
    EXPECT_TRUE(world_.b1->relayed.empty() || world_.b2->relayed.empty());
    if (is_out_of_step_) return;
    if (!IsOk()) {
      if (!is_faulty_) {
        // A wrong password is told as one, and nothing but that is.
        EXPECT_NE(password_, "secret") << answer_;
        EXPECT_NE(answer_.find(is_imap() ? "[AUTHENTICATIONFAILED]" : "[AUTH]"), std::string::npos)
            << answer_;
        EXPECT_EQ(world_.auth_failed.size(), 1U);
      } else if (password_ == "secret") {
        EXPECT_EQ(answer_.find("AUTH"), std::string::npos) << answer_;
        EXPECT_TRUE(world_.auth_failed.empty());
      }
      return;
    }
    EXPECT_EQ(password_, "secret");
    ScriptedBackend& backend = here();
    EXPECT_FALSE(backend.logins.empty()) << answer_;
    const std::string got = answer_.substr(answer_.find('\n', answer_.find("Logged in at ")) + 1);
    const std::string all = backend.said.substr(backend.said.find('\n') + 1);
    if (!is_faulty_ && !backend_closes_) {
      EXPECT_EQ(backend.relayed, sent_);
      EXPECT_EQ(got, all);
      EXPECT_TRUE(got.ends_with(is_imap() ? "* BYE bye\r\nz OK done\r\n" : "+OK bye\r\n")) << got;
      return;
    }
    if (!is_faulty_) {
      EXPECT_TRUE(got.starts_with(all)) << got;
    }
    if (all.starts_with(got)) return;
    // All that there is of it, and a goodbye of Postern's, between two lines.
    const size_t last = got.rfind("\r\n", got.size() - 3);
    const size_t line = last == std::string::npos ? 0 : last + 2;
    EXPECT_TRUE(is_imap() && got.substr(line).starts_with("* BYE ") && got.ends_with("\r\n"))
        << got;
    EXPECT_TRUE(all.starts_with(got.substr(0, line))) << got;
    EXPECT_TRUE(IsBetweenLines(got.substr(0, line))) << got;
  }

  base::SeededRng rng_;
  Protocol protocol_;
  MailWorld world_;
  TlsMode front_ = TlsMode::kNone;
  std::string password_, answer_;
  std::string sent_;  // by the client, behind its login
  bool is_faulty_ = false;
  bool is_pipelined_ = false;
  bool backend_closes_ = false;
  bool is_out_of_step_ = false;
};

void Simulate(Protocol protocol) {
  const auto meters = std::make_shared<Meters>();
  ForSeeds(1000, [&](uint64_t seed) { Simulation(protocol, seed, meters).Run(); });
}

TEST(MailSimTest, Imap) {
  Simulate(Protocol::kImap);
}

TEST(MailSimTest, Pop3) {
  Simulate(Protocol::kPop3);
}

}  // namespace
}  // namespace postern::test
