// mail_front_test: IMAP and POP3: a client that fails, floods, dawdles or smuggles in any state.
//
// It is told in its protocol's words or cut off in time, nothing that it hid acts, the log says
// why, memory stays bounded, and no backend sees a login that was not a whole and proper one.
// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <string>
#include <vector>

#include "lb/base/base64.h"
#include "test/matrix/mail_cell.h"

namespace postern::test {
namespace {

using base::SessionResult;
using conf::Protocol;
using conf::TlsMode;

struct State {
  const char* name;
  const char* imap;  // what the client has sent by then; null: there is no such state
  const char* pop3;
  bool is_logged_in = false;
  bool backend_hangs = false;
};

constexpr std::array kStates = {
    State{"greeted", "", ""},
    State{"half a command", "a CAPABI", "CAP"},
    State{"user given", nullptr, "USER alice\r\n"},
    State{"in a literal", "a LOGIN {5}\r\nal", nullptr},
    State{"in a second literal", "a LOGIN alice {6+}\r\nsec", nullptr},
    State{"in quotes", "a LOGIN \"al", nullptr},
    State{"challenged", "a AUTHENTICATE PLAIN\r\n", "AUTH PLAIN\r\n"},
    State{"half a response", "a AUTHENTICATE LOGIN\r\nYWxp", "AUTH LOGIN\r\nYWxp"},
    State{"login under way", "a LOGIN alice secret\r\n", "USER alice\r\nPASS secret\r\n", false,
          true},
    State{"logged in", "a LOGIN alice secret\r\n", "USER alice\r\nPASS secret\r\n", true},
    State{"half a command relayed", "a LOGIN alice secret\r\nb NO",
          "USER alice\r\nPASS secret\r\nNO", true},
    State{"in a relayed literal", "a LOGIN alice secret\r\nb APPEND x {99}\r\nab", nullptr, true},
};

class Cell : public MailCell {
 public:
  using MailCell::MailCell;

  void Enter(const State& state) {
    if (state.backend_hangs) {
      for (ScriptedBackend* backend : {world().b1.get(), world().b2.get()})
        backend->fault = ScriptedBackend::Fault::kHang;
    }
    (void)Begin();
    world().Send(is_imap() ? state.imap : state.pop3);
    if (!state.backend_hangs) {
      got_ = world().Read();
      EXPECT_EQ(world().b1->logins.size(), state.is_logged_in ? 1U : 0U) << got_;
    }
    got_.clear();
    ResetPeakHeap();
    heap_bytes_ = HeapBytes();
    Watch();
  }

  void Wait(base::Duration duration) {
    MailCell::Wait(duration);
    got_ += world().Read();
  }

  // The session has ended; it was told so, or could not be.
  void ExpectOver(SessionResult result, bool wants_word) {
    EXPECT_TRUE(world().client_sees_end());
    ASSERT_EQ(world().accounts.size(), 1U) << "goes on";
    EXPECT_EQ(base::Name(world().accounts[0].cause.result), base::Name(result));
    EXPECT_NE(world().accounts[0].cause.why, "");
    if (wants_word) {
      const size_t last = got_.rfind("\r\n", got_.size() < 3 ? 0 : got_.size() - 3);
      const std::string line = got_.substr(last == std::string::npos ? 0 : last + 2);
      EXPECT_TRUE(line.starts_with(is_imap() ? "* BYE " : "-ERR ")) << got_;
    }
  }

  // Of Postern and of the world around it, beyond what there was when the state was entered.
  void ExpectBounded(size_t num_bytes) const {
    EXPECT_LT(PeakHeapBytes(), heap_bytes_ + num_bytes);
  }

  void ExpectNoLogin() {
    for (const ScriptedBackend* backend : {world().b1.get(), world().b2.get()}) {
      EXPECT_EQ(backend->num_connections(), 0);
      EXPECT_TRUE(backend->logins.empty());
    }
  }

  [[nodiscard]] const std::string& got() const { return got_; }

 private:
  std::string got_;
  size_t heap_bytes_ = 0;
};

template <typename Run>
void ForStates(Cells& cells, const char* fault, const Run& run) {
  ForMailColumns([&](const MailColumn& column) {
    for (const State& state : kStates) {
      if ((column.protocol == Protocol::kImap ? state.imap : state.pop3) == nullptr) continue;
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

TEST(MailFrontMatrixTest, TheClientIsLost) {
  Cells cells("IMAP and POP3 clients that vanish");
  ForStates(cells, "resets", [](Cell& cell, const State& /*state*/) {
    cell.world().ResetClient();
    cell.Wait(std::chrono::seconds(1));
    cell.ExpectOver(SessionResult::kClientLost, false);
    cell.Wait(std::chrono::seconds(60));
    EXPECT_EQ(cell.world().b1->num_open() + cell.world().b2->num_open(), 0);
  });
  ForStates(cells, "closes", [](Cell& cell, const State& /*state*/) {
    cell.world().CloseClient();
    cell.world().Wait(std::chrono::seconds(1));
    ASSERT_EQ(cell.world().accounts.size(), 1U) << "goes on";
    EXPECT_EQ(cell.world().accounts[0].cause.result, SessionResult::kClientLost);
    EXPECT_NE(cell.world().accounts[0].cause.why, "");
  });
}

TEST(MailFrontMatrixTest, TheClientFallsSilent) {
  Cells cells("IMAP and POP3 clients that fall silent");
  ForStates(cells, "silent", [](Cell& cell, const State& state) {
    cell.Wait(state.is_logged_in ? base::Duration(std::chrono::minutes(36))
                                 : base::Duration(std::chrono::seconds(61)));
    // IMAP alone has a word that may come unasked; not within a relayed command's line, though.
    cell.ExpectOver(SessionResult::kIdle, !state.is_logged_in || cell.is_imap());
  });
}

TEST(MailFrontMatrixTest, AByteASecond) {
  Cells cells("IMAP and POP3 clients that send a byte a second");
  ForStates(cells, "a byte a second", [](Cell& cell, const State& state) {
    for (int i = 0; i < 62 && cell.world().session != nullptr; ++i) {
      if (!cell.world().client_sees_end()) cell.world().Send("x");
      cell.Wait(std::chrono::milliseconds(950));
    }
    cell.ExpectBounded(64 << 10);
    if (state.is_logged_in) {
      EXPECT_NE(cell.world().session, nullptr);
    } else {
      EXPECT_EQ(cell.world().session, nullptr) << "the deadline moves";
      ASSERT_EQ(cell.world().accounts.size(), 1U);
      EXPECT_NE(cell.world().accounts[0].cause.why, "");
    }
  });
}

TEST(MailFrontMatrixTest, ALineWithoutEnd) {
  Cells cells("IMAP and POP3 clients whose line has no end");
  const std::string block(16 << 10, 'x');
  ForStates(cells, "endless line", [&](Cell& cell, const State& state) {
    for (int i = 0; i < 64 && !cell.world().client_sees_end(); ++i) {
      if (cell.world().client().Unsent() < block.size()) cell.world().Send(block);
      cell.Wait(std::chrono::milliseconds(1));
      if (i % 16 == 0) cell.Watch();
      if (state.is_logged_in) {  // it is the backend's, which keeps it for the test
        cell.world().b1->relayed.clear();
      }
    }
    cell.ExpectBounded(512 << 10);
    if (state.is_logged_in) return;
    cell.Wait(std::chrono::seconds(61));
    ASSERT_EQ(cell.world().accounts.size(), 1U);
    EXPECT_TRUE(cell.world().client_sees_end());
    EXPECT_NE(cell.world().accounts[0].cause.why, "");
    EXPECT_TRUE(cell.world().b1->logins.empty());
  });
}

// --- bytes that came too early -------------------------------------------------------------------

TEST(MailFrontMatrixTest, NothingIsCarriedAcrossStartTls) {
  Cells cells("IMAP and POP3, bytes behind STARTTLS");
  static constexpr std::array kSmuggled = {
      "z NOOP\r\n", "a LOGIN alice secret\r\n", "USER alice\r\nPASS secret\r\n", "x", "\r\n",
      "\x16"};
  for (const Protocol protocol : {Protocol::kImap, Protocol::kPop3})
    for (const TlsMode back : kTlsModes)
      for (const SimCut cut : {SimCut::kWhole, SimCut::kByByte})
        for (const bool goes_on : {false, true})
          for (const std::string smuggled : kSmuggled)
            cells.Add(
                [&] {
                  Cell cell(cells, {protocol, TlsMode::kStartTls, back});
                  cell.world().net.options.cut = cut;
                  cell.world().Begin();
                  cell.StartWatch();
                  (void)cell.world().Read();
                  cell.world().Send((cell.is_imap() ? "s STARTTLS\r\n" : "STLS\r\n") + smuggled);
                  std::string got = cell.world().Read();
                  if (goes_on && !cell.world().client_sees_end()) {
                    cell.world().StartClientTls();
                    cell.world().Wait(std::chrono::seconds(1));
                  }
                  got += cell.world().Read();
                  // Neither acts nor is answered, in clear or inside.
                  EXPECT_EQ(got.find("z OK"), std::string::npos) << got;
                  EXPECT_EQ(got.find("Send the password"), std::string::npos) << got;
                  cell.ExpectNoLogin();
                  cell.Wait(std::chrono::seconds(15));
                  EXPECT_EQ(cell.world().session, nullptr);
                  ASSERT_EQ(cell.world().accounts.size(), 1U);
                  EXPECT_EQ(cell.world().accounts[0].cause.phase, base::Phase::kTls);
                  EXPECT_NE(cell.world().accounts[0].cause.why, "");
                },
                conf::Name(protocol) == "imap" ? "imap" : "pop3", std::string(conf::Name(back)),
                cut == SimCut::kWhole ? "whole" : "by byte", goes_on ? "hello" : "waits",
                std::to_string(smuggled.size()) + " bytes");
}

TEST(MailFrontMatrixTest, BytesBeforeTheGreetingAreAnsweredBehindIt) {
  Cells cells("IMAP and POP3, bytes before the greeting");
  ForMailColumns([&](const MailColumn& column) {
    cells.Add(
        [&] {
          Cell cell(cells, column);
          cell.world().early = cell.is_imap() ? "e NOOP\r\n" : "CAPA\r\n";
          cell.world().Begin();
          cell.StartWatch();
          const std::string got = cell.world().Read();
          if (cell.is_imap()) {
            EXPECT_TRUE(got.starts_with("* OK ")) << got;
            EXPECT_TRUE(got.ends_with("\r\ne OK Noop completed\r\n")) << got;
          } else {
            EXPECT_TRUE(got.starts_with("+OK ")) << got;
            EXPECT_TRUE(got.ends_with("\r\n.\r\n")) << got;
          }
          cell.ExpectNoLogin();
        },
        NameOf(column));
  });
}

// --- what is hidden in names and passwords -------------------------------------------------------

std::string Literal(const std::string& text, const char* plus) {
  return "{" + std::to_string(text.size()) + plus + "}\r\n" + text;
}

// How a name and a password are put to Postern; the parts are sent one by one.
struct Vehicle {
  const char* name;
  Protocol protocol;
  bool is_one_line;  // CR LF is its end, not hidden in it
  std::vector<std::string> (*parts)(const std::string& user, const std::string& password);
};

std::string Plain(const std::string& user, const std::string& password) {
  return base::Base64Encode(std::string(1, '\0') + user + std::string(1, '\0') + password);
}

using Parts = std::vector<std::string>;
using Text = const std::string&;

const std::array kVehicles = {
    Vehicle{"literals", Protocol::kImap, false,
            [](Text user, Text password) {
              const std::string first = Literal(user, ""), second = Literal(password, "");
              const size_t head = first.find('\n') + 1, next = second.find('\n') + 1;
              return Parts{"a LOGIN " + first.substr(0, head),
                           first.substr(head) + " " + second.substr(0, next),
                           second.substr(next) + "\r\n"};
            }},
    Vehicle{"literals that wait for nothing", Protocol::kImap, false,
            [](Text user, Text password) {
              return Parts{"a LOGIN " + Literal(user, "+") + " " + Literal(password, "+") + "\r\n"};
            }},
    Vehicle{"quoted", Protocol::kImap, true,
            [](Text user, Text password) {
              return Parts{"a LOGIN \"" + user + "\" \"" + password + "\"\r\n"};
            }},
    Vehicle{"atoms", Protocol::kImap, true,
            [](Text user, Text password) {
              return Parts{"a LOGIN " + user + " " + password + "\r\n"};
            }},
    Vehicle{"PLAIN at once", Protocol::kImap, false,
            [](Text user, Text password) {
              return Parts{"a AUTHENTICATE PLAIN " + Plain(user, password) + "\r\n"};
            }},
    Vehicle{"PLAIN", Protocol::kImap, false,
            [](Text user, Text password) {
              return Parts{"a AUTHENTICATE PLAIN\r\n", Plain(user, password) + "\r\n"};
            }},
    Vehicle{"LOGIN", Protocol::kImap, false,
            [](Text user, Text password) {
              return Parts{"a AUTHENTICATE LOGIN\r\n", base::Base64Encode(user) + "\r\n",
                           base::Base64Encode(password) + "\r\n"};
            }},
    Vehicle{"USER and PASS", Protocol::kPop3, true,
            [](Text user, Text password) {
              return Parts{"USER " + user + "\r\n", "PASS " + password + "\r\n"};
            }},
    Vehicle{"PLAIN at once", Protocol::kPop3, false,
            [](Text user, Text password) {
              return Parts{"AUTH PLAIN " + Plain(user, password) + "\r\n"};
            }},
    Vehicle{"PLAIN", Protocol::kPop3, false,
            [](Text user, Text password) {
              return Parts{"AUTH PLAIN\r\n", Plain(user, password) + "\r\n"};
            }},
    Vehicle{"LOGIN", Protocol::kPop3, false,
            [](Text user, Text password) {
              return Parts{"AUTH LOGIN\r\n", base::Base64Encode(user) + "\r\n",
                           base::Base64Encode(password) + "\r\n"};
            }},
};

struct Hidden {
  const char* name;
  std::string bytes;
};

TEST(MailFrontMatrixTest, HiddenControlCharactersReachNobody) {
  const std::array kHidden = {Hidden{"CR", "\r"}, Hidden{"LF", "\n"}, Hidden{"CRLF", "\r\n"},
                              Hidden{"NUL", std::string(1, '\0')},
                              Hidden{"a line", "\r\nz LOGIN bob hunter2\r\n"}};
  Cells cells("IMAP and POP3, CR, LF and NUL in names and passwords");
  for (const Vehicle& vehicle : kVehicles)
    for (const TlsMode front : kTlsModes)
      for (const Hidden& hidden : kHidden)
        for (const bool is_in_user : {true, false}) {
          if (vehicle.is_one_line && hidden.bytes.starts_with("\r\n")) continue;
          for (const size_t at : {size_t{0}, size_t{2}, size_t{99}})
            cells.Add(
                [&] {
                  Cell cell(cells, {vehicle.protocol, front, TlsMode::kNone});
                  (void)cell.Begin();
                  std::string user = "alice", password = "secret";
                  std::string& text = is_in_user ? user : password;
                  text.insert(std::min(at, text.size()), hidden.bytes);
                  std::string got;
                  for (const std::string& part : vehicle.parts(user, password)) {
                    if (!cell.world().client_sees_end()) cell.world().Send(part);
                    cell.world().Wait(std::chrono::seconds(3));
                    cell.Watch();
                    got += cell.world().Read();
                  }
                  EXPECT_EQ(got.find("Logged in"), std::string::npos) << got;
                  EXPECT_TRUE(got.find(cell.is_imap() ? "a NO [AUTH" : "-ERR") !=
                                  std::string::npos ||
                              got.find(" BAD ") != std::string::npos)
                      << got;
                  cell.ExpectNoLogin();
                  // Whoever does it properly is served.
                  if (cell.world().client_sees_end()) return;
                  (void)cell.world().Read();
                  const std::string proper = cell.world().LogIn();
                  EXPECT_NE(proper.find("Logged in at b1"), std::string::npos) << got << proper;
                },
                std::string(conf::Name(vehicle.protocol)), vehicle.name,
                std::string(conf::Name(front)), hidden.name, is_in_user ? "user" : "password",
                std::to_string(at));
        }
}

TEST(MailFrontMatrixTest, LiteralsThatAreTooLong) {
  static constexpr std::array kSizes = {"8193",
                                        "4294967295",
                                        "4294967296",
                                        "4294967301",
                                        "18446744073709551615",
                                        "18446744073709551616",
                                        "18446744073709551621",
                                        "99999999999999999999999999"};
  static constexpr std::array kCommands = {"a LOGIN {", "a LOGIN alice {", "a NOOP {", "a ID {",
                                           "a AUTHENTICATE {"};
  Cells cells("IMAP, literals announced before the login that are too long");
  for (const TlsMode front : kTlsModes)
    for (const std::string size : kSizes)
      for (const std::string command : kCommands)
        for (const std::string plus : {"", "+"})
          cells.Add(
              [&] {
                Cell cell(cells, {Protocol::kImap, front, TlsMode::kNone});
                (void)cell.Begin();
                ResetPeakHeap();
                const size_t heap_bytes = HeapBytes();
                std::string got = cell.world().Ask(command + size + plus + "}");
                EXPECT_EQ(got.find("\n+ "), std::string::npos) << got;
                EXPECT_FALSE(got.starts_with("+")) << got;
                EXPECT_TRUE(got.find("BAD") != std::string::npos ||
                            got.find("BYE") != std::string::npos)
                    << got;
                // As many bytes as a size that wrapped round would want, and a command.
                if (!cell.world().client_sees_end() && plus == "+")
                  got += cell.world().Ask("alice secret\r\nz LOGIN alice secret");
                if (plus == "+") {
                  EXPECT_TRUE(cell.world().client_sees_end()) << "content is taken for commands";
                  cell.ExpectNoLogin();
                }
                EXPECT_LT(PeakHeapBytes(), heap_bytes + (64 << 10));
              },
              std::string(conf::Name(front)), command, size, plus);
}

// RFC 7888: "{n+}" in places where a literal may stand, and in those where none may.
TEST(MailFrontMatrixTest, LiteralsInOddPlaces) {
  const std::array<std::string, 18> kBefore = {"",
                                               "a",
                                               "a ",
                                               "a NOOP",
                                               "a NOOP ",
                                               "a FETCH ",
                                               "a ID ",
                                               "a ID (",
                                               "a LOGIN ",
                                               "a LOGIN x",
                                               "a LOGIN \"x ",
                                               "a LOGIN al\"ice ",
                                               "a AUTHENTICATE ",
                                               "a AUTHENTICATE PLAIN ",
                                               "a AUTHENTICATE PLAIN\r\n",
                                               "a AUTHENTICATE PLAIN\r\nb LOGIN ",
                                               "a LOGIN {2+}\r\nab x",
                                               std::string("a NOOP\0 ", 8)};
  const std::string hidden = "z LOGIN alice secret\r\ny NOOP\r\n";
  Cells cells("IMAP, literals in odd places before the login");
  for (const TlsMode front : kTlsModes)
    for (const SimCut cut : {SimCut::kWhole, SimCut::kByByte})
      for (const std::string& before : kBefore)
        cells.Add(
            [&] {
              Cell cell(cells, {Protocol::kImap, front, TlsMode::kNone});
              (void)cell.Begin();
              cell.world().net.options.cut = cut;
              cell.world().Send(before + "{" + std::to_string(hidden.size()) + "+}\r\n" + hidden +
                                "\r\n");
              cell.world().Wait(std::chrono::seconds(3));
              const std::string got = "\n" + cell.world().Read();
              const bool is_read = got.find("\na OK ID") != std::string::npos;
              EXPECT_TRUE(is_read || got.find(" BAD ") != std::string::npos ||
                          got.find("\na NO ") != std::string::npos)
                  << got;
              EXPECT_EQ(got.find("\nz "), std::string::npos) << got;
              EXPECT_EQ(got.find("\ny "), std::string::npos) << got;
              cell.ExpectNoLogin();
              // Whoever does it properly is served.
              if (cell.world().client_sees_end()) return;
              EXPECT_NE(cell.world().LogIn().find("Logged in at b1"), std::string::npos) << got;
            },
            std::string(conf::Name(front)), cut == SimCut::kWhole ? "whole" : "by byte",
            before.substr(0, before.find('\0')));
}

}  // namespace
}  // namespace postern::test
