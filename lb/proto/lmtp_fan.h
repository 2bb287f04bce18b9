// lmtp_fan: one LMTP transaction shared out among homes: an LMTP server towards a client's relay, an
// LMTP client towards one session for each home.
//
// A recipient goes to the leg of its home, all of them at once; the text goes to each leg that has
// accepted somebody; replies go back in the order of the recipients, each its own home's. What
// befalls a leg is said to its own recipients.
// Does not: look for homes, endpoints or the end of a patience: both sides are relays of ours, with
//           deadlines of their own. Bytes in, bytes out; the driver stops giving text while a leg
//           is slow.
// Rules:    RFC 2033 4.2; RFC 2920. Text by DATA alone, its dots as they come.
// Owner:    one session of an lmtp listener.   Thread: that session's worker; no locks.
// Limits:   Limits; a recipient's line and its reply are kept until the transaction ends.
// Why so:   a SmtpRelay is one transaction on one leg, with all that can befall that; several of
//           them side by side need only somebody who keeps their replies apart.
// Tests:    test/proto/lmtp_fan_test.cc, test/fuzz/lmtp_fan_fuzz.cc, test/sim/lmtp_sim_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "lb/base/bytes.h"
#include "lb/proto/smtp_data.h"
#include "lb/proto/smtp_reply.h"

namespace postern::proto {

class LmtpFan {
 public:
  using LegId = uint32_t;  // never reused; 0: none

  struct Home {
    const void* key = nullptr;  // compared only; null: of nobody who is known
    bool takes_one = false;     // a leg has one such recipient a transaction
  };
  // Asked and told within the calls below; must not call back.
  class Driver {
   public:
    [[nodiscard]] virtual Home HomeOf(base::ByteView recipient) = 0;
    virtual void OpenLeg(LegId leg) = 0;
    virtual void ToLeg(LegId leg, base::ByteView bytes) = 0;
    virtual void CloseLeg(LegId leg) = 0;  // it is told nothing more, and says nothing

   protected:
    ~Driver() = default;
  };
  struct Limits {
    size_t line_bytes = 8 << 10;        // of the relay
    size_t reply_line_bytes = 8 << 10;  // of a leg, and of what the relay bears
    size_t reply_lines = 128;
    size_t legs = 100;      // in one transaction
    size_t kept_legs = 10;  // between transactions
  };

  // hostname: as it greets.
  LmtpFan(const Limits& limits, base::ByteView hostname, Driver& driver);

  // What the relay says; returns how much was taken.
  [[nodiscard]] size_t OnFront(base::ByteView input);
  // What a leg says; likewise.
  [[nodiscard]] size_t OnLeg(LegId leg, base::ByteView input);
  void OnLegEnd(LegId leg);

  // Nothing more will be said of the transaction under way, and the relay is owed no reply: its
  // legs need not wait for RSET.
  void GiveUp();

  [[nodiscard]] base::ByteView front_output() const { return output_; }
  void ClearFrontOutput() { output_.clear(); }
  [[nodiscard]] bool is_in_text() const { return state_ == State::kText; }
  // The transaction has come so far that its legs answer for it: they have refused DATA, or have
  // the whole text. Not from Forget on until that is so again.
  [[nodiscard]] bool is_answered() const { return is_answered_; }
  void Forget() { is_answered_ = false; }
  // Text goes to it now.
  [[nodiscard]] bool TakesText(LegId leg) const;
  [[nodiscard]] size_t num_legs() const { return legs_.size(); }

 private:
  enum class State : uint8_t {
    kCommand,
    kDataAsked,  // DATA was said; verdicts, then the legs' answers are awaited
    kText,
    kFinals,  // the text has ended
  };

  struct Recipient {
    enum class State : uint8_t { kAsked, kAccepted, kRefused };
    State state = State::kAsked;
    LegId leg = 0;
    Home home;
    std::string line;   // RCPT, with its line end
    std::string reply;  // to that; empty once it is said
    std::string final;  // to the text; empty: none yet
  };

  enum class Expect : uint8_t { kGreeting, kHello, kReset, kMail, kRecipient, kData, kFinal };
  struct Expected {
    Expect what = Expect::kGreeting;
    uint64_t transaction = 0;  // an answer to another one says nothing any more
    size_t recipient = 0;
  };

  struct Leg {
    LegId id = 0;
    const void* home = nullptr;  // of who was sent there last
    SmtpReplyReader reader{SmtpReplyReader::Limits{}};
    std::deque<Expected> expected;
    uint64_t used = 0;        // grows with every use
    bool is_in_use = false;   // it knows of this transaction
    bool is_full = false;     // it takes no further recipient of this transaction
    bool takes_text = false;  // 354 came
    size_t num_asked = 0;
    size_t num_accepted = 0;
    std::string mail_refusal;  // its answer to MAIL
  };

  void RunCommand(base::ByteView line);
  void Mail(base::ByteView line);
  void Rcpt(base::ByteView line, base::ByteView args);
  void Data();
  [[nodiscard]] size_t ReadText(base::ByteView input);
  void Reset();
  void EndTransaction();

  void Place(size_t recipient);
  [[nodiscard]] Leg* Choose(const Home& home);
  [[nodiscard]] Leg& Open();
  [[nodiscard]] Leg* Find(LegId id);
  void Send(Leg& leg, base::ByteView line, Expected expected);
  void TakeReply(Leg& leg, const SmtpReply& reply);
  void OnRecipientReply(Leg& leg, size_t recipient, const SmtpReply& reply);
  void OnDataReply(Leg& leg, const SmtpReply& reply);
  void SettleRecipients();
  void AskData();
  void SettleData();
  void SettleFinals();
  // words: what its recipients are told who have no answer yet.
  void Lose(LegId id, base::ByteView words);
  void Drop(LegId id);

  const Limits limits_;
  Driver& driver_;
  std::string hostname_;
  State state_ = State::kCommand;
  std::string output_;
  std::string hello_;  // LHLO, with its line end
  std::string mail_;   // MAIL, likewise; empty: no transaction
  uint64_t transaction_ = 0;
  std::vector<Recipient> recipients_;
  size_t num_said_ = 0;    // of them, whose answer has been passed on
  size_t num_finals_ = 0;  // likewise, to the text, or who are due none
  size_t num_data_due_ = 0;
  bool is_answered_ = false;
  std::string go_ahead_;  // 354, as the first leg has said it
  SmtpDataScanner scanner_;
  std::vector<std::unique_ptr<Leg>> legs_;
  LegId last_leg_ = 0;
  uint64_t last_use_ = 0;
};

}  // namespace postern::proto
