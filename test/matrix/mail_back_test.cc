// mail_back_test: IMAP and POP3: a backend that fails in any way at any of its answers.
//
// With a second backend that is well, the client logs in there; where both fail alike, it hears its
// protocol's word for "later", never that its password is wrong; the log says which backend, where
// and why; no try costs more than its deadlines.
// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <string>
#include <vector>

#include "test/matrix/mail_cell.h"

namespace postern::test {
namespace {

using conf::ClientAddress;
using conf::Protocol;
using conf::TlsMode;
using Fault = ScriptedBackend::Fault;

struct FaultRow {
  const char* name;
  Fault fault;
  bool is_hard;  // nobody can go on from there
};

constexpr std::array kFaults = {
    FaultRow{"hangs", Fault::kHang, true},         FaultRow{"resets", Fault::kReset, true},
    FaultRow{"closes", Fault::kClose, true},       FaultRow{"half a line", Fault::kHalfLine, true},
    FaultRow{"garbage", Fault::kGarbage, true},    FaultRow{"endless line", Fault::kEndless, true},
    FaultRow{"busy", Fault::kBusy, true},          FaultRow{"later", Fault::kTempFail, false},
    FaultRow{"says more", Fault::kInjects, false},
};

struct DoorRow {
  const char* name;
  SimNet::Door door;
  bool has_bad_certificate;
};

constexpr std::array kDoors = {
    DoorRow{"refuses", SimNet::Door::kRefuses, false},
    DoorRow{"does not answer", SimNet::Door::kHangs, false},
    DoorRow{"wrong certificate", SimNet::Door::kOpen, true},
};

constexpr std::array kAddressModes = {ClientAddress::kNone, ClientAddress::kProxyV2,
                                      ClientAddress::kImapId};

class Cell : public MailCell {
 public:
  using MailCell::MailCell;

  // The answer to alice's login, whenever it comes.
  std::string LogIn() {
    const base::MonoTime began = world().loop.Now();
    std::string answer = world().LogIn();
    Watch();
    while (answer.find('\n') == std::string::npos && !world().client_sees_end() &&
           world().loop.Now() - began < std::chrono::minutes(2)) {
      Wait(std::chrono::seconds(1));
      answer += world().Read();
    }
    // Each endpoint: connect, greeting (or TLS in its stead), auth; and a second of ours.
    EXPECT_LE(world().loop.Now() - began,
              2 * std::chrono::seconds(3 + 10 + 20) + std::chrono::seconds(1));
    return answer;
  }

  void ExpectLater(const std::string& answer) const {
    EXPECT_EQ(answer, is_imap() ? "a1 NO [UNAVAILABLE] Temporarily unavailable, try again later\r\n"
                                : "-ERR [SYS/TEMP] Temporarily unavailable, try again later\r\n");
  }

  // The client leaves; the log tells of the backend that failed last.
  void ExpectBlamed(const std::string& backend) {
    (void)world().Ask(is_imap() ? "z LOGOUT" : "QUIT");
    world().Wait(std::chrono::seconds(5));
    ASSERT_EQ(world().accounts.size(), 1U);
    EXPECT_NE(world().accounts[0].cause.why.find(backend + " "), std::string::npos)
        << world().accounts[0].cause.why;
    EXPECT_TRUE(world().auth_failed.empty());
  }

  void ExpectLoggedInAt(const std::string& name, const std::string& answer) {
    EXPECT_NE(answer.find("Logged in at " + name), std::string::npos) << answer;
    const ScriptedBackend& backend = name == "b1" ? *world().b1 : *world().b2;
    EXPECT_EQ(backend.logins, std::vector<std::string>{"alice"});
    EXPECT_TRUE((name == "b1" ? *world().b2 : *world().b1).relayed.empty());
    const std::string bye = world().Ask(is_imap() ? "z LOGOUT" : "QUIT");
    EXPECT_NE(bye.find(is_imap() ? "z OK" : "+OK bye"), std::string::npos) << bye;
    world().Wait(std::chrono::seconds(5));
    ASSERT_EQ(world().accounts.size(), 1U);
    EXPECT_EQ(world().accounts[0].backend, name);
    EXPECT_EQ(world().accounts[0].cause.result, base::SessionResult::kClientQuit);
  }
};

// What a well backend is asked before and with the login, in order, each to be answered.
std::vector<std::string> AnswersOf(Cells& cells, const MailColumn& column) {
  Cell cell(cells, column);
  cell.Begin();
  EXPECT_NE(cell.LogIn().find("Logged in at b1"), std::string::npos);
  std::vector<std::string> answers = {"greeting"};
  for (const std::string& line : cell.world().b1->lines)
    answers.push_back(line.substr(0, line.find(' ', 3)));
  return answers;
}

template <typename Function>
void ForColumns(const Function& function) {
  ForMailColumns([&](MailColumn column) {
    for (const ClientAddress told : kAddressModes) {
      column.told = told;
      function(column);
    }
  });
}

TEST(MailBackMatrixTest, AnAnswerFailsAndTheOtherBackendTakesTheLogin) {
  Cells cells("IMAP and POP3 backends, a fault at an answer, another backend is well");
  ForColumns([&](const MailColumn& column) {
    const std::vector<std::string> answers = AnswersOf(cells, column);
    for (size_t i = 0; i < answers.size(); ++i)
      for (const FaultRow& row : kFaults)
        cells.Add(
            [&] {
              Cell cell(cells, column);
              cell.world().b1->fault = row.fault;
              cell.world().b1->fault_at = static_cast<int>(i);
              cell.Begin();
              const std::string answer = cell.LogIn();
              // More behind the go-ahead for TLS is never carried across.
              const bool is_hard =
                  row.is_hard || answers[i].ends_with("STARTTLS") || answers[i] == "STLS";
              const bool is_at_b1 = answer.find("at b1") != std::string::npos;
              if (is_at_b1 && !is_hard) return;
              cell.ExpectLoggedInAt("b2", answer);
            },
            NameOf(column), answers[i], row.name);
  });
}

TEST(MailBackMatrixTest, AllBackendsFailAtAnAnswer) {
  Cells cells("IMAP and POP3 backends, a fault at an answer, all alike");
  ForColumns([&](const MailColumn& column) {
    const std::vector<std::string> answers = AnswersOf(cells, column);
    for (size_t i = 0; i < answers.size(); ++i)
      for (const FaultRow& row : kFaults)
        cells.Add(
            [&] {
              Cell cell(cells, column);
              for (ScriptedBackend* backend : {cell.world().b1.get(), cell.world().b2.get()}) {
                backend->fault = row.fault;
                backend->fault_at = static_cast<int>(i);
              }
              cell.Begin();
              const std::string answer = cell.LogIn();
              const bool is_hard =
                  row.is_hard || answers[i].ends_with("STARTTLS") || answers[i] == "STLS";
              if (!is_hard && answer.find("Logged in at b1") != std::string::npos) return;
              cell.ExpectLater(answer);
              cell.ExpectBlamed("b2");
            },
            NameOf(column), answers[i], row.name);
  });
}

TEST(MailBackMatrixTest, TheDoorIsShut) {
  Cells cells("IMAP and POP3 backends that cannot be reached or trusted");
  ForColumns([&](const MailColumn& column) {
    for (const DoorRow& row : kDoors) {
      if (row.has_bad_certificate && column.back == TlsMode::kNone) continue;
      for (const bool is_alone : {false, true})
        cells.Add(
            [&] {
              Cell cell(cells, column);
              cell.Begin();
              cell.Break(1, row.door, row.has_bad_certificate);
              if (is_alone) cell.Break(2, row.door, row.has_bad_certificate);
              const std::string answer = cell.LogIn();
              if (is_alone) {
                cell.ExpectLater(answer);
                cell.ExpectBlamed("b2");
              } else {
                cell.ExpectLoggedInAt("b2", answer);
              }
              // No password went where nobody can be trusted.
              EXPECT_TRUE(cell.world().b1->logins.empty());
            },
            NameOf(column), row.name, is_alone ? "both" : "one");
    }
  });
}

TEST(MailBackMatrixTest, ABackendDiesUnderItsSession) {
  struct End {
    const char* name;
    void (*act)(MailWorld&);
    bool is_at_once;
  };
  static constexpr std::array kEnds = {
      End{"resets", [](MailWorld& world) { world.b1->stream()->Reset(); }, true},
      End{"closes", [](MailWorld& world) { world.b1->stream()->CloseGently(); }, true},
      End{"hangs", [](MailWorld& world) { world.b1->stream()->Hang(); }, false},
  };
  static constexpr std::array<const char*, 3> kSaid = {"", "* 1 FETCH (X {9}\r\nabc", "* half"};
  Cells cells("IMAP and POP3 backends that die under a session");
  ForColumns([&](const MailColumn& column) {
    for (const End& end : kEnds)
      for (const std::string said : kSaid)
        cells.Add(
            [&] {
              Cell cell(cells, column);
              MailWorld& world = cell.world();
              cell.Begin();
              (void)cell.LogIn();
              if (!said.empty()) world.b1->Say(said);
              std::string got = world.Read();
              end.act(world);
              cell.Watch();
              cell.Wait(end.is_at_once ? base::Duration(std::chrono::seconds(5))
                                       : base::Duration(std::chrono::minutes(36)));
              got += world.Read();
              EXPECT_TRUE(world.client_sees_end());
              // All of what it has said; a goodbye of ours only where one may stand.
              ASSERT_TRUE(got.starts_with(said)) << got;
              const std::string rest = got.substr(said.size());
              if (!said.empty() || !cell.is_imap()) {
                EXPECT_EQ(rest, "");
              } else {
                EXPECT_TRUE(rest.starts_with("* BYE ") && rest.ends_with("\r\n")) << rest;
              }
              ASSERT_EQ(world.accounts.size(), 1U);
              EXPECT_EQ(world.accounts[0].cause.result, end.is_at_once
                                                            ? base::SessionResult::kBackendLost
                                                            : base::SessionResult::kIdle);
              EXPECT_NE(world.accounts[0].cause.why, "");
              world.b1->breaks_after = {0, SimSocket::Break::kHang};  // one that hangs stays open
            },
            NameOf(column), end.name, said.empty() ? "between lines" : said.substr(0, 4));
  });
}

}  // namespace
}  // namespace postern::test
