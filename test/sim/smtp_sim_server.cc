// smtp_sim_server: a server's side of its connections.
// SPDX-License-Identifier: Apache-2.0
#include "test/sim/smtp_sim_server.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "lb/base/base64.h"
#include "lb/proto/proxy_header.h"

namespace postern::test {

using io::Stream;

class SmtpSimServer::Connection final : public Stream::Observer {
 public:
  Connection(SmtpSimServer& server, std::unique_ptr<SimStream> stream)
      : server_(server), its_(server.choices_), stream_(std::move(stream)) {
    stream_->SetObserver(this);
    expects_header_ = its_.client_address == conf::ClientAddress::kProxyV1 ||
                      its_.client_address == conf::ClientAddress::kProxyV2;
    if (!expects_header_) Begin();
  }
  [[nodiscard]] bool is_open() const { return !is_over_; }
  [[nodiscard]] bool is_idle() const { return !is_over_ && state_ == State::kReady; }
  SimStream& stream() { return *stream_; }
  void Reset() {
    is_over_ = true;
    stream_->Reset();
  }
  void Leave(bool says_so) {
    if (says_so) stream_->Write("421 4.4.2 too long\r\n");
    Close();
  }

 private:
  enum class State : uint8_t { kGreeted, kReady, kMail, kText, kChunk, kSasl };
  enum class Fault : uint8_t {
    kHang,
    kReset,
    kClose,
    kHalf,
    kGoodbye,
    kLater,
    kBusy,
    kNever,
    kNonsense
  };

  void OnStream(Stream&, Stream::Event event) override {
    if (is_over_) return;
    switch (event) {
      case Stream::Event::kTlsUp:
        if (its_.tls == conf::TlsMode::kImplicit) Greet();
        break;
      case Stream::Event::kReadable:
        while (!is_over_ && !is_hanging_ && !is_slow_ && TakeSome()) {
        }
        if (is_over_ || is_hanging_) stream_->Consume(stream_->Input().size());
        break;
      case Stream::Event::kEnd:
        Close();
        break;
      case Stream::Event::kConnected:
      case Stream::Event::kDrained:
        break;
    }
  }

  void Close() {
    is_over_ = true;
    stream_->CloseGently();
  }

  void Begin() {
    if (its_.tls == conf::TlsMode::kImplicit) {
      StartTls();
    } else {
      Greet();
    }
  }
  void StartTls() {
    state_ = State::kGreeted;  // all that was said is forgotten
    io::TlsRequest request;
    request.role = io::TlsRole::kServer;
    stream_->StartTls(request);
  }
  void Greet() { (void)Say("220 s" + std::to_string(server_.number_)); }

  // --- what it says ---

  // What is said next may be late.
  void TakeTime() {
    Dice& dice = server_.dice_;
    if (dice.PerMille(its_.waits)) stream_->socket().Delay(dice.UpTo(its_.longest_wait));
  }

  // False: something else was said, or nothing.
  bool Say(const std::string& usual, uint32_t refuses = 0) {
    TakeTime();
    return SayNow(usual, refuses);
  }
  bool SayNow(const std::string& usual, uint32_t refuses) {
    Dice& dice = server_.dice_;
    if (dice.PerMille(refuses)) {
      stream_->Write(dice.OneIn(3) ? "450 4.2.0 <" + recipient_ + "> later\r\n"
                                   : "550 5.1.1 <" + recipient_ + "> is not here\r\n");
      return false;
    }
    if (!dice.PerMille(its_.fails)) {
      stream_->Write(usual + "\r\n");
      return true;
    }
    Fail(static_cast<Fault>(dice.Below(9)), usual);
    return false;
  }

  void Fail(Fault fault, const std::string& usual) {
    switch (fault) {
      case Fault::kHang:
        is_hanging_ = true;
        break;
      case Fault::kReset:
        Reset();
        break;
      case Fault::kHalf:
        stream_->Write(usual.substr(0, server_.dice_.Below(usual.size() + 1)));
        Close();
        break;
      case Fault::kClose:
        Close();
        break;
      case Fault::kGoodbye:
        stream_->Write(server_.dice_.OneIn(2) ? "421 4.3.2 busy\r\n" : "421 4.7.0 not you\r\n");
        Close();
        break;
      case Fault::kLater:
        stream_->Write("451 4.3.0 later\r\n");
        break;
      case Fault::kBusy:
        stream_->Write("450 4.2.0 greylisted\r\n");
        break;
      case Fault::kNever:
        stream_->Write("550 5.7.1 no\r\n");
        break;
      case Fault::kNonsense:
        stream_->Write("nonsense\r\n");
        break;
    }
  }

  // --- what it hears ---

  // False if there is nothing whole.
  bool TakeSome() {
    if (expects_header_) return TakeHeader();
    if (state_ == State::kChunk) return TakeChunk();
    if (state_ == State::kText) return TakeText();
    const base::ByteView input = stream_->Input();
    const size_t end = input.find("\r\n");
    if (end == base::ByteView::npos) return false;
    const std::string line(input.substr(0, end));
    stream_->Consume(end + 2);
    const base::ByteView behind = stream_->Input();
    const bool has_octets = line.starts_with("BDAT ");
    if (!behind.empty() && !its_.has_pipelining && !has_octets && !behind.starts_with("QUIT") &&
        !QuitMayBegin(behind))
      ADD_FAILURE() << "not announced: " << line << " and behind it " << std::string(behind);
    Run(line);
    return true;
  }

  static bool QuitMayBegin(base::ByteView bytes) {
    return base::ByteView("QUIT\r\n").starts_with(bytes.substr(0, 6));
  }

  bool TakeHeader() {
    const proto::ProxyParse parse = proto::ParseProxyHeader(stream_->Input());
    if (parse.status == proto::ProxyParse::Status::kNeedMore) return false;
    EXPECT_EQ(parse.status, proto::ProxyParse::Status::kDone);
    client_ip_ = parse.header.source.ip.ToString();
    stream_->Consume(parse.size_bytes);
    expects_header_ = false;
    Begin();
    return its_.tls != conf::TlsMode::kImplicit;
  }

  void Run(const std::string& line) {
    const auto begins = [&line](std::string_view word) { return line.starts_with(word); };
    if (state_ == State::kSasl) return TakePassword(line);
    if (begins(its_.is_lmtp ? "LHLO " : "EHLO ")) {
      hello_ = line.substr(5);
      Hello();
    } else if (begins("HELO ") && its_.client_address == conf::ClientAddress::kXclient) {
      // As the client has said it: without what might be announced.
      hello_ = line.substr(5);
      state_ = State::kReady;
      (void)Say("250 s" + std::to_string(server_.number_));
    } else if (begins("MAIL FROM:<")) {
      Mail(line);
    } else if (begins("RCPT TO:<")) {
      Recipient(line);
    } else if (line == "DATA") {
      Data();
    } else if (begins("BDAT ")) {
      Chunk(line);
    } else if (line == "RSET") {
      if (state_ == State::kMail) state_ = State::kReady;
      (void)Say("250 2.0.0 forgotten");
    } else if (line == "STARTTLS" && its_.tls == conf::TlsMode::kStartTls && !stream_->in_tls()) {
      if (Say("220 2.0.0 go")) StartTls();
    } else if (begins("XCLIENT ") && its_.client_address == conf::ClientAddress::kXclient) {
      Xclient(line);
    } else if (begins("AUTH PLAIN ") && protocol() == conf::Protocol::kSubmission) {
      Login(line.substr(11));
    } else if (line == "QUIT") {
      (void)Say("221 2.0.0 bye");
      if (!is_over_) Close();
    } else if (begins("AUTH PLAIN") && protocol() == conf::Protocol::kSubmission) {
      if (Say("334 ")) state_ = State::kSasl;
    } else {
      Misplaced(line);
    }
  }

  [[nodiscard]] conf::Protocol protocol() const { return server_.protocol_; }

  void Misplaced(const std::string& line) {
    ADD_FAILURE() << "out of place at server " << server_.number_ << ": " << line;
    (void)Say("503 5.5.1 not now");
  }

  // Out of place is no fault where it came in one packet with what was refused.
  void NotNow(const std::string& line) {
    if (!its_.has_pipelining) return Misplaced(line);
    stream_->Write("503 5.5.1 not now\r\n");
  }

  void Hello() {
    state_ = State::kReady;
    std::string lines = server_.ehlo_lines_;
    // Not inside TLS.
    if (its_.tls == conf::TlsMode::kStartTls && !stream_->in_tls())
      lines.replace(lines.rfind("250 "), 4, "250-STARTTLS\r\n250 ");
    (void)Say(lines);
  }

  void Xclient(const std::string& line) {
    const auto value = [&line](std::string_view name) {
      const size_t at = line.find(name);
      return at == std::string::npos
                 ? ""
                 : line.substr(at + name.size(), line.find(' ', at + 1) - at - name.size());
    };
    if (const std::string ip = value(" ADDR="); !ip.empty()) client_ip_ = ip;
    if (const std::string login = value(" LOGIN="); !login.empty()) user_ = login;
    state_ = State::kGreeted;
    (void)Say("220 s" + std::to_string(server_.number_));
  }

  void TakePassword(const std::string& line) {
    state_ = State::kReady;
    Login(line);
  }

  void Login(const std::string& word) {
    const std::string login = base::Base64Decode(word).value_or("");
    const size_t user = login.find('\0');
    const size_t password = login.find('\0', user + 1);
    if (user == std::string::npos || password == std::string::npos) {
      ADD_FAILURE() << "no login: " << word;
    } else if (login.substr(password + 1) != "secret") {
      stream_->Write("535 5.7.8 no\r\n");
    } else if (Say("235 2.7.0 in")) {
      user_ = login.substr(user + 1, password - user - 1);
    }
  }

  void Mail(const std::string& line) {
    if (state_ != State::kReady) return Misplaced(line);
    if (its_.tls != conf::TlsMode::kNone && !stream_->in_tls())
      ADD_FAILURE() << "in clear: " << line;
    message_ = {};
    message_.from = line.substr(11, line.find('>') - 11);
    recipient_ = message_.from;
    if (Say("250 2.1.0 <" + message_.from + "> ok")) state_ = State::kMail;
  }

  void Recipient(const std::string& line) {
    if (state_ != State::kMail) return NotNow(line);
    recipient_ = line.substr(9, line.find('>') - 9);
    if (its_.is_lmtp && !message_.to.empty()) ADD_FAILURE() << "a second recipient by LMTP";
    if (Say("250 2.1.5 <" + recipient_ + "> ok", its_.refuses)) message_.to.push_back(recipient_);
  }

  void Data() {
    if (state_ != State::kMail || message_.to.empty()) return NotNow("DATA");
    if (!Say("354 go on")) return;
    state_ = State::kText;
    BeginText();
  }

  void Chunk(const std::string& line) {
    if (!its_.has_chunking) return Misplaced(line);
    chunk_left_ = std::strtoull(line.c_str() + 5, nullptr, 10);
    is_last_chunk_ = line.ends_with(" LAST");
    if (!message_.is_chunked) {
      // Nothing may be in doubt before text goes anywhere.
      if (state_ != State::kMail || message_.to.empty()) return Misplaced(line);
      BeginText();
    }
    message_.is_chunked = true;
    state_ = State::kChunk;
  }

  // --- texts ---

  void BeginText() {
    Dice& dice = server_.dice_;
    num_early_ = dice.PerMille(its_.speaks_early) ? 1 + dice.Below(600) : 0;
    if (!dice.PerMille(its_.reads_slowly)) return;
    is_slow_ = true;
    stream_->PauseReads();
    server_.loop_.Schedule(dice.UpTo(std::chrono::seconds(10)),
                           [this, alive = std::weak_ptr(alive_)] {
                             if (alive.expired() || is_over_) return;
                             is_slow_ = false;
                             stream_->ResumeReads();
                           });
  }

  // False: it has spoken before its turn, and is gone.
  bool Grow(base::ByteView bytes) {
    message_.text += bytes;
    stream_->Consume(bytes.size());
    if (num_early_ == 0 || message_.text.size() < num_early_) return true;
    static constexpr std::array kWords = {"552 5.3.4 too much\r\n", "451 4.3.0 disk\r\n",
                                          "421 4.3.2 going down\r\n"};
    stream_->Write(server_.dice_.Of(kWords));
    Close();
    return false;
  }

  bool TakeText() {
    const base::ByteView input = stream_->Input();
    // What is there may have begun with the last read; the end is looked for across it.
    static constexpr base::ByteView kEnd = "\r\n.\r\n";
    const size_t known = message_.text.size();
    if (known == 0 && input.starts_with(".\r\n")) {
      stream_->Consume(3);
      return Store();
    }
    const size_t tail = std::min<size_t>(known, kEnd.size() - 1);
    std::string seam = message_.text.substr(known - tail);
    seam += input.substr(0, kEnd.size() - 1);
    size_t end = seam.find(kEnd);
    if (end != std::string::npos) {
      const size_t taken = end + kEnd.size() - tail;
      // CRLF belongs to the text.
      message_.text.resize(known - tail + std::min(tail, end + 2));
      if (end + 2 > tail) message_.text += input.substr(0, end + 2 - tail);
      stream_->Consume(taken);
      return Store();
    }
    end = input.find(kEnd);
    if (end != base::ByteView::npos) {
      message_.text += input.substr(0, end + 2);
      stream_->Consume(end + kEnd.size());
      return Store();
    }
    // ".": perhaps of the end, with nothing before it.
    if (known == 0 && base::ByteView(".\r\n").starts_with(input)) return false;
    (void)Grow(input);
    return false;
  }

  bool TakeChunk() {
    const base::ByteView input = stream_->Input();
    const base::ByteView octets = input.substr(0, std::min<uint64_t>(input.size(), chunk_left_));
    if (octets.empty() && chunk_left_ > 0) return false;
    chunk_left_ -= octets.size();
    if (!Grow(octets)) return false;
    if (chunk_left_ > 0) return true;
    if (is_last_chunk_) return Store();
    state_ = State::kMail;
    // There may be a chunk for each octet, and who takes minutes for each does not take the next
    // ones meanwhile: while one answer is late the others only come behind it.
    if (!stream_->socket().is_late()) TakeTime();
    (void)SayNow("250 2.0.0 octets", 0);
    return true;
  }

  // Whatever then becomes of the answer.
  bool Store() {
    state_ = State::kReady;
    Dice& dice = server_.dice_;
    const bool fails = dice.PerMille(its_.fails);
    const auto fault = static_cast<Fault>(fails ? dice.Below(9) : 0);
    const bool is_word = fault >= Fault::kGoodbye && fault != Fault::kNonsense;
    const std::string id = "s" + std::to_string(server_.number_) + "-" +
                           message_.from.substr(0, message_.from.find('@')) + "-" +
                           std::to_string(++server_.num_stored_);
    if (!fails || (!is_word && dice.OneIn(2))) {
      message_.server = server_.number_;
      message_.client_ip = client_ip_;
      message_.user = user_;
      message_.hello = hello_;
      message_.queue_id = id;
      server_.books_.OnStored(message_);
    }
    const std::string usual = "250 2.0.0 Ok: queued as " + id;
    TakeTime();
    if (fails) {
      Fail(fault, usual);
    } else {
      stream_->Write(usual + "\r\n");
    }
    message_ = {};
    if (dice.PerMille(its_.leaves_idle)) LeaveSoon();
    return !is_over_;
  }

  void LeaveSoon() {
    server_.loop_.Schedule(server_.dice_.UpTo(std::chrono::milliseconds(200)),
                           [this, alive = std::weak_ptr(alive_)] {
                             if (alive.expired() || !is_idle()) return;
                             Leave(server_.dice_.OneIn(2));
                           });
  }

  SmtpSimServer& server_;
  const SmtpServerChoices& its_;
  std::unique_ptr<SimStream> stream_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  State state_ = State::kGreeted;
  SmtpStored message_;
  std::string recipient_, client_ip_, hello_, user_;
  uint64_t chunk_left_ = 0;
  size_t num_early_ = 0;  // of octets, until it speaks; 0: it does not
  bool is_last_chunk_ = false;
  bool expects_header_ = false;
  bool is_slow_ = false;
  bool is_over_ = false;
  bool is_hanging_ = false;
};

SmtpSimServer::SmtpSimServer(int number, const SmtpServerChoices& choices, conf::Protocol protocol,
                             SimLoop& loop, SimNet& net, Dice& dice, SmtpBooks& books)
    : number_(number),
      choices_(choices),
      protocol_(protocol),
      loop_(loop),
      dice_(dice),
      books_(books),
      address_{*base::IpAddress::Parse("10.0.0." + std::to_string(number)), 25} {
  std::vector<std::string> keywords = {"SIZE 10240000", "ENHANCEDSTATUSCODES"};
  if (choices_.has_pipelining) keywords.emplace_back("PIPELINING");
  if (choices_.has_8bitmime) keywords.emplace_back("8BITMIME");
  if (choices_.has_chunking) keywords.emplace_back("CHUNKING");
  if (protocol == conf::Protocol::kSubmission) keywords.emplace_back("AUTH PLAIN LOGIN");
  if (choices_.client_address == conf::ClientAddress::kXclient)
    keywords.emplace_back("XCLIENT NAME REVERSE_NAME ADDR PORT PROTO HELO LOGIN DESTADDR");
  ehlo_lines_ = "250-s" + std::to_string(number);
  for (const std::string& keyword : keywords) ehlo_lines_ += "\r\n250-" + keyword;
  ehlo_lines_[ehlo_lines_.rfind("250-") + 3] = ' ';
  net.Listen(address_, [this](std::unique_ptr<SimStream> stream) {
    Prune();
    SimStream& its = *stream;
    connections_.push_back(std::make_unique<Connection>(*this, std::move(stream)));
    ++num_connections_;
    if (on_accept) on_accept(its, num_connections_);
    if (!dice_.PerMille(choices_.breaks)) return;
    SimSocket& socket = its.socket();
    const auto how = static_cast<SimSocket::Break>(dice_.Below(3));
    const uint64_t bytes = dice_.Below(dice_.OneIn(3) ? 3000 : 500);
    // By what it says, or by what it hears.
    if (const auto peer = socket.peer(); peer != nullptr && dice_.OneIn(2)) {
      peer->BreakAfter(peer->total_sent_bytes() + bytes, how);
    } else {
      socket.BreakAfter(socket.total_sent_bytes() + bytes, how);
    }
  });
}

SmtpSimServer::~SmtpSimServer() = default;

void SmtpSimServer::Prune() {
  std::erase_if(connections_, [](const auto& each) { return !each->is_open(); });
}

void SmtpSimServer::Restart() {
  for (const auto& each : connections_)
    if (each->is_open()) each->Reset();
}

void SmtpSimServer::EndIdle() {
  for (const auto& each : connections_)
    if (each->is_idle()) return each->Leave(dice_.OneIn(2));
}

int SmtpSimServer::num_open() const {
  return static_cast<int>(std::count_if(connections_.begin(), connections_.end(),
                                        [](const auto& each) { return each->is_open(); }));
}

}  // namespace postern::test
