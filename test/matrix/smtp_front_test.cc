// smtp_front_test: SMTP and submission: a client that fails, floods, dawdles or smuggles in any
// state.
//
// It is told in its protocol's words or cut off in time, nothing that it hid acts, the log says
// why, memory stays bounded, and no server gets a message that was not finished.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "lb/base/base64.h"
#include "test/matrix/smtp_cell.h"

namespace postern::test {
namespace {

using base::SessionResult;
using conf::Protocol;
using conf::TlsMode;

struct State {
  const char* name;
  const char* sent;  // by then, behind EHLO and the login
  bool is_submission_only = false;
  bool needs_login = true;      // on submission
  bool is_in_text = false;      // lines of a message are being read
  const char* hangs = nullptr;  // the servers' answer that never comes
  bool is_by_bdat = false;
  bool takes_chunks = false;  // the servers
};

constexpr const char* kEnvelope = "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n";
#define POSTERN_ENVELOPE "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n"

constexpr std::array kStates = {
    State{"greeted", "", false, false},
    State{"half a command", "NOO", false, false},
    State{"challenged", "AUTH PLAIN\r\n", true, false},
    State{"half a response", "AUTH LOGIN\r\nYWxp", true, false},
    State{"sender given", "MAIL FROM:<a@x.example>\r\n"},
    State{"recipient given", POSTERN_ENVELOPE},
    State{"recipient under way", POSTERN_ENVELOPE, false, true, false, "RCPT"},
    State{"in the text", POSTERN_ENVELOPE "DATA\r\nSubject: x\r\n", false, true, true},
    State{"half a line of text", POSTERN_ENVELOPE "DATA\r\nSubje", false, true, true},
    State{"half an end of text", POSTERN_ENVELOPE "DATA\r\nSubject: x\r\n.", false, true, true},
    State{"in a chunk", POSTERN_ENVELOPE "BDAT 9000000\r\nSubject: x\r\n", false, true, true,
          nullptr, true, true},
    State{"in a last chunk that goes by DATA", POSTERN_ENVELOPE "BDAT 9000000 LAST\r\nSubject: x",
          false, true, true, nullptr, true},
    State{"between chunks", POSTERN_ENVELOPE "BDAT 12\r\nSubject: x\r\n", false, true, false,
          nullptr, true, true},
    State{"between chunks that go by DATA", POSTERN_ENVELOPE "BDAT 12\r\nSubject: x\r\n", false,
          true, false, nullptr, true},
    State{"in a chunk that is refused", "MAIL FROM:<a@x.example>\r\nBDAT 9000000\r\nx", false, true,
          false, nullptr, true},
    State{"a chunk is not answered", POSTERN_ENVELOPE "BDAT 3 LAST\r\nx\r\n", false, true, false,
          "BDAT", true, true},
};
#undef POSTERN_ENVELOPE

class Cell : public SmtpCell {
 public:
  using SmtpCell::SmtpCell;

  [[nodiscard]] const std::string& got() const { return got_; }

  void LogIn() {
    if (is_submission()) {
      EXPECT_EQ(world().Ask("AUTH PLAIN AGFsaWNlAHNlY3JldA==").substr(0, 4), "235 ");
    }
  }

  void Enter(const State& state) {
    if (state.hangs != nullptr)
      for (int i = 1; i <= 2; ++i) world().server(i).answers[state.hangs] = "hang";
    if (state.takes_chunks)
      for (int i = 1; i <= 2; ++i) world().server(i).keywords.emplace_back("CHUNKING");
    Begin();
    if (state.needs_login) LogIn();
    world().Send(state.sent);
    const std::string answers = world().Read();
    EXPECT_EQ(answers.find("354 ") != std::string::npos, state.is_in_text && !state.is_by_bdat)
        << answers;
    ResetPeakHeap();
    heap_bytes_ = HeapBytes();
    Watch();
  }

  void Wait(base::Duration duration) {
    SmtpCell::Wait(duration);
    got_ += world().Read();
  }

  // The session has ended; it was told so, or could not be.
  void ExpectOver() {
    EXPECT_EQ(world().session, nullptr) << "goes on";
    ASSERT_EQ(world().accounts.size(), 1U);
    EXPECT_NE(world().accounts[0].cause.why, "");
    ExpectNoMessage();
  }

  void ExpectBounded(size_t num_bytes) const {
    EXPECT_LT(PeakHeapBytes(), heap_bytes_ + num_bytes);
  }

  void ExpectNoMessage() {
    for (int i = 1; i <= 3; ++i) EXPECT_TRUE(world().server(i).messages.empty());
  }

 private:
  std::string got_;
  size_t heap_bytes_ = 0;
};

template <typename Run>
void ForStates(Cells& cells, const char* fault, const Run& run) {
  ForSmtpColumns([&](const SmtpColumn& column) {
    for (const State& state : kStates) {
      if (state.is_submission_only && column.protocol != Protocol::kSubmission) continue;
      cells.Add(
          [&] {
            Cell cell(cells, column);
            cell.Enter(state);
            run(cell, state);
          },
          NameOf(column), state.name, fault);
    }
  });
}

TEST(SmtpFrontMatrixTest, TheClientIsLost) {
  Cells cells("SMTP and submission clients that vanish");
  ForStates(cells, "resets", [](Cell& cell, const State& /*state*/) {
    cell.world().client().Reset();
    cell.world().Wait(std::chrono::seconds(1));
    cell.ExpectOver();
    EXPECT_EQ(cell.world().accounts[0].cause.result, SessionResult::kClientLost);
    cell.Wait(std::chrono::seconds(60));
    EXPECT_EQ(cell.world().server(1).num_open() + cell.world().server(2).num_open(), 0);
  });
  ForStates(cells, "closes", [](Cell& cell, const State& state) {
    cell.world().client().CloseGently();
    // What is under way at a server is waited for, as a client that closes its side may still read.
    cell.Wait(state.hangs != nullptr ? base::Duration(std::chrono::minutes(10))
                                     : base::Duration(std::chrono::seconds(1)));
    cell.ExpectOver();
    EXPECT_EQ(cell.world().accounts[0].cause.result, SessionResult::kClientLost);
  });
}

TEST(SmtpFrontMatrixTest, TheClientFallsSilent) {
  Cells cells("SMTP and submission clients that fall silent");
  ForStates(cells, "silent", [](Cell& cell, const State& /*state*/) {
    cell.Wait(std::chrono::minutes(11));
    EXPECT_TRUE(cell.world().client_sees_end());
    EXPECT_NE(("\n" + cell.got()).find("\n421 4.4.2 "), std::string::npos) << cell.got();
    cell.ExpectOver();
    EXPECT_EQ(cell.world().accounts[0].cause.result, SessionResult::kIdle);
  });
}

TEST(SmtpFrontMatrixTest, AByteASecond) {
  Cells cells("SMTP and submission clients that send a byte a second");
  ForStates(cells, "a byte a second", [](Cell& cell, const State& /*state*/) {
    // The login (submission: a minute), a command, a line of text (five), or a recipient's verdict
    // from servers that give none and a command after that.
    for (int i = 0; i < 1000 && cell.world().session != nullptr; ++i) {
      if (!cell.world().client_sees_end()) cell.world().Send("x");
      cell.Wait(std::chrono::milliseconds(950));
    }
    cell.ExpectBounded(192 << 10);  // most of it is the bystander's
    EXPECT_TRUE(cell.world().client_sees_end());
    cell.ExpectOver();
  });
}

TEST(SmtpFrontMatrixTest, ALineWithoutEnd) {
  Cells cells("SMTP and submission clients whose line has no end");
  const std::string block(16 << 10, 'x');
  ForStates(cells, "endless line", [&](Cell& cell, const State& state) {
    // The servers keep what they read; here one reads no line before it ends.
    for (int i = 0; i < 64 && !cell.world().client_sees_end(); ++i) {
      if (cell.world().client().Unsent() < block.size()) cell.world().Send(block);
      cell.Wait(std::chrono::milliseconds(1));
      if (i % 16 == 0) cell.Watch();
    }
    // 1 MB was offered: what is kept of it is the replay memory, the buffers and the sockets.
    cell.ExpectBounded(state.is_in_text ? 2 << 20 : 512 << 10);
    cell.Wait(std::chrono::minutes(11));
    cell.ExpectOver();
  });
}

// --- bytes that came too early -------------------------------------------------------------------

TEST(SmtpFrontMatrixTest, NothingIsCarriedAcrossStartTls) {
  Cells cells("SMTP and submission, bytes behind STARTTLS");
  static constexpr std::array kSmuggled = {
      "NOOP\r\n", "EHLO evil.example\r\nMAIL FROM:<e@x.example>\r\n", "RSET\r\n", "x", "\r\n",
      "\x16"};
  for (const Protocol protocol : {Protocol::kSmtp, Protocol::kSubmission})
    for (const TlsMode back : kTlsModes)
      for (const SimCut cut : {SimCut::kWhole, SimCut::kByByte})
        for (const bool goes_on : {false, true})
          for (const std::string smuggled : kSmuggled)
            cells.Add(
                [&] {
                  Cell cell(cells, {protocol, TlsMode::kStartTls, back});
                  SmtpWorld& world = cell.world();
                  world.net.options.cut = cut;
                  world.Begin();
                  cell.StartWatch();
                  (void)world.Ask("EHLO client.example");
                  world.Send("STARTTLS\r\n" + smuggled);
                  std::string got = world.Read();
                  if (goes_on && !world.client_sees_end()) {
                    world.StartClientTls();
                    world.Wait(std::chrono::seconds(1));
                  }
                  got += world.Read();
                  EXPECT_TRUE(got.starts_with("220 ") || got.starts_with("501 ")) << got;
                  // One answer, and none to what was smuggled, but a TLS alert.
                  got.erase(std::min(got.size(), got.find('\x15')));
                  EXPECT_EQ(got.find("\r\n"), got.size() - 2) << got;
                  cell.Wait(std::chrono::seconds(15));
                  cell.ExpectOver();
                  EXPECT_EQ(world.accounts[0].cause.phase, base::Phase::kTls);
                },
                std::string(conf::Name(protocol)), std::string(conf::Name(back)),
                cut == SimCut::kWhole ? "whole" : "by byte", goes_on ? "hello" : "waits",
                std::to_string(smuggled.size()) + " bytes");
}

TEST(SmtpFrontMatrixTest, BytesBeforeTheGreeting) {
  Cells cells("SMTP and submission, bytes before the greeting");
  ForSmtpColumns([&](const SmtpColumn& column) {
    for (const std::string early : {"EHLO client.example\r\n", "x", "\r\n", "GET / HTTP/1.1\r\n"})
      for (const bool has_delay : {true, false})
        cells.Add(
            [&] {
              Cell cell(cells, column);
              SmtpWorld& world = cell.world();
              world.early = early;
              if (has_delay) world.listener().greet_delay = std::chrono::seconds(2);
              world.Begin();
              cell.StartWatch();
              cell.Wait(std::chrono::seconds(5));
              if (!has_delay) {
                // Nobody has listened for them: they are the first command, behind the greeting.
                EXPECT_TRUE(cell.got().starts_with("220 ")) << cell.got();
                return;
              }
              EXPECT_TRUE(cell.got().starts_with("554 5.5.1 ")) << cell.got();
              EXPECT_EQ(cell.got().find("\r\n"), cell.got().size() - 2) << cell.got();
              EXPECT_TRUE(world.client_sees_end());
              cell.ExpectOver();
              EXPECT_EQ(world.accounts[0].cause.result, SessionResult::kProtocolError);
            },
            NameOf(column), early.substr(0, 4), has_delay ? "listened for" : "not listened for");
  });
}

// --- what is hidden in commands and texts --------------------------------------------------------

struct Hidden {
  const char* name;
  std::string bytes;
};

const std::array kHidden = {Hidden{"CR", "\r"}, Hidden{"LF", "\n"},
                            Hidden{"NUL", std::string(1, '\0')}};

TEST(SmtpFrontMatrixTest, HiddenControlCharactersReachNoServer) {
  struct Place {
    const char* name;
    const char* before;  // what leads there
    const char* command;
    size_t at;  // where in the command
  };
  static constexpr std::array kPlaces = {
      Place{"EHLO", "", "EHLO client.example", 8},
      Place{"HELO", "", "HELO client.example", 8},
      Place{"MAIL", "", "MAIL FROM:<a@x.example>", 12},
      Place{"MAIL's domain", "", "MAIL FROM:<a@x.example>", 16},
      Place{"MAIL's parameter", "", "MAIL FROM:<a@x.example> SIZE=10", 29},
      Place{"RCPT", "MAIL FROM:<a@x.example>\r\n", "RCPT TO:<b@y.example>", 10},
      Place{"RCPT, quoted", "MAIL FROM:<a@x.example>\r\n", "RCPT TO:<\"b c\"@y.example>", 11},
      Place{"VRFY", "", "VRFY alice", 7},
      Place{"NOOP", "", "NOOP alice", 7},
  };
  Cells cells("SMTP and submission, CR, LF and NUL in commands");
  ForSmtpColumns([&](const SmtpColumn& column) {
    for (const Place& place : kPlaces)
      for (const Hidden& hidden : kHidden)
        cells.Add(
            [&] {
              Cell cell(cells, column);
              SmtpWorld& world = cell.world();
              cell.Begin();
              cell.LogIn();
              world.Send(place.before);
              (void)world.Read();
              std::string command = place.command;
              command.insert(place.at, hidden.bytes);
              const std::string got = world.Ask(command);
              EXPECT_TRUE(got.starts_with("5")) << got;
              (void)(world.client_sees_end() ? "" : world.Ask("RSET"));
              for (int i = 1; i <= 3; ++i)
                for (const std::string& line : world.server(i).lines) {
                  EXPECT_EQ(line.find_first_of(std::string("\r\n\0", 3)), std::string::npos)
                      << line;
                  EXPECT_FALSE(line.starts_with(command.substr(place.at + hidden.bytes.size())))
                      << line;
                }
              // Whoever does it properly is served.
              if (world.client_sees_end()) return;
              EXPECT_EQ(world.Deliver(), "250 250 354 250");
            },
            NameOf(column), place.name, hidden.name);
  });
}

TEST(SmtpFrontMatrixTest, HiddenControlCharactersInCredentials) {
  Cells cells("submission, CR, LF and NUL in names and passwords");
  for (const TlsMode front : kTlsModes)
    for (const std::string mechanism : {"PLAIN at once", "PLAIN", "LOGIN"})
      for (const Hidden& hidden : kHidden)
        for (const bool is_in_user : {true, false})
          for (const size_t at : {size_t{0}, size_t{2}, size_t{99}})
            cells.Add(
                [&] {
                  Cell cell(cells, {Protocol::kSubmission, front, TlsMode::kNone});
                  SmtpWorld& world = cell.world();
                  cell.Begin();
                  std::string user = "alice", password = "secret";
                  std::string& text = is_in_user ? user : password;
                  text.insert(std::min(at, text.size()), hidden.bytes);
                  const std::string zero(1, '\0');
                  const std::string plain = base::Base64Encode(zero + user + zero + password);
                  std::string got;
                  if (mechanism == "PLAIN at once") {
                    got = world.Ask("AUTH PLAIN " + plain);
                  } else if (mechanism == "PLAIN") {
                    (void)world.Ask("AUTH PLAIN");
                    got = world.Ask(plain);
                  } else {
                    (void)world.Ask("AUTH LOGIN");
                    (void)world.Ask(base::Base64Encode(user));
                    got = world.client_sees_end() ? "5" : world.Ask(base::Base64Encode(password));
                  }
                  world.Wait(std::chrono::seconds(3));
                  got += world.Read();
                  EXPECT_TRUE(got.starts_with("5")) << got;
                  EXPECT_EQ(got.find("235"), std::string::npos) << got;
                  EXPECT_EQ(world.server(1).num_connections, 0);
                },
                std::string(conf::Name(front)), mechanism, hidden.name,
                is_in_user ? "user" : "password", std::to_string(at));
}

TEST(SmtpFrontMatrixTest, BareLineEndsInAText) {
  static constexpr std::array<const char*, 8> kEnds = {"\n.\n",   "\n.\r\n", "\r\n.\n", "\r.\r",
                                                       "\r\n.\r", "\r.\r\n", "x\ny",    "x\ry"};
  Cells cells("SMTP and submission, bare CR and LF in a text");
  ForSmtpColumns([&](const SmtpColumn& column) {
    for (const SimCut cut : {SimCut::kWhole, SimCut::kByByte})
      for (const std::string end : kEnds)
        cells.Add(
            [&] {
              Cell cell(cells, column);
              SmtpWorld& world = cell.world();
              world.net.options.cut = cut;
              cell.Begin();
              cell.LogIn();
              world.Send(std::string(kEnvelope) + "DATA\r\n");
              ASSERT_NE(world.Read().find("354 "), std::string::npos);
              // What a server that takes it for the end would run.
              world.Send("first" + end + "MAIL FROM:<evil@x.example>\r\nsecond\r\n.\r\n");
              const std::string got = world.Read();
              EXPECT_TRUE(got.starts_with("550 5.6.11 ")) << got;
              EXPECT_EQ(got.find("\r\n"), got.size() - 2) << got;
              cell.ExpectNoMessage();
              EXPECT_EQ(world.Deliver(), "250 250 354 250");
            },
            NameOf(column), cut == SimCut::kWhole ? "whole" : "by byte", base::Base64Encode(end));
  });
}

}  // namespace
}  // namespace postern::test
