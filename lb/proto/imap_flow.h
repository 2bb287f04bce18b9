// imap_flow: follows a relayed IMAP session at almost no cost.
//
// The client's side is read per command: tag, verb, literals. Of the backend's side only where
// lines and literals end, whether a line is the answer to the last command, and BYE. A literal's
// bytes are skipped unread on both sides. Inside COMPRESS nothing is known any more, and nothing is
// ever safe. UNAUTHENTICATE (RFC 8437) is forbidden: it would put a client back before the login at
// a backend that believes what Postern's address says there.
// Rules:    RFC 9051 2.2, 4.3; RFC 7888; RFC 2177 (IDLE is a safe point until DONE); RFC 4978.
// Limits:   a few dozen bytes; tags are known by a hash.
// Tests:    test/proto/imap_flow_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "lb/base/bytes.h"
#include "lb/proto/flow_command.h"

namespace postern::proto {

// The end of a line so far, just enough to see "{n}" or "{n+}" before its CRLF.
class LiteralTail {
 public:
  void Add(base::ByteView part);  // without LF
  void Clear() { size_ = 0; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  struct Literal {
    uint64_t size_bytes = 0;
    bool is_sync = true;
  };
  [[nodiscard]] std::optional<Literal> Find() const;

 private:
  // "{18446744073709551615+}\r"
  static constexpr size_t kCapacity = 24;
  std::array<char, kCapacity> bytes_{};
  uint8_t size_ = 0;
};

class ImapFlow {
 public:
  [[nodiscard]] FlowVerdict FromClient(base::ByteView bytes);
  void FromBackend(base::ByteView bytes);

  [[nodiscard]] bool is_safe() const;
  // The backend is between two lines, and has not said BYE itself.
  [[nodiscard]] bool may_say_bye() const;
  [[nodiscard]] bool has_quit() const { return has_quit_; }
  [[nodiscard]] uint64_t num_commands() const { return num_commands_; }
  [[nodiscard]] std::optional<FlowCommand> TakeCompleted();

 private:
  enum class ClientStage : uint8_t { kTag, kVerb, kRest };
  // Of a line of the backend's.
  enum class BackStage : uint8_t { kTag, kStatus, kStar, kRest };

  void ReadClientHead(base::ByteView part);
  [[nodiscard]] FlowVerdict EndClientLine();
  [[nodiscard]] FlowVerdict RunCommand();
  void ResetClientLine();
  void ReadBackHead(base::ByteView part);
  void EndBackLine();
  void CompleteCommand();

  // Client's side.
  uint64_t client_left_ = 0;  // bytes of a literal
  uint64_t client_tag_ = 0;   // hash of the tag of the line that is being read
  std::array<char, 16> verb_{};
  LiteralTail client_tail_;
  uint32_t num_commands_ = 0;
  ClientStage client_stage_ = ClientStage::kTag;
  uint8_t verb_size_ = 0;
  bool has_client_bytes_ = false;  // of the command that is being read
  bool is_literal_asked_ = false;  // "{n}" was sent, and nothing since: it may still be refused

  // Between the sides.
  uint64_t pending_ = 0;  // hash of the tag of the last command; 0: none is running
  FlowCommand running_ = FlowCommand::kOther;
  bool is_idle_ = false;
  bool is_compress_asked_ = false;
  bool is_opaque_ = false;
  bool has_quit_ = false;
  bool is_completed_ = false;

  // Backend's side.
  uint64_t back_left_ = 0;  // bytes of a literal
  uint64_t back_tag_ = 0;
  LiteralTail back_tail_;
  BackStage back_stage_ = BackStage::kTag;
  uint8_t star_size_ = 0;        // of "* BYE" matched
  bool has_back_bytes_ = false;  // of the line that is being read
  bool is_answer_ = false;       // this line's tag is the pending one
  bool is_ok_ = false;           // and it says OK
  bool has_said_bye_ = false;
};

}  // namespace postern::proto
