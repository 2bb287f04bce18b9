// back_base: lines in, one request out at a time, one final word.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/back_base.h"

#include <algorithm>
#include <utility>

namespace postern::proto {
namespace {

using base::ByteView;
using base::FaultKind;
using base::Secret;

constexpr size_t kMaxPeerText = 512;  // of a backend's words in a log

}  // namespace

BackStep BackBase::Next(ByteView input) {
  size_t consumed = 0;
  const auto consume = [&](size_t num_bytes) {
    consumed += num_bytes;
    num_early_ -= std::min(num_early_, num_bytes);
  };
  while (true) {
    if (std::exchange(is_out_due_, false)) {
      num_early_ = input.size() - consumed;
      return {consumed, Send{out_.Reveal()}};
    }
    switch (turn_) {
      case Turn::kOver:
        return {consumed, final_};
      case Turn::kDriverTls:
      case Turn::kDriverClient:
        return {consumed, Wait{}};
      case Turn::kOurs:
        break;
    }
    const size_t num_skip = std::min(num_skipped_, input.size() - consumed);
    num_skipped_ -= num_skip;
    consume(num_skip);
    if (num_skipped_ > 0) return {consumed, NeedBytes{}};
    const LineRead line = ReadLine(input.substr(consumed), plan_.max_line_bytes);
    if (line.verdict == LineVerdict::kNeedMore) return {consumed, NeedBytes{}};
    is_early_ = num_early_ > 0;
    consume(line.size_bytes);
    if (line.verdict == LineVerdict::kTooLong)
      return {consumed, Fail(FaultKind::kProtocol, "line too long")};
    if (line.verdict != LineVerdict::kLine)
      return {consumed, Fail(FaultKind::kProtocol, "bad line end", line.text)};
    if (++num_lines_ > plan_.max_lines)
      return {consumed, Fail(FaultKind::kProtocol, "too many lines")};
    Maybe event = TakeLine(line.text, input.substr(consumed));
    if (!event) continue;
    // What is to be sent is in the event.
    if (std::exchange(is_out_due_, false)) num_early_ = input.size() - consumed;
    return {consumed, std::move(*event)};
  }
}

void BackBase::TlsUp() {
  if (turn_ != Turn::kDriverTls) return;
  is_in_tls_ = true;
  turn_ = Turn::kOurs;
  (void)ContinueInTls();
}

void BackBase::Respond(const Secret& line) {
  if (turn_ != Turn::kDriverClient) return;
  turn_ = Turn::kOurs;
  (void)Say(JoinSecret({line.Reveal(), "\r\n"}));
  Answered();
}

BackEvent BackBase::Say(Secret line) {
  out_ = std::move(line);
  num_lines_ = 0;
  is_out_due_ = true;
  return Send{out_.Reveal()};
}

BackEvent BackBase::AskTls(ByteView behind) {
  if (!behind.empty()) return Fail(FaultKind::kProtocol, "bytes behind the go-ahead for TLS");
  ForgetCapabilities();
  turn_ = Turn::kDriverTls;
  return StartTls{};
}

BackEvent BackBase::AskClient(ByteView challenge) {
  text_ = challenge;
  turn_ = Turn::kDriverClient;
  return Challenge{text_};
}

BackEvent BackBase::Fail(FaultKind kind, ByteView why, ByteView peer_text) {
  text_ = why;
  if (!peer_text.empty()) {
    text_ += ": ";
    text_ += peer_text.substr(0, kMaxPeerText);
  }
  final_ = Failed{kind, phase(), text_};
  turn_ = Turn::kOver;
  return final_;
}

BackEvent BackBase::Refuse(ByteView code, ByteView text, bool is_bad_credentials) {
  code_ = code;
  text_ = text;
  final_ = Refusal{code_, text_, is_bad_credentials};
  turn_ = Turn::kOver;
  return final_;
}

BackEvent BackBase::Succeed(ByteView capabilities, ByteView text) {
  code_ = capabilities;
  text_ = text;
  final_ = LoggedIn{code_, text_};
  turn_ = Turn::kOver;
  return final_;
}

BackEvent BackBase::End() {
  final_ = Ended{{base::SessionResult::kClientQuit, base::Side::kBack, phase(), ""}};
  turn_ = Turn::kOver;
  return final_;
}

void BackBase::Learn(Capabilities capabilities) {
  capabilities_ = std::move(capabilities);
  has_capabilities_ = true;
}

void BackBase::ForgetCapabilities() {
  capabilities_.clear();
  has_capabilities_ = false;
}

}  // namespace postern::proto
