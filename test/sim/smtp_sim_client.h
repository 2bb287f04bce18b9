// smtp_sim_client: a client of a simulation: greets, logs in, sends its messages in one of the ways
// there are, and looks at each reply: one for each command, in their order, of a class that the
// command can have, and about what it has asked.
//
// It may break off at any byte, fall silent, say what is no command, take back what it has begun;
// but what it says is meant, so that the books know what must come of it.
// Owner:    one SmtpRun.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "test/sim/dice.h"
#include "test/sim/smtp_books.h"
#include "test/sim/smtp_choices.h"
#include "test/support/sim_net.h"

namespace postern::test {

class SmtpSimClient final : public io::Stream::Observer {
 public:
  // listener: its own, for as long as it stays. on_end: it is over. All references outlive it.
  SmtpSimClient(uint32_t number, const SmtpChoices& choices, conf::Protocol protocol,
                std::unique_ptr<SimStream> stream, SimLoop& loop, Dice& dice, SmtpBooks& books,
                std::function<void()> on_end);
  ~SmtpSimClient();

  [[nodiscard]] static base::SocketAddress AddressOf(uint32_t number);
  [[nodiscard]] bool is_over() const { return is_over_; }
  // Where it is, for a failure.
  [[nodiscard]] std::string Words() const;
  [[nodiscard]] SimStream& stream() { return *stream_; }

 private:
  enum class What : uint8_t {
    kGreeting,
    kHello,
    kStartTls,
    kAuth,
    kChallenge,
    kMail,
    kRcpt,
    kData,
    kText,
    kChunk,
    kLastChunk,
    kReset,
    kNoop,
    kError,
    kQuit
  };
  struct Command {
    What what = What::kNoop;
    std::string bytes;
    size_t recipient = 0;
    SmtpSent* sent = nullptr;
  };
  struct Awaited {
    What what = What::kNoop;
    size_t recipient = 0;
    SmtpSent* sent = nullptr;
  };

  // smtp_sim_client.cc
  void OnStream(io::Stream& stream, io::Stream::Event event) override;
  void ReadReplies();
  void OnReply(int code, const std::string& text);
  void OnGoodbye();
  void OnHelloReply();
  void OnLoginReply(int code);
  void Say(What what, std::string bytes);
  void Send(Command command);
  void Write(std::string_view bytes);
  void Later(base::Duration most, void (SmtpSimClient::*then)());
  void Hello();
  void Login();
  void Next();
  void Leave();
  void Break();
  void End();
  [[nodiscard]] bool MayFail() const { return !choices_.is_quiet; }
  // Behind the refusal of its last login nothing but a goodbye may come.
  [[nodiscard]] bool IsOutOfLogins() const { return num_refused_logins_ >= most_refused_logins_; }

  // smtp_sim_message.cc
  void BeginMessage();
  [[nodiscard]] std::string Recipient(size_t index);
  [[nodiscard]] std::string Text();
  void GoOn();
  void PlanChunks();
  void SendText();
  void SendPiece();
  void OnMessageReply(const Awaited& of, int code, const std::string& text);
  void OnFinalReply(SmtpSent& sent, int code, const std::string& text);
  void EndMessage(const SmtpSent& sent);

  const uint32_t number_;
  const SmtpChoices& choices_;
  const conf::Protocol protocol_;
  // As of the listener when it came.
  const conf::TlsMode tls_;
  const conf::BareNewline bare_newline_;
  const conf::Commit commit_;
  const uint64_t message_limit_;
  const uint64_t most_refused_logins_;
  const std::unique_ptr<SimStream> stream_;
  SimLoop& loop_;
  Dice& dice_;
  SmtpBooks& books_;
  const std::function<void()> on_end_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  uint32_t messages_left_;
  uint64_t num_refused_logins_ = 0;

  std::deque<Awaited> awaited_;
  std::string replies_;
  std::deque<Command> plan_;  // of the message, not said yet
  SmtpSent* sent_ = nullptr;  // the message under way
  base::MonoTime last_rest_;  // nothing was due
  std::string pieces_;        // of its text, not written yet
  bool is_pipelined_ = false;
  bool is_leaving_ = false;  // says goodbye with the end of the text
  bool has_wrong_password_ = false;
  bool is_logged_in_ = false;
  bool is_old_ = false;       // says HELO
  bool was_refused_ = false;  // a chunk of it
  bool is_goodbye_ = false;   // heard, or said
  bool is_pausing_ = false;   // something is said later
  bool is_over_ = false;
};

}  // namespace postern::test
