// pop3_flow: follows a relayed POP3 session at almost no cost.
//
// Safe is where no command is running and nothing was marked for deletion: DELE counts at QUIT
// alone, so a session that was ended in between would lose it. Of the backend's side only the first
// byte of an answer and its end are looked at. A client that pipelines is not followed: never safe
// again.
// Rules:    RFC 1939 3 and 5 (multi-line answers, dot stuffing), RFC 2449 5.
// Limits:   a few dozen bytes.
// Tests:    test/proto/pop3_flow_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "lb/base/bytes.h"
#include "lb/proto/flow_command.h"

namespace postern::proto {

class Pop3Flow {
 public:
  [[nodiscard]] FlowVerdict FromClient(base::ByteView bytes);
  void FromBackend(base::ByteView bytes);

  [[nodiscard]] bool is_safe() const {
    return answer_ == Answer::kNone && !is_lost_ && !has_dele_ && verb_size_ == 0 && !has_argument_;
  }
  [[nodiscard]] bool has_quit() const { return has_quit_; }
  [[nodiscard]] uint64_t num_commands() const { return num_commands_; }
  [[nodiscard]] std::optional<FlowCommand> TakeCompleted();

 private:
  // Of the answer that is awaited.
  enum class Answer : uint8_t { kNone, kStart, kLine, kBody };
  void RunCommand();
  void Complete();

  std::array<char, 8> verb_{};
  std::array<char, 5> tail_{};  // the last bytes of a body so far
  uint32_t num_commands_ = 0;
  uint8_t verb_size_ = 0;
  bool has_blank_ = false;     // behind the verb
  bool has_argument_ = false;  // something behind that
  Answer answer_ = Answer::kNone;
  FlowCommand running_ = FlowCommand::kOther;
  bool is_multi_ = false;  // a positive answer has a body
  bool is_positive_ = false;
  bool is_lost_ = false;  // the client pipelines, or the backend speaks unasked: cannot be followed
  bool has_dele_ = false;
  bool has_quit_ = false;
  bool is_completed_ = false;
};

}  // namespace postern::proto
