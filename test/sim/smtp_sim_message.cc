// smtp_sim_message: how a client sends a message, and what it hears of it.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "test/sim/smtp_sim_client.h"

namespace postern::test {

void SmtpSimClient::BeginMessage() {
  if (is_goodbye_ || is_over_) return;
  --messages_left_;
  SmtpSent& sent = books_.Begin();
  sent_ = &sent;
  sent.client = number_;
  sent.hello = "c" + std::to_string(number_) + ".example";
  sent.client_ip = AddressOf(number_).ip.ToString();
  sent.bare_newline = bare_newline_;
  // Work that is pipelined goes on with the homes of what was before it.
  if (awaited_.empty()) last_rest_ = loop_.Now();
  sent.home_known = last_rest_;
  sent.is_chunked = dice_.OneIn(3);
  sent.text = Text();
  was_refused_ = false;
  is_pipelined_ = dice_.OneIn(2);

  std::string mail = "MAIL FROM:<" + sent.from() + ">";
  // About the truth, or not.
  if (dice_.OneIn(3)) mail += " SIZE=" + std::to_string(dice_.Below(2 * sent.text.size() + 1));
  if (MayFail() && dice_.OneIn(40)) mail += " SIZE=99999999999";
  if (!is_old_ && dice_.OneIn(5)) mail += dice_.OneIn(2) ? " BODY=8BITMIME" : " BODY=7BIT";
  plan_.push_back({What::kMail, mail + "\r\n", 0, &sent});
  const uint64_t most = dice_.OneIn(30) ? 20 : 4;
  for (uint64_t left = 1 + dice_.Below(most); left > 0; --left) {
    sent.asked.push_back(Recipient(sent.asked.size()));
    plan_.push_back(
        {What::kRcpt, "RCPT TO:<" + sent.asked.back() + ">\r\n", sent.asked.size() - 1, &sent});
    if (dice_.OneIn(40)) plan_.push_back({What::kNoop, "NOOP\r\n", 0, nullptr});
  }
  if (sent.is_chunked) {
    PlanChunks();
  } else {
    plan_.push_back({What::kData, "DATA\r\n", 0, &sent});
  }
  GoOn();
}

std::string SmtpSimClient::Recipient(size_t index) {
  static constexpr std::array kDomains = {"away.example", "one.example", "asked.example",
                                          "asked.example"};
  static constexpr std::array kNames = {'p', 'q', 'n', 'f'};
  std::string name(1, dice_.OneIn(6) ? dice_.Of(kNames) : dice_.OneIn(2) ? 'p' : 'q');
  name += std::to_string(sent_->number) + "-" + std::to_string(index) + "@";
  if (dice_.OneIn(12)) return name + (dice_.OneIn(2) ? "nowhere.example" : "later.example");
  // Mostly all of a message in the same home.
  const uint64_t kind = dice_.OneIn(8) ? dice_.Below(9) : sent_->number % 9;
  return name + (kind < kDomains.size() ? kDomains[kind] : "y.example");
}

std::string SmtpSimClient::Text() {
  static constexpr std::array<std::string_view, 7> kLines = {
      ".", "..", ".dot", "", "plain words", "x.", "a line that is a bit longer"};
  static constexpr std::array<std::string_view, 5> kAlone = {"\r", "\n", "\n.\n", "\r.\r",
                                                             "\n.\r\n"};
  std::string text = dice_.OneIn(10) ? "" : "Id: " + std::to_string(sent_->number) + "\r\n\r\n";
  uint64_t lines = dice_.Below(12);
  if (dice_.OneIn(30)) lines = dice_.Below(200);
  if (dice_.OneIn(1000)) lines = 20'000;
  const bool is_bare = dice_.OneIn(12);
  for (; lines > 0; --lines) {
    text += dice_.Of(kLines);
    text += "\r\n";
    if (is_bare && dice_.OneIn(3)) {
      text += dice_.Of(kAlone);
      if (dice_.OneIn(2)) text += "behind it";
    }
  }
  if (dice_.OneIn(8)) text += dice_.OneIn(2) ? "no end" : ".";
  if (!sent_->is_chunked && !text.empty() && !text.ends_with("\r\n")) text += "\r\n";
  // Two that stood alone may be one whole, or a whole one cut.
  sent_->has_bare_newline = WithWholeNewlines(text) != text;
  const uint64_t size = sent_->is_chunked ? text.size() : Dotted(text).size();
  sent_->is_too_large = size > message_limit_;
  return text;
}

// Chunks of any sizes, the last of them perhaps empty.
void SmtpSimClient::PlanChunks() {
  std::string_view rest = sent_->text;
  while (true) {
    const std::string_view octets =
        rest.substr(0, dice_.OneIn(2) ? rest.size() : dice_.Below(rest.size() + 1));
    rest.remove_prefix(octets.size());
    const bool is_last = rest.empty() && !dice_.OneIn(4);
    Command chunk{is_last ? What::kLastChunk : What::kChunk,
                  "BDAT " + std::to_string(octets.size()) + (is_last ? " LAST\r\n" : "\r\n"), 0,
                  sent_};
    chunk.bytes += octets;
    plan_.push_back(std::move(chunk));
    if (is_last) return;
    if (MayFail() && dice_.OneIn(40)) return;  // takes it back, then
  }
}

// Says what is next of the plan: one command, or as many as a client may say at once.
void SmtpSimClient::GoOn() {
  if (is_goodbye_ || is_over_) return;
  if (plan_.empty()) {
    if (sent_ == nullptr) return Next();
    // An envelope that was refused, or a text without its end.
    sent_->is_given_up = true;
    sent_ = nullptr;
    return Say(What::kReset, "RSET");
  }
  const SmtpClientChoices& its = choices_.clients;
  if (sent_ != nullptr && dice_.PerMille(its.leaves)) {
    if (dice_.OneIn(2))
      Write(plan_.front().bytes.substr(0, dice_.Below(plan_.front().bytes.size())));
    return Break();
  }
  if (sent_ != nullptr && !sent_->is_finished && dice_.PerMille(its.resets)) plan_.clear();
  if (plan_.empty()) return GoOn();
  if (dice_.PerMille(its.dawdles)) return Later(its.longest_pause, &SmtpSimClient::GoOn);
  std::string group;
  do {
    Command command = std::move(plan_.front());
    plan_.pop_front();
    awaited_.push_back({command.what, command.recipient, command.sent});
    if (command.what == What::kLastChunk && !was_refused_) sent_->is_finished = true;
    if (command.what == What::kRcpt) sent_->has_heard_all = false;
    group += command.bytes;
  } while (is_pipelined_ && !plan_.empty());
  Write(group);
}

// --- replies -------------------------------------------------------------------------------------

void SmtpSimClient::OnMessageReply(const Awaited& of, int code, const std::string& text) {
  SmtpSent& sent = *of.sent;
  const int kind = code / 100;
  const auto expect = [&](bool is_right) {
    EXPECT_TRUE(is_right) << Words() << ", to " << static_cast<int>(of.what) << ": " << text;
  };
  switch (of.what) {
    case What::kMail:
      expect(kind == 2 || kind == 4 || kind == 5);
      sent.has_begun = kind == 2;
      if (kind != 2 && !is_pipelined_) return EndMessage(sent);
      break;
    case What::kRcpt: {
      expect(kind == 2 || kind == 4 || kind == 5);
      const std::string& recipient = sent.asked[of.recipient];
      // A server's words name whom they are about.
      const size_t name = text.find('<');
      if (name != std::string::npos) {
        expect(text.compare(name + 1, recipient.size() + 1, recipient + ">") == 0);
      }
      // Postern's own word only where the server's comes later.
      if (kind == 2) expect((name != std::string::npos) == (commit_ == conf::Commit::kStreaming));
      if (kind == 2) sent.accepted.push_back(recipient);
      if (of.recipient + 1 == sent.asked.size()) sent.has_heard_all = true;
      break;
    }
    case What::kData:
      expect(code == 354 || kind == 4 || kind == 5);
      if (code == 354) {
        EXPECT_FALSE(sent.accepted.empty()) << "354 without a recipient";
        return SendText();
      }
      sent.code = code;
      return EndMessage(sent);
    case What::kChunk:
      expect(kind == 2 || kind == 4 || kind == 5);
      if (kind == 2) {
        expect(!was_refused_);
        EXPECT_FALSE(sent.accepted.empty()) << "a chunk for nobody";
        break;
      }
      if (!was_refused_) sent.code = code;
      was_refused_ = true;
      if (is_pipelined_) break;
      return EndMessage(sent);
    case What::kLastChunk:
      if (was_refused_) {
        expect(kind == 4 || kind == 5);
        return EndMessage(sent);
      }
      [[fallthrough]];
    case What::kText:
      expect(kind == 2 || kind == 4 || kind == 5);
      OnFinalReply(sent, code, text);
      return EndMessage(sent);
    default:
      break;
  }
}

void SmtpSimClient::OnFinalReply(SmtpSent& sent, int code, const std::string& text) {
  sent.code = code;
  if (code / 100 != 2) return;
  static constexpr std::string_view kQueued = "queued as ";
  const size_t at = text.find(kQueued);
  if (at == std::string::npos) {
    ADD_FAILURE() << "no server's words: " << text;
    return;
  }
  sent.queue_id = text.substr(at + kQueued.size(), text.find('\r') - at - kQueued.size());
  const std::string own = "-m" + std::to_string(sent.number) + "-";
  EXPECT_NE(sent.queue_id.find(own), std::string::npos) << "another one's answer: " << text;
}

void SmtpSimClient::EndMessage(const SmtpSent& sent) {
  if (&sent != sent_) return;  // the next one has begun already
  plan_.clear();
  sent_ = nullptr;
}

// --- texts ---------------------------------------------------------------------------------------

// At once or in pieces, the end of it with its last one or apart, with the next words behind it.
void SmtpSimClient::SendText() {
  pieces_ = Dotted(sent_->text) + ".\r\n";
  is_leaving_ = dice_.OneIn(12);
  if (MayFail() && dice_.PerMille(choices_.clients.leaves)) {
    Write(pieces_.substr(0, dice_.Below(pieces_.size())));
    return Break();
  }
  SendPiece();
}

void SmtpSimClient::SendPiece() {
  if (is_goodbye_ || is_over_ || pieces_.empty()) return;
  const size_t size = dice_.OneIn(3) ? dice_.Below(pieces_.size()) : pieces_.size();
  Write(std::string_view(pieces_).substr(0, size));
  pieces_.erase(0, size);
  if (!pieces_.empty()) return Later(choices_.clients.longest_pause, &SmtpSimClient::SendPiece);
  sent_->is_finished = true;
  awaited_.push_back({What::kText, 0, sent_});
  if (is_leaving_) {
    Say(What::kQuit, "QUIT");
    if (dice_.OneIn(2) && !is_over_) stream_->ShutdownWrite();
  } else if (dice_.OneIn(6) && messages_left_ > 0) {
    // The next one's words come with the end of this one.
    BeginMessage();
  }
}

}  // namespace postern::test
