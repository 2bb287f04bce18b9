// mailbox_dialogue: one IMAP session of a delivery probe: log in, look for its messages, delete
// them.
//
// The ladder up to the login is imap_back's, the one of live sessions. Then CAPABILITY, if the
// login did not say it, and LIST for the \Junk folder, where special-use is announced. After each
// order (Look, Remove) comes kTurn, or kOver where something went wrong. One command at a time.
//   Look    [SELECT | NOOP] UID SEARCH HEADER, UID FETCH of that header field: found() has those
//           whose field is this owner's to the letter
//   Remove  UID STORE \Deleted, then UID EXPUNGE; without UIDPLUS UID SEARCH DELETED and EXPUNGE
//           only if nothing but ours is marked there: num_left() says how many had to stay
// Hostile servers: answers are bounded in size and number, UIDs that nobody asked for are ignored.
// Rules:    RFC 9051; RFC 4315 (UIDPLUS); RFC 6154, RFC 5258 (LIST (SPECIAL-USE)).
// Limits:   kMaxFound messages a look (the latest), kMaxCommandBytes of answers a command.
// Owner:    one delivery_round.   Thread: none; pure.
// Tests:    test/health/delivery_probes_test.cc, test/fuzz/imap_answer_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "conf/config.h"
#include "health/dialogue.h"
#include "health/imap_answer.h"
#include "lb/proto/imap_grammar.h"
#include "lb/proto/machine.h"
#include "lb/proto/proxy_header.h"

namespace postern::health {

struct MailboxPlan {
  conf::TlsMode tls = conf::TlsMode::kNone;
  std::optional<proto::ProxyVersion> proxy;
  proto::LoginRequest login;
  std::string owner;  // DeliveryOwner
};

class MailboxDialogue final : public Dialogue {
 public:
  static constexpr size_t kMaxFound = 500;
  static constexpr size_t kMaxCommandBytes = 1 << 20;

  struct Found {
    uint32_t uid = 0;
    std::string id;
  };

  explicit MailboxDialogue(MailboxPlan plan) : plan_(std::move(plan)) {}
  [[nodiscard]] Step OnConnected(const Ends& ends, std::string& out) override;
  [[nodiscard]] Step OnTls(std::string& out) override;
  [[nodiscard]] Step Next(base::ByteView input, std::string& out) override;
  void Farewell(std::string& out) override;
  [[nodiscard]] base::Phase phase() const override;

  // Orders; only when it is the owner's turn.
  [[nodiscard]] bool is_idle() const { return state_ == State::kIdle; }
  void Look(const std::string& mailbox, std::string& out);
  void Remove(const std::vector<uint32_t>& uids, std::string& out);

  // Of the server; empty: it names none.
  [[nodiscard]] const std::string& junk() const { return junk_; }
  // Of the last Look. Not empty: the mailbox could not be selected, or not for writing.
  [[nodiscard]] const std::string& refusal() const { return refusal_; }
  [[nodiscard]] const std::vector<Found>& found() const { return found_; }
  // There were more than kMaxFound to choose from.
  [[nodiscard]] bool has_more() const { return has_more_; }
  // Of the last Remove: marked as deleted, but not gone, as others' mail would have gone with them.
  [[nodiscard]] size_t num_left() const { return num_left_; }

 private:
  enum class State : uint8_t {
    kLadder,
    kCapability,
    kList,
    kIdle,
    kSelect,
    kNoop,
    kSearch,
    kFetch,
    kStore,
    kSearchDeleted,
    kExpunge,
    kOver,
  };

  Step Climb(base::ByteView input, std::string& out);
  Step TakeAnswer(base::ByteView answer, std::string& out);
  void TakeUntagged(base::ByteView answer);
  Step TakeTagged(const proto::ImapReply& reply, std::string& out);
  Step BecomeReady(std::string& out);
  void Search(std::string& out);
  void Fetch(std::string& out);
  Step Expunge(std::string& out);
  Step Done();
  Step Broken(base::FaultKind kind, std::string why);
  void Command(State state, std::initializer_list<std::string_view> parts, std::string& out);
  [[nodiscard]] bool Has(std::string_view capability) const;

  const MailboxPlan plan_;
  std::unique_ptr<proto::BackMachine> ladder_;
  ImapAnswerReader reader_;
  State state_ = State::kLadder;
  uint32_t num_commands_ = 0;
  std::string tag_;
  size_t num_bytes_ = 0;  // of answers since the last command
  proto::Capabilities capabilities_;
  std::string junk_;
  std::string wanted_, selected_;
  bool is_read_only_ = false;
  std::string refusal_;
  std::vector<uint32_t> uids_;  // that were searched, or are to be removed
  std::vector<uint32_t> deleted_;
  std::vector<Found> found_;
  bool has_more_ = false;
  size_t num_left_ = 0;
};

}  // namespace postern::health
