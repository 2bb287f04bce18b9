// scripted_backend: a mailbox server in memory.
// SPDX-License-Identifier: Apache-2.0
#include "test/support/scripted_backend.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "lb/base/base64.h"
#include "lb/base/bytes.h"
#include "lb/proto/proxy_header.h"

namespace postern::test {

using io::Stream;

class ScriptedBackend::Connection final : public Stream::Observer {
 public:
  Connection(ScriptedBackend& backend, std::unique_ptr<SimStream> stream)
      : backend_(backend), stream_(std::move(stream)) {
    stream_->SetObserver(this);
    if (backend_.breaks_after)
      stream_->socket().BreakAfter(backend_.breaks_after->first, backend_.breaks_after->second);
    if (backend_.expects_proxy) return;
    if (backend_.is_implicit) {
      StartTls();
    } else {
      Greet();
    }
  }

  [[nodiscard]] bool is_open() const { return !stream_->is_closed() && !is_over_; }
  SimStream& stream() { return *stream_; }

 private:
  void OnStream(Stream& stream, Stream::Event event) override {
    switch (event) {
      case Stream::Event::kReadable:
        Read();
        return;
      case Stream::Event::kTlsUp:
        if (backend_.is_implicit) Greet();
        return;
      case Stream::Event::kEnd:
        backend_.has_seen_eof = true;
        // A real server ends when its client does.
        if (backend_.stays_open && stream.end() == io::StreamEnd::kEof) return;
        is_over_ = true;
        if (stream.end() == io::StreamEnd::kEof) {
          stream.CloseGently();
        } else {
          stream.Close();
        }
        return;
      case Stream::Event::kDrained:
        if (is_flooding_) flood_.Pump(stream);
        return;
      case Stream::Event::kConnected:
        return;
    }
  }

  void StartTls() {
    io::TlsRequest request;
    request.role = io::TlsRole::kServer;
    stream_->StartTls(request);
  }

  [[nodiscard]] bool is_tcp() const { return backend_.protocol_ == conf::Protocol::kTcp; }
  [[nodiscard]] bool is_imap() const { return backend_.protocol_ == conf::Protocol::kImap; }

  // Sends the answer, or does what the fault says instead.
  void Answer(const std::string& answer) {
    const bool is_faulty = backend_.fault != Fault::kNone && num_answers_ == backend_.fault_at;
    ++num_answers_;
    if (!is_faulty) {
      Write(answer);
      return;
    }
    const std::string tag = tag_.empty() ? "*" : tag_;
    switch (backend_.fault) {
      case Fault::kNone:
        return;
      case Fault::kHang:
        is_hanging_ = true;
        return;
      case Fault::kReset:
        End();
        stream_->Reset();
        return;
      case Fault::kClose:
        End();
        stream_->CloseGently();
        return;
      case Fault::kHalfLine:
        Write(answer.substr(0, answer.size() / 2));
        End();
        stream_->CloseGently();
        return;
      case Fault::kGarbage:
        Write("HTTP/1.1 400 Bad Request\r\n");
        return;
      case Fault::kEndless:
        Write(std::string(40000, 'x'));
        return;
      case Fault::kBusy:
        Write(is_imap() ? "* BYE too busy\r\n" : "-ERR [SYS/TEMP] too busy\r\n");
        End();
        stream_->CloseGently();
        return;
      case Fault::kTempFail:
        Write(is_imap() ? tag + " NO [UNAVAILABLE] later\r\n" : "-ERR [SYS/TEMP] later\r\n");
        return;
      case Fault::kInjects:
        Write(answer + answer);
        return;
      case Fault::kFlood:
        is_hanging_ = is_flooding_ = true;
        flood_ = backend_.flood;
        if (flood_.is_behind) Write(answer);
        flood_.Pump(*stream_);
        return;
    }
  }

  void End() { is_over_ = true; }

  void Write(std::string_view bytes) {
    if (is_logged_in_) backend_.said += bytes;
    stream_->Write(bytes);
  }

  void Greet() {
    if (is_tcp()) {
      is_logged_in_ = true;
      return;
    }
    if (backend_.greeting_delay == base::Duration{}) {
      GreetNow();
      return;
    }
    backend_.loop_.Schedule(backend_.greeting_delay, [this, alive = std::weak_ptr<int>(alive_)] {
      if (!alive.expired() && is_open()) GreetNow();
    });
  }

  void GreetNow() {
    if (is_imap()) {
      Answer("* OK [CAPABILITY " + Capabilities() + "] back ready\r\n");
    } else {
      Answer("+OK [XCLIENT] back ready\r\n");
    }
  }

  std::string Capabilities() const {
    std::string text = backend_.capabilities;
    if (text.empty())
      text = is_imap() ? "IMAP4rev1 SASL-IR ID AUTH=PLAIN"
                       : "TOP\r\nUSER\r\n"
                         "SASL PLAIN";
    if (backend_.has_starttls && !backend_.strips_starttls && !stream_->in_tls())
      text += is_imap() ? " STARTTLS" : "\r\nSTLS";
    return text;
  }

  void Read() {
    if (is_hanging_ || is_over_) {
      stream_->Consume(stream_->Input().size());
      return;
    }
    if (backend_.expects_proxy && !has_header_) {
      const auto parse = proto::ParseProxyHeader(stream_->Input());
      if (parse.status == proto::ProxyParse::Status::kNeedMore) return;
      EXPECT_EQ(parse.status, proto::ProxyParse::Status::kDone);
      has_header_ = true;
      backend_.before_tls = std::string(stream_->Input().substr(0, parse.size_bytes));
      stream_->Consume(parse.size_bytes);
      if (backend_.is_implicit) {
        StartTls();
        return;
      }
      Greet();
    }
    while (!is_logged_in_ && !is_over_ && !is_hanging_) {
      const base::ByteView input = stream_->Input();
      const size_t end = input.find("\r\n");
      if (end == base::ByteView::npos) return;
      const std::string line(input.substr(0, end));
      stream_->Consume(end + 2);
      backend_.lines.push_back(line);
      TakeLine(line);
    }
    if (!is_logged_in_) return;
    if (backend_.answers_all) {
      AnswerAll();
      return;
    }
    backend_.relayed += stream_->Input();
    stream_->Consume(stream_->Input().size());
    if (is_tcp()) return;
    const std::string& got = backend_.relayed;
    // LOGOUT and QUIT are the only commands that it knows by now.
    const size_t logout = got.find(" LOGOUT\r\n");
    if (logout != std::string::npos) {
      const size_t start =
          got.rfind('\n', logout) == std::string::npos ? 0 : got.rfind('\n', logout) + 1;
      Write("* BYE bye\r\n" + got.substr(start, logout - start) + " OK done\r\n");
      End();
      stream_->CloseGently();
    } else if (got.ends_with("QUIT\r\n")) {
      Write("+OK bye\r\n");
      End();
      stream_->CloseGently();
    }
  }

  void AnswerAll() {
    for (size_t end = 0; (end = stream_->Input().find("\r\n")) != base::ByteView::npos;) {
      const base::ByteView line = stream_->Input().substr(0, end);
      Write(is_imap() ? std::string(line.substr(0, line.find(' '))) + " OK done\r\n" : "+OK\r\n");
      stream_->Consume(end + 2);
    }
  }

  void TakeLine(const std::string& line) {
    if (is_imap()) {
      TakeImap(line);
    } else {
      TakePop3(line);
    }
  }

  void TakeImap(const std::string& line) {
    const size_t blank = line.find(' ');
    if (is_challenged_) {
      is_challenged_ = false;
      Answer(tag_ + " NO [AUTHENTICATIONFAILED] bad token\r\n");
      return;
    }
    tag_ = line.substr(0, blank);
    const std::string command = blank == std::string::npos ? "" : line.substr(blank + 1);
    if (command == "CAPABILITY") {
      Answer("* CAPABILITY " + Capabilities() + "\r\n" + tag_ + " OK done\r\n");
    } else if (command == "STARTTLS") {
      Answer(tag_ + " OK begin\r\n");
      if (!is_over_ && !is_hanging_ && backend_.fault != Fault::kInjects) StartTls();
    } else if (command.starts_with("ID ")) {
      Answer("* ID NIL\r\n" + tag_ + " OK done\r\n");
    } else if (command.starts_with("AUTHENTICATE PLAIN ")) {
      const std::string plain = base::Base64Decode(command.substr(19)).value_or("");
      const size_t second = plain.find('\0', 1);
      if (second != std::string::npos) LogIn(plain.substr(1, second - 1), plain.substr(second + 1));
    } else if (command.starts_with("AUTHENTICATE XOAUTH2 ")) {
      is_challenged_ = true;
      Answer("+ " + backend_.token_challenge + "\r\n");
    } else if (command.starts_with("LOGIN \"")) {
      const size_t middle = command.find("\" \"");
      LogIn(command.substr(7, middle - 7), command.substr(middle + 3, command.size() - middle - 4));
    } else {
      Answer(tag_ + " BAD what?\r\n");
    }
  }

  void TakePop3(const std::string& line) {
    if (line == "CAPA") {
      Answer("+OK\r\n" + Capabilities() + "\r\n.\r\n");
    } else if (line == "STLS") {
      Answer("+OK begin\r\n");
      if (!is_over_ && !is_hanging_ && backend_.fault != Fault::kInjects) StartTls();
    } else if (line.starts_with("XCLIENT ")) {
      Answer("+OK\r\n");
    } else if (line.starts_with("USER ")) {
      user_ = line.substr(5);
      Answer("+OK\r\n");
    } else if (line.starts_with("PASS ")) {
      LogIn(user_, line.substr(5));
    } else {
      Answer("-ERR what?\r\n");
    }
  }

  void LogIn(const std::string& user, const std::string& password) {
    const auto found = backend_.passwords.find(user);
    const bool is_right = found != backend_.passwords.end() && found->second == password;
    std::string answer;
    if (!is_right) {
      answer = !backend_.refusal.empty() ? backend_.refusal + "\r\n"
               : is_imap() ? tag_ + " NO [AUTHENTICATIONFAILED] " + user + " is no user\r\n"
                           : "-ERR [AUTH] " + user + " is no user\r\n";
    } else if (is_imap()) {
      answer = tag_ + " OK ";
      if (!backend_.post_capabilities.empty())
        answer += "[CAPABILITY " + backend_.post_capabilities + "] ";
      answer += "Logged in at " + backend_.name_ + "\r\n" + backend_.behind_ok;
    } else {
      answer = "+OK Logged in at " + backend_.name_ + "\r\n" + backend_.behind_ok;
    }
    // Who says its OK, and more or less than the rest, has said OK all the same.
    const bool is_faulty = backend_.fault != Fault::kNone && num_answers_ == backend_.fault_at;
    const bool says_ok = backend_.fault == Fault::kInjects ||
                         (backend_.fault == Fault::kFlood && backend_.flood.is_behind) ||
                         (backend_.fault == Fault::kHalfLine &&
                          answer.substr(0, answer.size() / 2).find("\r\n") != std::string::npos);
    const bool will_fail = is_faulty && !says_ok;
    if (is_right && !will_fail) {
      is_logged_in_ = true;
      backend_.logins.push_back(user);
    }
    if (backend_.auth_delay == base::Duration{}) {
      Answer(answer);
      return;
    }
    backend_.loop_.Schedule(backend_.auth_delay,
                            [this, answer, alive = std::weak_ptr<int>(alive_)] {
                              if (!alive.expired() && is_open()) Answer(answer);
                            });
  }

  ScriptedBackend& backend_;
  std::unique_ptr<SimStream> stream_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  Flood flood_;
  int num_answers_ = 0;
  bool has_header_ = false;
  bool is_flooding_ = false;
  bool is_hanging_ = false;
  bool is_over_ = false;
  bool is_logged_in_ = false;
  bool is_challenged_ = false;
  std::string tag_, user_;
};

ScriptedBackend::ScriptedBackend(SimLoop& loop, SimNet& net, const base::SocketAddress& address,
                                 conf::Protocol protocol, std::string name)
    : loop_(loop), protocol_(protocol), name_(std::move(name)) {
  net.Listen(address, [this](std::unique_ptr<SimStream> stream) {
    ++num_connections_;
    connections_.push_back(std::make_unique<Connection>(*this, std::move(stream)));
  });
}

ScriptedBackend::~ScriptedBackend() = default;

int ScriptedBackend::num_open() const {
  return static_cast<int>(std::count_if(connections_.begin(), connections_.end(),
                                        [](const auto& each) { return each->is_open(); }));
}

SimStream* ScriptedBackend::stream() {
  return connections_.empty() ? nullptr : &connections_.back()->stream();
}

void ScriptedBackend::Say(std::string_view bytes) {
  ASSERT_NE(stream(), nullptr);
  said += bytes;
  stream()->Write(bytes);
}

}  // namespace postern::test
