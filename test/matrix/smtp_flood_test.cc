// smtp_flood_test: SMTP and submission: a server that says more than anybody can keep, at any of
// its answers, or does not read the text; and a client that reads no replies.
//
// Memory stays bounded, by what one session may hold, whatever is said. A message goes to the
// other server, or is refused for now.
// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "test/matrix/smtp_cell.h"

namespace postern::test {
namespace {

using conf::Protocol;
using conf::TlsMode;

// A reply of limits.reply_lines lines, and what the sockets of both legs hold.
constexpr size_t kReplyBytes = 768 << 10;
constexpr size_t kFloodBytes = 4 << 20;  // far more than may be kept

struct FloodRow {
  const char* name;
  std::string head, block;  // "250" stands for the code of the usual answer
  bool is_behind = false;
};

const std::array kFloods = {
    FloodRow{"a line without end", "250 ", std::string(4096, 'x')},
    FloodRow{"half a line, and silence", "25", ""},
    FloodRow{"lines without end", "", "250-more\r\n"},
    FloodRow{"long lines without end", "", "250-" + std::string(500, 'x') + "\r\n"},
    FloodRow{"lines of other codes", "", "250-more\r\n251-more\r\n"},
    FloodRow{"replies without end", "", "250 2.0.0 Ok\r\n"},
    FloodRow{"challenges without end", "", "334 AAAA\r\n"},
    FloodRow{"garbage", "", std::string("\0\xff\x13\x80", 4)},
    FloodRow{"the answer, and lines without end", "", "250-more\r\n", true},
    FloodRow{"the answer, and replies without end", "", "250 2.0.0 Ok\r\n", true},
};

struct Place {
  const char* command;  // as SmtpServer::answers
  const char* code;
};
constexpr std::array kPlaces = {
    Place{"GREETING", "220"}, Place{"EHLO", "250"}, Place{"STARTTLS", "220"}, Place{"AUTH", "235"},
    Place{"MAIL", "250"},     Place{"RCPT", "250"}, Place{"DATA", "354"},     Place{".", "250"}};

void Replace(std::string& text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

class Cell : public SmtpCell {
 public:
  using SmtpCell::SmtpCell;

  void SetFlood(int backend, const Place& place, FloodRow row) {
    Replace(row.head, "250", place.code);
    Replace(row.block, "250", place.code);
    SmtpServer& server = world().server(backend);
    server.answers[place.command] = "flood";
    server.flood = Flood::Of(row.head, row.block, kFloodBytes, row.is_behind);
  }

  // A message, by one command at a time: the code of the last reply.
  std::string Deliver() {
    MeterFromHere();
    if (is_submission()) {
      const std::string code = Say("AUTH PLAIN AGFsaWNlAHNlY3JldA==");
      if (code != "235") return code;
    }
    std::string code = Say("MAIL FROM:<a@x.example>");
    if (code == "250") code = Say("RCPT TO:<b@y.example>");
    if (code == "250") code = Say("DATA");
    if (code == "354") code = Say("Subject: one\r\n\r\nhello\r\n.");
    return code;
  }

  void MeterFromHere() {
    ResetPeakHeap();
    heap_bytes_ = HeapBytes();
  }
  void ExpectBounded(size_t num_bytes) const {
    EXPECT_LT(PeakHeapBytes(), heap_bytes_ + num_bytes);
  }

 private:
  // The code of the reply, however long it takes.
  std::string Say(const std::string& line) {
    std::string got = world().client_sees_end() ? "" : world().Ask(line);
    Watch();
    for (int i = 0; i < 3600 && !got.ends_with("\r\n") && !world().client_sees_end(); ++i) {
      Wait(std::chrono::seconds(1));
      got += world().Read();
    }
    return got.substr(0, 3);
  }
  size_t heap_bytes_ = 0;
};

TEST(SmtpFloodMatrixTest, AServerFloodsAtAnAnswer) {
  Cells cells("SMTP and submission servers that flood at an answer");
  ForSmtpColumns([&](const SmtpColumn& column) {
    for (const Place& place : kPlaces) {
      const std::string command = place.command;
      if (command == "STARTTLS" && column.back != TlsMode::kStartTls) continue;
      if (command == "AUTH" && column.protocol != Protocol::kSubmission) continue;
      for (const FloodRow& row : kFloods)
        for (const bool is_alone : {false, true})
          cells.Add(
              [&] {
                Cell cell(cells, column);
                cell.SetFlood(1, place, row);
                if (is_alone) cell.SetFlood(2, place, row);
                cell.Begin();
                const std::string code = cell.Deliver();
                cell.ExpectBounded(kReplyBytes);
                // Whoever accepts has it, and it is nowhere else; else it is to come again.
                const size_t at_1 = cell.world().server(1).messages.size();
                const size_t at_2 = cell.world().server(2).messages.size();
                EXPECT_LE(at_1 + at_2, 1U);
                if (code == "250") {
                  EXPECT_EQ(at_1 + at_2, 1U);
                } else {
                  EXPECT_EQ(code.substr(0, 1), "4") << code;
                }
                if (command != "." && !is_alone && !row.is_behind && code != "250") {
                  // One server's replies of its own invention may count as verdicts on a recipient.
                  EXPECT_NE(row.block.find("250 "), std::string::npos) << row.name;
                }
              },
              NameOf(column), place.command, row.name, is_alone ? "all alike" : "one");
    }
  });
}

// --- who does not read ---------------------------------------------------------------------------

constexpr uint64_t kBufferBytes = 64 << 10;
constexpr uint64_t kReplayBytes = 64 << 10;
constexpr uint64_t kSpoolBytes = 64 << 10;  // that wait for the disk, in a string that grows
constexpr size_t kRelayBytes = 2 * kBufferBytes + kReplayBytes + 3 * kSpoolBytes + (512 << 10);

TEST(SmtpFloodMatrixTest, AServerDoesNotReadTheText) {
  static constexpr std::array kTexts = {"a line of text\r\n", "..\r\n", "xxxxxxxxxxxxxxxx"};
  Cells cells("SMTP and submission servers that do not read a text");
  ForSmtpColumns([&](const SmtpColumn& column) {
    for (const std::string text : kTexts)
      cells.Add(
          [&] {
            Cell cell(cells, column);
            SmtpWorld& world = cell.world();
            world.listener().limits.buffer = kBufferBytes;
            world.config.smtp.replay_memory = kReplayBytes;
            world.disk.options.window_bytes = kSpoolBytes;
            world.server(1).reads_nothing = true;
            cell.Begin();
            if (cell.is_submission()) (void)world.Ask("AUTH PLAIN AGFsaWNlAHNlY3JldA==");
            world.Send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n");
            EXPECT_NE(world.Read().find("354 "), std::string::npos);
            std::string block;
            while (block.size() < (16 << 10)) block += text;
            cell.MeterFromHere();
            size_t sent_bytes = 0;
            for (int i = 0; i < 300 && sent_bytes < kFloodBytes; ++i) {
              if (world.client().Unsent() == 0) {
                world.Send(block);
                sent_bytes += block.size();
              }
              world.Wait(std::chrono::milliseconds(2));
            }
            cell.Watch();
            cell.ExpectBounded(kRelayBytes);
            EXPECT_LT(sent_bytes, kRelayBytes) << "somebody has read it";
            // Nobody waits for ever: the client is told to come again, and can.
            cell.Wait(std::chrono::minutes(15));
            EXPECT_TRUE(world.server(1).messages.empty());
            cell.ExpectBounded(kRelayBytes);
            world.server(1).ReadAgain();
          },
          NameOf(column), text.substr(0, 4));
  });
}

TEST(SmtpFloodMatrixTest, AClientReadsNoReplies) {
  static constexpr std::array kCommands = {"NOOP\r\n", "NONSENSE\r\n", "EHLO client.example\r\n",
                                           "RSET\r\n"};
  Cells cells("SMTP and submission clients that read no replies");
  ForSmtpColumns([&](const SmtpColumn& column) {
    for (const std::string command : kCommands)
      cells.Add(
          [&] {
            Cell cell(cells, column);
            SmtpWorld& world = cell.world();
            world.listener().limits.buffer = kBufferBytes;
            world.listener().limits.bad_commands = 1'000'000;
            cell.Begin();
            cell.MeterFromHere();
            world.client().PauseReads();
            std::string block;
            while (block.size() < (16 << 10)) block += command;
            for (int i = 0; i < 300 && !world.client_sees_end(); ++i) {
              if (world.client().Unsent() == 0) world.Send(block);
              world.Wait(std::chrono::milliseconds(2));
            }
            cell.Watch();
            cell.ExpectBounded(kRelayBytes);
            cell.Wait(std::chrono::minutes(11));
            EXPECT_EQ(world.session, nullptr) << "holds on to a client that is not there";
          },
          NameOf(column), command.substr(0, 4));
  });
}

}  // namespace
}  // namespace postern::test
