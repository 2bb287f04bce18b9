// smtp_back_test: SMTP and submission: a server that fails in any way at any of its answers.
//
// With a second server that is well, the message arrives there, whole, once, and the client notices
// nothing; where all fail alike, the client hears 4xx and nobody keeps a message that it was not
// told of; behind the final dot nothing is ever sent again. The log says why.
// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <string>
#include <vector>

#include "test/matrix/smtp_cell.h"

namespace postern::test {
namespace {

using conf::Protocol;
using conf::TlsMode;

struct FaultRow {
  const char* words;  // as SmtpServer::answers
  bool is_hard;       // nobody can go on from there
};

constexpr std::array kFaults = {
    FaultRow{"hang", true},           FaultRow{"reset", true},    FaultRow{"close", true},
    FaultRow{"half", true},           FaultRow{"nonsense", true}, FaultRow{"endless", true},
    FaultRow{"421 4.3.2 busy", true}, FaultRow{"twice", false},
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

struct Column : SmtpColumn {
  bool is_in_group;           // the client sends MAIL, RCPT and DATA in one packet
  bool is_chunked = false;    // the client sends BDAT
  bool takes_chunks = false;  // the servers
};

constexpr const char* kText = "Subject: one\r\n\r\nhello\r\n";

class Cell : public SmtpCell {
 public:
  Cell(Cells& cells, const Column& column)
      : SmtpCell(cells, column), is_in_group_(column.is_in_group), is_chunked_(column.is_chunked) {
    if (!column.takes_chunks) return;
    for (int i = 1; i <= 2; ++i) world().server(i).keywords.emplace_back("CHUNKING");
  }

  // A whole session; true: the message was answered 250.
  bool Deliver() {
    Begin();
    const bool is_accepted = LogIn() && Send();
    if (world().session != nullptr && !world().client_sees_end()) {
      EXPECT_EQ(Say("QUIT"), "221");
    }
    Wait(std::chrono::seconds(5));
    return is_accepted;
  }

  // Everything that a client may hear of a server's fault is 4xx.
  void ExpectRefusedForNow() const {
    ASSERT_FALSE(codes_.empty());
    EXPECT_EQ(codes_.back()[0], '4') << codes_.back();
    for (const std::string& code : codes_)
      EXPECT_TRUE(code[0] != '5' || code == "554") << code;  // 554: DATA without a recipient
  }

  // 0: nowhere.
  void ExpectArrivedAt(int backend) {
    for (int i = 1; i <= 2; ++i)
      EXPECT_EQ(world().server(i).messages.size(), i == backend ? 1U : 0U);
    if (backend == 0 || world().server(backend).messages.empty()) return;
    const SmtpServer::Message& message = world().server(backend).messages[0];
    EXPECT_EQ(message.from, "a@x.example");
    std::vector<std::string> to = {"b@y.example", "c@y.example"};
    if (is_lmtp()) to.pop_back();  // who comes in the next transaction
    EXPECT_EQ(message.to, to);
    EXPECT_EQ(message.text, kText);
  }

  // The record of the message, or of the session where there was none, names who failed last.
  void ExpectWhy(const std::string& backend, const std::string& words) {
    ASSERT_EQ(world().accounts.size(), 1U);
    std::string why = world().accounts[0].cause.why;
    for (const auto& transaction : world().transactions)
      why += transaction.cause.why + transaction.reply;
    // A verdict, even in a goodbye, is on record as it was given.
    const bool is_verdict = words.starts_with("421") && why.find("busy") != std::string::npos;
    EXPECT_TRUE(is_verdict || why.find(backend + " ") != std::string::npos) << why;
  }

 private:
  // The code of the next reply, however long it takes; "": the connection is over.
  std::string Code() {
    while (true) {
      const size_t end = got_.find("\r\n");
      if (end != std::string::npos) {
        const std::string line = got_.substr(0, end);
        got_.erase(0, end + 2);
        if (line.size() > 3 && line[3] == '-') continue;
        return line.substr(0, 3);
      }
      if (world().client_sees_end() || waited_ > std::chrono::minutes(60)) return "";
      Wait(std::chrono::seconds(1));
      waited_ += std::chrono::seconds(1);
      got_ += world().Read();
    }
  }

  std::string Say(const std::string& line) {
    if (!world().client_sees_end()) got_ += world().Ask(line);
    return Code();
  }

  bool LogIn() {
    if (!is_submission()) return true;
    codes_.push_back(Say("AUTH PLAIN AGFsaWNlAHNlY3JldA=="));
    return codes_.back() == "235";
  }

  bool Send() {
    std::vector<std::string> commands = {"MAIL FROM:<a@x.example>", "RCPT TO:<b@y.example>",
                                         "RCPT TO:<c@y.example>", "DATA"};
    const std::string text = kText;
    if (is_chunked_)
      commands.back() =
          "BDAT " + std::to_string(text.size()) + " LAST\r\n" + text.substr(0, text.size() - 2);
    std::string group;
    for (const std::string& command : commands) group += command + "\r\n";
    if (is_in_group_) world().Send(group);
    std::string last;
    std::vector<std::string> codes;
    for (const std::string& command : commands) {
      last = is_in_group_ ? Code() : Say(command);
      codes.push_back(last);
      if (last.empty()) return false;
    }
    // The verdict is that on the recipients, where DATA only says that there are none.
    if (last == "554") codes.pop_back();
    codes_.insert(codes_.end(), codes.begin(), codes.end());
    if (is_chunked_) return last == "250";
    if (last != "354") return false;
    codes_.push_back(Say(std::string(kText) + "."));
    return codes_.back() == "250";
  }

  bool is_in_group_;
  bool is_chunked_;
  std::string got_;
  std::vector<std::string> codes_;
  base::Duration waited_{};
};

template <typename Function>
void ForColumns(const Function& function) {
  ForSmtpColumns([&](SmtpColumn column) {
    for (const bool is_pipelining : {true, false})
      for (const bool is_in_group : {true, false}) {
        column.is_pipelining = is_pipelining;
        function(Column{column, is_in_group});
      }
  });
}

std::string NameOf(const Column& column) {
  return test::NameOf(static_cast<const SmtpColumn&>(column)) +
         (column.is_in_group ? ", in a group" : "");
}

template <typename Function>
void ForPlaces(const Function& function) {
  ForColumns([&](const Column& column) {
    for (const std::string place :
         {"GREETING", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "."}) {
      if (place == "STARTTLS" && column.back != TlsMode::kStartTls) continue;
      if (place == "AUTH" && column.protocol != Protocol::kSubmission) continue;
      for (const FaultRow& row : kFaults) function(column, place, row);
    }
  });
}

void FailAtOne(Cell& cell, const std::string& place, const FaultRow& row) {
  cell.world().server(1).answers[place] = row.words;
  const bool is_accepted = cell.Deliver();
  if (place == "." && row.is_hard) {
    // Sent is sent: the first server may have it.
    EXPECT_FALSE(is_accepted);
    cell.ExpectRefusedForNow();
    cell.ExpectArrivedAt(1);
    cell.ExpectWhy("b1", row.words);
  } else if (row.is_hard || place == "STARTTLS") {
    EXPECT_TRUE(is_accepted);
    cell.ExpectArrivedAt(2);
  } else if (is_accepted) {
    cell.ExpectArrivedAt(cell.world().server(1).messages.empty() ? 2 : 1);
  } else {
    cell.ExpectRefusedForNow();
  }
}

void FailAtAll(Cell& cell, const std::string& place, const FaultRow& row) {
  for (int i = 1; i <= 2; ++i) cell.world().server(i).answers[place] = row.words;
  const bool is_accepted = cell.Deliver();
  if (!row.is_hard && place != "STARTTLS") {
    if (!is_accepted) cell.ExpectRefusedForNow();
    EXPECT_LE(cell.world().server(1).messages.size() + cell.world().server(2).messages.size(), 1U);
    return;
  }
  EXPECT_FALSE(is_accepted);
  cell.ExpectRefusedForNow();
  cell.ExpectArrivedAt(place == "." ? 1 : 0);
  cell.ExpectWhy(place == "." ? "b1" : "b2", row.words);
}

TEST(SmtpBackMatrixTest, AnAnswerFailsAndTheOtherServerTakesTheMessage) {
  Cells cells("SMTP and submission servers, a fault at an answer, another server is well");
  ForPlaces([&](const Column& column, const std::string& place, const FaultRow& row) {
    cells.Add(
        [&] {
          Cell cell(cells, column);
          FailAtOne(cell, place, row);
        },
        NameOf(column), place, row.words);
  });
}

TEST(SmtpBackMatrixTest, AllServersFailAtAnAnswer) {
  Cells cells("SMTP and submission servers, a fault at an answer, all alike");
  ForPlaces([&](const Column& column, const std::string& place, const FaultRow& row) {
    cells.Add(
        [&] {
          Cell cell(cells, column);
          FailAtAll(cell, place, row);
        },
        NameOf(column), place, row.words);
  });
}

// The client sends a chunk; the servers take it, or get it by DATA.
TEST(SmtpBackMatrixTest, AnAnswerFailsToAMessageInChunks) {
  Cells cells("SMTP servers, a fault at an answer, a message in chunks");
  for (const TlsMode back : kTlsModes)
    for (const bool is_pipelining : {true, false})
      for (const bool is_in_group : {true, false})
        for (const bool takes_chunks : {true, false})
          for (const std::string place : {"MAIL", "RCPT", "DATA", "BDAT", "."})
            for (const FaultRow& row : kFaults)
              for (const bool is_alone : {true, false}) {
                const bool goes_in_chunks = is_pipelining && takes_chunks;
                if (place == (goes_in_chunks ? "DATA" : "BDAT")) continue;
                const Column column{{Protocol::kSmtp, TlsMode::kNone, back, is_pipelining},
                                    is_in_group,
                                    true,
                                    takes_chunks};
                cells.Add(
                    [&] {
                      Cell cell(cells, column);
                      if (is_alone) {
                        FailAtAll(cell, place, row);
                      } else {
                        FailAtOne(cell, place, row);
                      }
                    },
                    NameOf(column), takes_chunks ? "CHUNKING" : "DATA", place, row.words,
                    is_alone ? "both" : "one");
              }
}

TEST(SmtpBackMatrixTest, TheDoorIsShut) {
  Cells cells("SMTP and submission servers that cannot be reached or trusted");
  ForColumns([&](const Column& column) {
    for (const DoorRow& row : kDoors) {
      if (row.has_bad_certificate && column.back == TlsMode::kNone) continue;
      for (const bool is_alone : {false, true})
        cells.Add(
            [&] {
              Cell cell(cells, column);
              cell.Break(1, row.door, row.has_bad_certificate);
              if (is_alone) cell.Break(2, row.door, row.has_bad_certificate);
              const bool is_accepted = cell.Deliver();
              EXPECT_EQ(is_accepted, !is_alone);
              cell.ExpectArrivedAt(is_alone ? 0 : 2);
              if (!is_alone) return;
              cell.ExpectRefusedForNow();
              cell.ExpectWhy("b2", "");
            },
            NameOf(column), row.name, is_alone ? "both" : "one");
    }
  });
}

}  // namespace
}  // namespace postern::test
