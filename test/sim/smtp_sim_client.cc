// smtp_sim_client: a client's connection, and its replies.
// SPDX-License-Identifier: Apache-2.0
#include "test/sim/smtp_sim_client.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <utility>

#include "lb/base/base64.h"

namespace postern::test {

using io::Stream;

SmtpSimClient::SmtpSimClient(uint32_t number, const SmtpChoices& choices, conf::Protocol protocol,
                             std::unique_ptr<SimStream> stream, SimLoop& loop, Dice& dice,
                             SmtpBooks& books, std::function<void()> on_end)
    : number_(number),
      choices_(choices),
      protocol_(protocol),
      tls_(choices.config.listeners[0].tls),
      bare_newline_(choices.config.smtp.bare_newline),
      commit_(choices.config.smtp.commit),
      message_limit_(choices.config.listeners[0].limits.message),
      most_refused_logins_(choices.config.listeners[0].limits.auth_failures),
      stream_(std::move(stream)),
      loop_(loop),
      dice_(dice),
      books_(books),
      on_end_(std::move(on_end)),
      messages_left_(1 + static_cast<uint32_t>(dice.Below(choices.most_messages))),
      last_rest_(loop.Now()) {
  stream_->SetObserver(this);
  awaited_.push_back({What::kGreeting, 0, nullptr});
  if (tls_ == conf::TlsMode::kImplicit) {
    io::TlsRequest request;
    request.role = io::TlsRole::kClient;
    stream_->StartTls(request);
  }
  if (!dice_.PerMille(choices_.clients.breaks)) return;
  // By what it says, or by what it hears.
  SimSocket& socket = stream_->socket();
  const auto how = static_cast<SimSocket::Break>(dice_.Below(3));
  const uint64_t bytes = dice_.Below(dice_.OneIn(3) ? 6000 : 700);
  // Nothing will be heard of it then.
  if (how == SimSocket::Break::kHang)
    loop_.Schedule(std::chrono::hours(1), [this, alive = std::weak_ptr(alive_)] {
      if (!alive.expired() && !is_over_) Break();
    });
  if (const auto peer = socket.peer(); peer != nullptr && dice_.OneIn(2)) {
    peer->BreakAfter(peer->total_sent_bytes() + bytes, how);
  } else {
    socket.BreakAfter(socket.total_sent_bytes() + bytes, how);
  }
}

SmtpSimClient::~SmtpSimClient() = default;

base::SocketAddress SmtpSimClient::AddressOf(uint32_t number) {
  return *base::SocketAddress::Parse("192.0.2." + std::to_string(number) + ":4711");
}

std::string SmtpSimClient::Words() const {
  std::string words = "client " + std::to_string(number_) + " waits for " +
                      std::to_string(awaited_.size()) + " replies";
  if (!awaited_.empty()) words += ", first " + std::to_string(static_cast<int>(awaited_[0].what));
  if (sent_ != nullptr) words += ", message " + std::to_string(sent_->number);
  return words;
}

// --- the connection ------------------------------------------------------------------------------

void SmtpSimClient::OnStream(Stream& stream, Stream::Event event) {
  if (is_over_) return;
  switch (event) {
    case Stream::Event::kTlsUp:
      if (tls_ == conf::TlsMode::kStartTls) Hello();
      break;
    case Stream::Event::kReadable:
      replies_ += stream.Input();
      stream.Consume(stream.Input().size());
      ReadReplies();
      break;
    case Stream::Event::kEnd:
      if (!is_goodbye_ && !MayFail())
        ADD_FAILURE() << Words() << ", and the connection ends: " << replies_;
      End();
      break;
    case Stream::Event::kConnected:
    case Stream::Event::kDrained:
      break;
  }
}

void SmtpSimClient::End() {
  if (is_over_) return;
  is_over_ = true;
  stream_->CloseGently();
  on_end_();
}

// Gone without a word.
void SmtpSimClient::Break() {
  is_over_ = true;
  if (dice_.OneIn(2)) {
    stream_->Close();
  } else {
    stream_->CloseGently();
  }
  on_end_();
}

void SmtpSimClient::Write(std::string_view bytes) {
  if (!is_over_) stream_->Write(bytes);
}

void SmtpSimClient::Say(What what, std::string bytes) {
  Send({what, std::move(bytes) + "\r\n", 0, nullptr});
}

void SmtpSimClient::Send(Command command) {
  awaited_.push_back({command.what, command.recipient, command.sent});
  Write(command.bytes);
}

void SmtpSimClient::Later(base::Duration most, void (SmtpSimClient::*then)()) {
  is_pausing_ = true;
  loop_.Schedule(dice_.UpTo(most), [this, then, alive = std::weak_ptr(alive_)] {
    if (alive.expired() || is_over_) return;
    is_pausing_ = false;
    (this->*then)();
  });
}

// --- replies -------------------------------------------------------------------------------------

void SmtpSimClient::ReadReplies() {
  size_t begin = 0, line = 0;
  while (!is_over_) {
    const size_t end = replies_.find("\r\n", line);
    if (end == std::string::npos) break;
    if (end - line < 4) {
      ADD_FAILURE() << "no reply: " << replies_.substr(begin);
      return Break();
    }
    const bool is_last = replies_[line + 3] != '-';
    const int code = std::atoi(replies_.substr(line, 3).c_str());
    line = end + 2;
    if (!is_last) continue;
    const std::string text = replies_.substr(begin, line - begin);
    begin = line;
    OnReply(code, text);
  }
  replies_.erase(0, begin);
}

void SmtpSimClient::OnReply(int code, const std::string& text) {
  if (is_goodbye_ && awaited_.empty()) {
    ADD_FAILURE() << "behind the goodbye: " << text;
    return;
  }
  if (code == 421) return OnGoodbye();
  if (IsOutOfLogins()) ADD_FAILURE() << Words() << ", and hears more than a goodbye: " << text;
  if (awaited_.empty()) {
    ADD_FAILURE() << "nothing was asked: " << text;
    return Break();
  }
  const Awaited of = awaited_.front();
  awaited_.pop_front();
  const int kind = code / 100;
  const auto expect = [&](bool is_right) {
    EXPECT_TRUE(is_right) << "client " << number_ << ", to " << static_cast<int>(of.what) << ": "
                          << text;
  };
  switch (of.what) {
    case What::kGreeting:
      expect(code == 220);
      return Hello();
    case What::kHello:
      expect(code == 250);
      return OnHelloReply();
    case What::kStartTls: {
      expect(code == 220);
      io::TlsRequest request;
      request.role = io::TlsRole::kClient;
      return stream_->StartTls(request);
    }
    case What::kChallenge:
      if (code == 334) return;  // the answer was said already
      awaited_.clear();
      [[fallthrough]];
    case What::kAuth:
      expect(kind == 2 || kind == 4 || kind == 5);
      return OnLoginReply(code);
    case What::kReset:
    case What::kNoop:
      expect(code == 250);
      break;
    case What::kError:
      expect(kind == 4 || kind == 5);  // 4: said of chunks that were refused
      break;
    case What::kQuit:
      expect(code == 221);
      is_goodbye_ = true;
      return;
    case What::kMail:
    case What::kRcpt:
    case What::kData:
    case What::kText:
    case What::kChunk:
    case What::kLastChunk:
      OnMessageReply(of, code, text);
      break;
  }
  if (!is_over_ && awaited_.empty() && !is_pausing_ && !is_leaving_) GoOn();
}

// It will say no more, whatever was asked.
void SmtpSimClient::OnGoodbye() {
  if (!MayFail() && !IsOutOfLogins()) ADD_FAILURE() << Words() << ", and hears a goodbye";
  is_goodbye_ = true;
  awaited_.clear();
  plan_.clear();
  pieces_.clear();
}

// --- up to the first message ---------------------------------------------------------------------

void SmtpSimClient::Hello() {
  const bool is_last = tls_ != conf::TlsMode::kStartTls || stream_->in_tls();
  is_old_ = is_last && protocol_ == conf::Protocol::kSmtp && dice_.OneIn(12);
  Say(What::kHello, (is_old_ ? "HELO c" : "EHLO c") + std::to_string(number_) + ".example");
}

void SmtpSimClient::OnHelloReply() {
  if (tls_ == conf::TlsMode::kStartTls && !stream_->in_tls())
    return Say(What::kStartTls, "STARTTLS");
  if (protocol_ == conf::Protocol::kSubmission && !is_logged_in_) return Login();
  Next();
}

void SmtpSimClient::Login() {
  has_wrong_password_ = dice_.OneIn(16);
  const std::string user = "u" + std::to_string(number_);
  const std::string password = has_wrong_password_ ? "wrong" : "secret";
  const std::string plain = base::Base64Encode('\0' + user + '\0' + password);
  switch (dice_.Below(3)) {
    case 0:
      return Say(What::kAuth, "AUTH PLAIN " + plain);
    case 1:
      // All in one packet: a client that does not wait for what it knows will come.
      Say(What::kChallenge, "AUTH PLAIN");
      return Say(What::kAuth, plain);
    default:
      Say(What::kChallenge, "AUTH LOGIN");
      Say(What::kChallenge, base::Base64Encode(user));
      return Say(What::kAuth, base::Base64Encode(password));
  }
}

void SmtpSimClient::OnLoginReply(int code) {
  if (code == 235) {
    EXPECT_FALSE(has_wrong_password_) << "a wrong password is good enough";
    is_logged_in_ = true;
    return Next();
  }
  if (code == 535) ++num_refused_logins_;
  EXPECT_TRUE(MayFail() || has_wrong_password_) << Words() << ": " << code;
  if (has_wrong_password_ && !MayFail()) {
    EXPECT_EQ(code, 535);
  }
  if (dice_.OneIn(2)) return Login();
  Leave();
}

// --- from message to message ---------------------------------------------------------------------

void SmtpSimClient::Next() {
  if (is_goodbye_ || is_over_) return;
  if (messages_left_ == 0) return Leave();
  const SmtpClientChoices& its = choices_.clients;
  if (dice_.PerMille(its.errs)) {
    static constexpr std::array kWrong = {
        "FOO",    "RCPT TO:<a@b>",           "DATA",        "MAIL TO:<a@b>", "VRFY",
        "BDAT 0", "XCLIENT ADDR=192.0.2.99", "STARTTLS now"};
    return Say(What::kError, dice_.Of(kWrong));
  }
  if (dice_.PerMille(its.dawdles)) return;  // for ever: Postern must end it
  if (dice_.OneIn(20)) return Say(What::kNoop, "NOOP");
  if (dice_.OneIn(30)) {
    // Begins anew: what was said holds no more, but who has logged in.
    is_old_ = false;
    return Say(What::kHello, "EHLO c" + std::to_string(number_) + ".example");
  }
  if (dice_.OneIn(4)) return Later(its.longest_pause, &SmtpSimClient::BeginMessage);
  BeginMessage();
}

void SmtpSimClient::Leave() {
  if (MayFail() && dice_.OneIn(6)) return Break();
  is_leaving_ = true;
  Say(What::kQuit, "QUIT");
  // Has nothing to say any more, but listens.
  if (dice_.OneIn(4) && !is_over_) stream_->ShutdownWrite();
}

}  // namespace postern::test
