// back_base: what the client roles towards IMAP and POP3 backends have in common: lines in, one
// request out at a time, one final word.
//
// Every byte is known to have come before the latest request, or not: what came before it cannot be
// its answer (is_early).
// Limits:   BackPlan::max_line_bytes and max_lines (between two requests).
// Tests:    test/dialogue/imap/, test/dialogue/pop3/, test/fuzz/back_fuzz.h
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "lb/proto/line_reader.h"
#include "lb/proto/machine.h"

namespace postern::proto {

class BackBase : public BackMachine {
 public:
  [[nodiscard]] BackStep Next(base::ByteView input) final;
  void TlsUp() final;
  void Respond(const base::Secret& line) final;
  [[nodiscard]] bool has_sent_client_bytes() const final { return has_sent_client_bytes_; }
  [[nodiscard]] const Capabilities& capabilities() const final { return capabilities_; }
  [[nodiscard]] bool has_learned_capabilities() const final { return has_capabilities_; }

 protected:
  // What a line leads to; nothing: the next line is wanted.
  using Maybe = std::optional<BackEvent>;

  explicit BackBase(const BackPlan& plan) : plan_(plan) {}

  // One line without its line end. behind: what has arrived after it. is_early() is about it.
  virtual Maybe TakeLine(base::ByteView line, base::ByteView behind) = 0;
  // TLS is up, or the client's answer to a challenge has come: what to send.
  virtual BackEvent ContinueInTls() = 0;
  virtual void Answered() = 0;

  // A request: all that is sent until the answer has come.
  BackEvent Say(base::Secret line);
  BackEvent Say(base::ByteView line) { return Say(base::Secret(line)); }
  // Hands the turn to the driver, until TlsUp or Respond.
  BackEvent AskTls(base::ByteView behind);
  BackEvent AskClient(base::ByteView challenge);
  // Last words: every later step repeats them.
  BackEvent Fail(base::FaultKind kind, base::ByteView why, base::ByteView peer_text = {});
  BackEvent Refuse(base::ByteView code, base::ByteView text, bool is_bad_credentials);
  BackEvent Succeed(base::ByteView capabilities, base::ByteView text);
  BackEvent End();
  // The line, or its first byte, was there before the latest request had been made.
  [[nodiscard]] bool is_early() const { return is_early_; }
  BackEvent FailOutOfTurn() { return Fail(base::FaultKind::kProtocol, "speaks out of turn"); }
  // The next bytes are no lines.
  void Skip(size_t num_bytes) { num_skipped_ += num_bytes; }

  void Learn(Capabilities capabilities);
  void ForgetCapabilities();

  [[nodiscard]] bool is_in_tls() const {
    return is_in_tls_ || plan_.tls == conf::TlsMode::kImplicit;
  }
  // TLS is wanted, and still to come.
  [[nodiscard]] bool needs_starttls() const {
    return plan_.tls == conf::TlsMode::kStartTls && !is_in_tls_;
  }

  const BackPlan plan_;
  bool has_sent_client_bytes_ = false;

 private:
  enum class Turn : uint8_t { kOurs, kDriverTls, kDriverClient, kOver };

  Turn turn_ = Turn::kOurs;
  bool is_out_due_ = false;
  bool is_in_tls_ = false;
  bool has_capabilities_ = false;
  bool is_early_ = false;
  size_t num_early_ = 0;    // bytes of the input that were there before the latest request
  size_t num_skipped_ = 0;  // bytes still to be skipped
  size_t num_lines_ = 0;
  base::Secret out_;
  Capabilities capabilities_;
  std::string code_, text_;  // what the final event points to
  BackEvent final_;
};

}  // namespace postern::proto
