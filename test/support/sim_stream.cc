// sim_stream: the rules of io::Stream, and the toy TLS, on a SimSocket.
// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "lb/base/check.h"
#include "test/support/sim_net.h"

namespace postern::test {
namespace {

using io::StreamEnd;
using Kind = SimSocket::Kind;

// The messages of the toy TLS end with a newline; they begin like records of the real one, so that
// whoever takes them for text fails as in real life.
constexpr base::ByteView kClientHello("\x16\x03\x01 client hello ");
constexpr base::ByteView kServerHello("\x16\x03\x03 server hello\n");
constexpr base::ByteView kFinished("\x16\x03\x03 finished\n");
constexpr base::ByteView kCloseNotify("\x15\x03\x03 close notify\n");
constexpr base::ByteView kBadCertificate("\x15\x03\x03 bad certificate\n");
constexpr base::ByteView kUnexpected("\x15\x03\x03 unexpected message\n");

bool MayBeRecord(base::ByteView bytes) {
  return bytes.empty() || bytes[0] == '\x16' || bytes[0] == '\x15';
}

}  // namespace

SimStream::SimStream(SimNet& net)
    : net_(net),
      self_(std::make_shared<SimStream*>(this)),
      socket_(std::make_shared<SimSocket>(net.world_)) {
  socket_->set_owner(this);
  ++net_.num_streams_;
}

SimStream::~SimStream() {
  POSTERN_CHECK(!is_in_callback_);
  Close();
  *self_ = nullptr;
  --net_.num_streams_;
}

void SimStream::SetObserver(Observer* observer) {
  POSTERN_CHECK(observer != nullptr);
  observer_ = observer;
  ServeSoon();
}

// --- from the loop --------------------------------------------------------------------------

void SimStream::OnArrival() {
  // After a clean end nobody reads; a reset is noticed only by bytes that wait to be sent.
  if (is_eof_ && socket_->has_lost_bytes() && state_ == State::kOpen) EndLater(StreamEnd::kReset);
  ServeSoon();
}

void SimStream::OnFlushed(size_t before_bytes) {
  const size_t after = socket_->unsent_bytes();
  const bool is_drained = (before_bytes > low_water_bytes_ && after <= low_water_bytes_) ||
                          (before_bytes > 0 && after == 0);
  if (!is_drained || is_handshaking()) return;
  reports_.drained = true;
  ServeSoon();
}

void SimStream::ServeSoon() {
  if (is_serve_posted_) return;
  is_serve_posted_ = true;
  net_.world_.loop.Post([self = self_] {
    if (*self == nullptr) return;
    (*self)->is_serve_posted_ = false;
    (*self)->Serve();
  });
}

void SimStream::Serve() {
  if (observer_ == nullptr) return;
  ServeReports();
  if (!WantsRead()) return;
  const auto amount = is_handshaking() ? SimSocket::Amount::kAll : SimSocket::Amount::kAsCut;
  auto piece = socket_->Read(amount);
  if (!piece) return;
  Take(std::move(*piece));
  // One piece a turn, so that other streams have theirs in between.
  if (WantsRead() && socket_->has_arrived()) ServeSoon();
}

void SimStream::ServeReports() {
  if (std::exchange(reports_.connected, false) && !Report(Event::kConnected)) return;
  if (std::exchange(reports_.drained, false) && !Report(Event::kDrained)) return;
  if (std::exchange(reports_.readable, false) && !is_paused_ && !is_handshaking() &&
      !input_.empty() && !Report(Event::kReadable)) {
    return;
  }
  const StreamEnd end = std::exchange(reports_.end, StreamEnd::kNone);
  if (end != StreamEnd::kNone) return EndWith(end);
  if (std::exchange(reports_.handshake, false)) TakeHandshake({});
}

bool SimStream::Report(Event event) {
  if (state_ == State::kClosed) return false;
  is_in_callback_ = true;
  observer_->OnStream(*this, event);
  is_in_callback_ = false;
  if (!input_.empty()) {
    base::ByteQueue moved;
    moved.Append(input_.View());
    input_ = std::move(moved);
  }
  return state_ == State::kOpen;
}

// --- reading --------------------------------------------------------------------------------

bool SimStream::WantsRead() const {
  if (state_ != State::kOpen || is_eof_ || observer_ == nullptr) return false;
  if (reports_.end != StreamEnd::kNone) return false;
  if (is_handshaking()) return true;  // a pause is about what comes after it
  return !is_paused_ && input_.size() < net_.options.max_input_bytes;
}

void SimStream::Take(SimSocket::Piece piece) {
  switch (piece.kind) {
    case Kind::kReset:
      if (!is_handshaking()) return EndWith(StreamEnd::kReset);
      return FailTls(StreamEnd::kTlsFailed, "connection lost during the handshake", {});
    case Kind::kFin:
      return TakeEof();
    case Kind::kHandshake:
      if (tls_ != Tls::kNone) return TakeHandshake(piece.bytes);
      break;
    case Kind::kClear:
      if (tls_ != Tls::kNone)
        return FailTls(StreamEnd::kTlsFailed, "not a TLS record", kUnexpected);
      break;
    case Kind::kInTls:
      if (is_handshaking()) {
        return FailTls(StreamEnd::kTlsFailed, "data before the handshake has ended", kUnexpected);
      }
      break;
  }
  input_.Append(piece.bytes);
  (void)Report(Event::kReadable);
}

void SimStream::TakeEof() {
  if (is_handshaking()) {
    return FailTls(StreamEnd::kTlsFailed, "connection closed during the handshake", {});
  }
  is_truncated_ = tls_ == Tls::kUp;
  EndWith(StreamEnd::kEof);
}

void SimStream::Consume(size_t num_bytes) {
  input_.Consume(num_bytes);
  if (WantsRead() && socket_->has_arrived()) ServeSoon();
}

void SimStream::ResumeReads() {
  is_paused_ = false;
  if (state_ != State::kOpen) return;
  if (!input_.empty()) reports_.readable = true;
  ServeSoon();
}

// --- writing --------------------------------------------------------------------------------

void SimStream::Write(base::ByteView bytes) {
  if (state_ == State::kClosed || state_ == State::kEnded) return;
  POSTERN_CHECK(!is_write_shut_ && !is_handshaking());
  if (socket_->is_broken()) {
    // Noticed at the write; an end that still reads hears of it when it has read all.
    if (is_eof_) EndLater(StreamEnd::kReset);
    return;
  }
  socket_->Send(tls_ == Tls::kUp ? Kind::kInTls : Kind::kClear, bytes);
}

void SimStream::ShutdownWrite() {
  if (is_write_shut_ || state_ == State::kClosed || state_ == State::kEnded) return;
  is_write_shut_ = true;
  if (tls_ == Tls::kUp) socket_->Send(Kind::kHandshake, kCloseNotify);
  socket_->SendFin();
}

// --- TLS ------------------------------------------------------------------------------------

void SimStream::StartTls(const io::TlsRequest& request) {
  POSTERN_CHECK(tls_ == Tls::kNone);
  POSTERN_CHECK(input_.empty() || request.input_is_ciphertext);
  const std::string early(input_.View());
  input_.Clear();
  if (state_ == State::kClosed || state_ == State::kEnded) return;
  if (request.role == io::TlsRole::kClient) {
    tls_ = Tls::kAwaitsServer;
    const bool is_address = base::IpAddress::Parse(request.server_name).has_value();
    server_name_ = is_address ? std::string() : base::ToLower(request.server_name);
    socket_->Send(Kind::kHandshake, std::string(kClientHello) + server_name_ + "\n");
  } else {
    tls_ = Tls::kAwaitsClient;
  }
  if (!MayBeRecord(early)) {
    tls_error_ = "not a TLS record";
    socket_->Send(Kind::kHandshake, kUnexpected);
    return EndLater(StreamEnd::kTlsFailed);
  }
  handshake_ = early;
  reports_.handshake = true;
  ServeSoon();
}

void SimStream::TakeHandshake(base::ByteView bytes) {
  handshake_.append(bytes);
  for (size_t end = handshake_.find('\n'); end != std::string::npos; end = handshake_.find('\n')) {
    const std::string message = handshake_.substr(0, end + 1);
    handshake_.erase(0, end + 1);
    TakeMessage(message);
    if (state_ != State::kOpen || is_eof_) return;
  }
}

void SimStream::TakeMessage(base::ByteView message) {
  if (message == kCloseNotify && tls_ == Tls::kUp) return EndWith(StreamEnd::kEof);
  if (message.starts_with('\x15')) {
    return FailTls(StreamEnd::kTlsFailed, "the peer refuses: " + std::string(message.substr(4)),
                   {});
  }
  ShakeHands(message);
}

void SimStream::ShakeHands(base::ByteView message) {
  if (tls_ == Tls::kAwaitsClient && message.starts_with(kClientHello)) {
    server_name_ = message.substr(kClientHello.size(), message.size() - kClientHello.size() - 1);
    tls_ = Tls::kAwaitsFinished;
    socket_->Send(Kind::kHandshake, kServerHello);
    return;
  }
  if (tls_ == Tls::kAwaitsServer && message == kServerHello) {
    if (fails_verification_) {
      return FailTls(StreamEnd::kTlsVerify, "certificate is not acceptable", kBadCertificate);
    }
    socket_->Send(Kind::kHandshake, kFinished);
    return TlsUp();
  }
  if (tls_ == Tls::kAwaitsFinished && message == kFinished) return TlsUp();
  FailTls(StreamEnd::kTlsFailed, "unexpected message", kUnexpected);
}

void SimStream::TlsUp() {
  tls_ = Tls::kUp;
  facts_ = net_.options.tls_facts;
  facts_.server_name = server_name_;
  (void)Report(Event::kTlsUp);
}

void SimStream::FailTls(StreamEnd end, std::string error, base::ByteView alert) {
  if (!error.empty() && error.back() == '\n') error.pop_back();
  tls_error_ = std::move(error);
  socket_->Send(Kind::kHandshake, alert);
  EndWith(end);
}

// --- the end --------------------------------------------------------------------------------

void SimStream::EndWith(StreamEnd end) {
  if (state_ != State::kOpen && state_ != State::kConnecting) return;
  end_ = end;
  if (end == StreamEnd::kEof) {
    is_eof_ = true;
  } else {
    state_ = State::kEnded;
  }
  (void)Report(Event::kEnd);
}

void SimStream::EndLater(StreamEnd end) {
  if (reports_.end == StreamEnd::kNone) reports_.end = end;
  ServeSoon();
}

void SimStream::CloseGently() {
  if (state_ != State::kOpen) return Close();
  ShutdownWrite();
  state_ = State::kClosed;
  socket_->CloseGently();
  if (!socket_->is_over()) net_.KeepLingering(socket_);
  Forget();
}

void SimStream::Close() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  socket_->Close();
  Forget();
}

void SimStream::Forget() {
  reports_ = {};
  input_.Clear();
  handshake_.clear();
}

}  // namespace postern::test
