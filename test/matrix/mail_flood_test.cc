// mail_flood_test: IMAP and POP3: a backend that says more than anybody can keep, at any of its
// answers, and either side of a session that does not read while the other sends.
//
// Memory stays bounded, by what one session may hold, whatever is said; the login is answered in
// its time, or at the other backend; behind the login every byte arrives once it is read.
// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "test/matrix/mail_cell.h"

namespace postern::test {
namespace {

using conf::Protocol;
using conf::TlsMode;
using Fault = ScriptedBackend::Fault;

// Of a session before its login: a line, a literal or a challenge, and what both sockets hold.
constexpr size_t kBeforeLoginBytes = 640 << 10;
constexpr size_t kFloodBytes = 4 << 20;  // far more than may be kept

struct FloodRow {
  const char* name;
  std::string head, block;
  bool is_behind = false;
};

const std::array kImapFloods = {
    FloodRow{"a line without end", "* OK ", std::string(4096, 'x')},
    FloodRow{"half a line, and silence", "* OK [CAPABI", ""},
    FloodRow{"lines without end", "", "* 1 EXISTS\r\n"},
    FloodRow{"capabilities without end", "* CAPABILITY IMAP4rev1", " X-ONE X-TWO X-THREE"},
    FloodRow{"lists of capabilities without end", "", "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n"},
    FloodRow{"a huge literal", "* 1 FETCH (X {4294967295}\r\n", std::string(4096, 'x')},
    FloodRow{"a literal of more than 64 bits", "* X {18446744073709551620}\r\n", "P1 OK in\r\n"},
    FloodRow{"literals without end", "", "* X {60000}\r\n" + std::string(60000, 'x') + "\r\n"},
    FloodRow{"challenges without end", "", "+ AAAA\r\n"},
    FloodRow{"garbage", "", std::string("\0\xff\x13\x80", 4)},
    FloodRow{"the answer, and lines without end", "", "* 1 EXISTS\r\n", true},
    FloodRow{"the answer, and a line without end", "", std::string(4096, 'x'), true},
};

const std::array kPop3Floods = {
    FloodRow{"a line without end", "+OK ", std::string(4096, 'x')},
    FloodRow{"half a line, and silence", "+O", ""},
    FloodRow{"lines without end", "", "+OK\r\n"},
    FloodRow{"a list without end", "+OK\r\n", "X-ONE\r\n"},
    FloodRow{"a list of long lines without end", "+OK\r\n", std::string(500, 'X') + "\r\n"},
    FloodRow{"challenges without end", "", "+ AAAA\r\n"},
    FloodRow{"garbage", "", std::string("\0\xff\x13\x80", 4)},
    FloodRow{"the answer, and lines without end", "", "+OK\r\n", true},
    FloodRow{"the answer, and a line without end", "", std::string(4096, 'x'), true},
};

class Cell : public MailCell {
 public:
  using MailCell::MailCell;

  void SetFlood(ScriptedBackend& backend, size_t answer, const FloodRow& row) {
    backend.fault = Fault::kFlood;
    backend.fault_at = static_cast<int>(answer);
    backend.flood = Flood::Of(row.head, row.block, kFloodBytes, row.is_behind);
  }

  // alice's login, and whatever answers it in the time that two backends may take.
  std::string LogIn() {
    MeterFromHere();
    const base::MonoTime began = world().loop.Now();
    std::string answer = world().LogIn();
    Watch();
    while (answer.find('\n') == std::string::npos && !world().client_sees_end() &&
           world().loop.Now() - began < std::chrono::minutes(2)) {
      Wait(std::chrono::seconds(1));
      answer += world().Read();
    }
    EXPECT_LE(world().loop.Now() - began, std::chrono::seconds(2 * (3 + 10 + 20) + 1));
    return answer;
  }

  void MeterFromHere() {
    ResetPeakHeap();
    heap_bytes_ = HeapBytes();
  }
  void ExpectBounded(size_t num_bytes) const {
    EXPECT_LT(PeakHeapBytes(), heap_bytes_ + num_bytes);
  }

 private:
  size_t heap_bytes_ = 0;
};

// The places of a column at which a backend is asked for an answer.
size_t NumAnswersOf(Cells& cells, const MailColumn& column) {
  Cell cell(cells, column);
  (void)cell.Begin();
  EXPECT_NE(cell.LogIn().find("Logged in at b1"), std::string::npos);
  return 1 + cell.world().b1->lines.size();
}

TEST(MailFloodMatrixTest, ABackendFloodsBeforeTheLogin) {
  Cells cells("IMAP and POP3 backends that flood at an answer");
  ForMailColumns([&](const MailColumn& column) {
    const size_t num_answers = NumAnswersOf(cells, column);
    const auto add = [&](const FloodRow& row) {
      for (size_t answer = 0; answer < num_answers; ++answer) {
        // What IMAP has behind the login's OK is the client's: see below.
        const bool is_login = answer + 1 == num_answers;
        if (row.is_behind && is_login && column.protocol == Protocol::kImap) continue;
        for (const bool is_alone : {false, true})
          cells.Add(
              [&] {
                Cell cell(cells, column);
                cell.SetFlood(*cell.world().b1, answer, row);
                if (is_alone) cell.SetFlood(*cell.world().b2, answer, row);
                (void)cell.Begin();
                const std::string got = cell.LogIn();
                cell.ExpectBounded(kBeforeLoginBytes);
                EXPECT_NE(got.find(is_alone ? "try again later" : "Logged in at b2"),
                          std::string::npos)
                    << got;
              },
              NameOf(column), row.name, std::to_string(answer), is_alone ? "all alike" : "one");
      }
    };
    if (column.protocol == Protocol::kImap) {
      for (const FloodRow& row : kImapFloods) add(row);
    } else {
      for (const FloodRow& row : kPop3Floods) add(row);
    }
  });
}

// --- behind the login ----------------------------------------------------------------------------

// Of a session: its two buffers (limits.buffer), and the windows of its sockets.
constexpr uint64_t kBufferBytes = 64 << 10;
constexpr size_t kRelayBytes = 4 * kBufferBytes + (512 << 10);

// What a side sends, over and over.
struct Text {
  const char* name;
  const char* imap;
  const char* pop3;
};
constexpr std::array kTexts = {
    Text{"lines", "* 1 EXISTS\r\n", "+OK some words\r\n"},
    Text{"literals", "* 1 FETCH (X {6}\r\na\r\nb\r\n)\r\n", "a list\r\n.\r\n"},
    Text{"no line", "xxxxxxxxxxxxxxxx", "xxxxxxxxxxxxxxxx"},
};

// Sends a text, as fast as the stream takes it.
class Sender {
 public:
  Sender(MailWorld& world, SimStream& stream, std::string block)
      : world_(world), stream_(stream), block_(std::move(block)) {}
  // True as long as there is more.
  bool Step() {
    while (sent_bytes_ < kFloodBytes && stream_.Unsent() == 0) {
      std::string bytes;
      while (bytes.size() < kBlockBytes) bytes += block_;
      stream_.Write(bytes);
      sent_bytes_ += bytes.size();
    }
    world_.Wait(std::chrono::milliseconds(2));
    return sent_bytes_ < kFloodBytes;
  }
  [[nodiscard]] size_t sent_bytes() const { return sent_bytes_; }

 private:
  static constexpr size_t kBlockBytes = 16 << 10;
  MailWorld& world_;
  SimStream& stream_;
  std::string block_;
  size_t sent_bytes_ = 0;
};

TEST(MailFloodMatrixTest, TheClientDoesNotReadWhatTheBackendSends) {
  Cells cells("IMAP and POP3 clients that do not read");
  ForMailColumns([&](const MailColumn& column) {
    for (const Text& text : kTexts)
      cells.Add(
          [&] {
            Cell cell(cells, column);
            MailWorld& world = cell.world();
            world.listener().limits.buffer = kBufferBytes;
            (void)cell.Begin();
            EXPECT_NE(cell.LogIn().find("Logged in at b1"), std::string::npos);
            cell.MeterFromHere();
            world.client().PauseReads();
            Sender sender(world, *world.b1->stream(), cell.is_imap() ? text.imap : text.pop3);
            for (int i = 0; i < 300; ++i) (void)sender.Step();
            cell.Watch();
            cell.ExpectBounded(kRelayBytes);
            EXPECT_LT(sender.sent_bytes(), kRelayBytes) << "somebody has read it";
            world.client().ResumeReads();
            size_t num_bytes = 0;
            while (sender.Step() && !world.client_sees_end()) num_bytes += world.Read().size();
            cell.Watch();
            num_bytes += world.Read().size();
            EXPECT_EQ(num_bytes, sender.sent_bytes());
            cell.ExpectBounded(kRelayBytes);
          },
          NameOf(column), text.name);
  });
}

TEST(MailFloodMatrixTest, TheBackendDoesNotReadWhatTheClientSends) {
  static constexpr std::array kSent = {
      Text{"lines", "a NOOP\r\n", "NOOP\r\n"},
      Text{"a literal", "xxxxxxxx\r\n", nullptr},
      Text{"no line", "xxxxxxxxxxxxxxxx", "xxxxxxxxxxxxxxxx"},
  };
  Cells cells("IMAP and POP3 backends that do not read");
  ForMailColumns([&](const MailColumn& column) {
    for (const Text& text : kSent) {
      if (!(column.protocol == Protocol::kImap ? text.imap : text.pop3)) continue;
      cells.Add(
          [&] {
            Cell cell(cells, column);
            MailWorld& world = cell.world();
            world.listener().limits.buffer = kBufferBytes;
            (void)cell.Begin();
            EXPECT_NE(cell.LogIn().find("Logged in at b1"), std::string::npos);
            const bool is_literal = std::string(text.name) == "a literal";
            if (is_literal) (void)world.Ask("a APPEND x {" + std::to_string(64 << 20) + "+}");
            cell.MeterFromHere();
            world.b1->relayed.clear();
            world.b1->stream()->PauseReads();
            Sender sender(world, world.client(), cell.is_imap() ? text.imap : text.pop3);
            for (int i = 0; i < 300; ++i) (void)sender.Step();
            cell.Watch();
            cell.ExpectBounded(kRelayBytes);
            EXPECT_LT(sender.sent_bytes(), kRelayBytes) << "somebody has read it";
            world.b1->stream()->ResumeReads();
            size_t num_bytes = 0;
            const auto take = [&] {
              num_bytes += world.b1->relayed.size();
              world.b1->relayed.clear();
            };
            while (sender.Step() && !world.client_sees_end()) take();
            cell.Watch();
            world.Settle();
            take();
            EXPECT_EQ(num_bytes, sender.sent_bytes());
            cell.ExpectBounded(kRelayBytes);
          },
          NameOf(column), text.name);
    }
  });
}

}  // namespace
}  // namespace postern::test
