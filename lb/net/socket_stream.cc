// socket_stream: io::Stream on a non-blocking TCP or local socket, in clear or inside TLS.
// SPDX-License-Identifier: Apache-2.0
#include "lb/net/socket_stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "lb/base/check.h"
#include "lb/net/event_loop.h"
#include "lb/net/stream_shared.h"

namespace postern::net {
namespace {

using io::StreamEnd;

constexpr size_t kFirstReadBytes = 16 << 10;
constexpr uint8_t kMaxGrowth = 4;  // 256 KiB
constexpr size_t kMaxBytesPerWakeup = 256 << 10;
// Beside recv(2)'s answers: ask that.
constexpr ssize_t kDeclined = -2;
// An owner that neither consumes nor pauses gets no more than this.
constexpr size_t kMaxTailBytes = 256 << 10;

static_assert(sizeof(SocketStream) <= SocketStream::kMaxBytes);
static_assert((kFirstReadBytes << kMaxGrowth) <= StreamShared::kReceiveBytes);

void SetNoDelay(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

// False if the path is too long to be one.
bool ToSockaddr(const std::string& path, sockaddr_storage* storage, unsigned* size) {
  sockaddr_un address{};
  if (path.size() >= sizeof address.sun_path) return false;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  std::memcpy(storage, &address, sizeof address);
  *size = sizeof address;
  return true;
}

// Our own shortage, as opposed to what the peer or the network did.
bool IsLocalShortage(int error) {
  return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS ||
         error == EADDRNOTAVAIL || error == EADDRINUSE;
}

}  // namespace

SocketStream::SocketStream(EventLoop& loop, OwnedFd fd, const base::SocketAddress& peer,
                           Observer* observer)
    : loop_(loop), observer_(observer), fd_(std::move(fd)), peer_(peer) {
  event_.Init(
      loop_, fd_.get(),
      [](void* self, uint8_t what) { static_cast<SocketStream*>(self)->OnEvent(what); }, this);
  if (fd_.valid()) UpdateInterest();  // a dial may have failed before it had one
}

std::unique_ptr<SocketStream> SocketStream::Dial(EventLoop& loop, const io::DialOptions& options,
                                                 Observer& observer) {
  const int family = !options.unix_path.empty()   ? AF_UNIX
                     : options.address.ip.is_v4() ? AF_INET
                                                  : AF_INET6;
  OwnedFd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const bool has_socket = fd.valid();
  auto stream = std::make_unique<SocketStream>(loop, std::move(fd), options.address, nullptr);
  stream->observer_ = &observer;
  stream->phase_ = Phase::kConnecting;
  if (has_socket) {
    SetNoDelay(stream->fd_.get());
    stream->StartConnect(options);
  } else {
    stream->FailLater(StreamEnd::kLocal);
  }
  return stream;
}

std::unique_ptr<SocketStream> SocketStream::DialPair(EventLoop& loop, OwnedFd fd,
                                                     Observer& observer, StreamEnd no_socket) {
  const bool has_socket = fd.valid();
  auto stream = std::make_unique<SocketStream>(loop, std::move(fd), base::SocketAddress(), nullptr);
  stream->observer_ = &observer;
  stream->phase_ = Phase::kConnecting;
  if (has_socket) {
    stream->event_.Watch(FdEvent::kWrite);
  } else {
    stream->FailLater(no_socket);
  }
  return stream;
}

SocketStream::~SocketStream() {
  POSTERN_DCHECK(!is_in_callback_);
  Close();
}

void SocketStream::StartConnect(const io::DialOptions& options) {
  sockaddr_storage storage{};
  if (options.source && options.unix_path.empty()) {
    // The port is chosen at connect, so that one source port serves many destinations.
    const int on = 1;
    ::setsockopt(fd_.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    const unsigned size = base::SocketAddress{*options.source, 0}.ToSockaddr(&storage);
    if (::bind(fd_.get(), reinterpret_cast<sockaddr*>(&storage), size) != 0) {
      return FailLater(StreamEnd::kLocal);
    }
  }
  unsigned size = 0;
  if (options.unix_path.empty()) {
    size = options.address.ToSockaddr(&storage);
  } else if (!ToSockaddr(options.unix_path, &storage, &size)) {
    return FailLater(StreamEnd::kRefused);
  }
  // A local socket connects at once, or not at all (EAGAIN: its listener is too busy).
  if (::connect(fd_.get(), reinterpret_cast<sockaddr*>(&storage), size) != 0 &&
      errno != EINPROGRESS) {
    return FailLater(IsLocalShortage(errno) ? StreamEnd::kLocal : StreamEnd::kRefused);
  }
  event_.Watch(FdEvent::kWrite);
}

SocketStream::Next SocketStream::FinishConnect() {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error != 0) {
    return ReportEnd(IsLocalShortage(error) ? StreamEnd::kLocal : StreamEnd::kRefused);
  }
  phase_ = Phase::kOpen;
  if (is_write_shut_ && unsent_ == nullptr) FinishShutdown();
  if (Report(Event::kConnected) == Next::kStop) return Next::kStop;
  return Flush();  // what was written meanwhile
}

// --- events ---------------------------------------------------------------------------------

void SocketStream::OnEvent(uint8_t what) {
  POSTERN_DCHECK(loop_.InLoopThread());
  Next next = Next::kGoOn;
  if (phase_ == Phase::kConnecting && (what & FdEvent::kWrite) != 0) {
    next = FinishConnect();
  } else if ((what & FdEvent::kWrite) != 0) {
    next = Flush();
  }
  if (next == Next::kGoOn && (what & FdEvent::kDeferred) != 0) next = RunReports();
  bool is_unwanted = false;
  if (next == Next::kGoOn && (what & FdEvent::kRead) != 0) {
    is_unwanted = !WantsRead();
    if (!is_unwanted) next = Read();
  }
  if (next == Next::kGoOn) UpdateInterest(is_unwanted ? Lazy::kNo : Lazy::kYes);
}

SocketStream::Next SocketStream::RunReports() {
  const uint8_t reports = std::exchange(reports_, 0);
  if ((reports & kReportDrained) != 0 && Report(Event::kDrained) == Next::kStop) {
    return Next::kStop;
  }
  if ((reports & kReportReadable) != 0 && !is_paused_ && !is_handshaking_ && !input_.empty() &&
      Report(Event::kReadable) == Next::kStop) {
    return Next::kStop;
  }
  if ((reports & kReportEnd) != 0) return ReportEnd(std::exchange(end_later_, StreamEnd::kNone));
  return Next::kGoOn;
}

SocketStream::Next SocketStream::Report(Event event) {
  if (observer_ == nullptr) return Next::kGoOn;
  is_in_callback_ = true;
  observer_->OnStream(*this, event);
  is_in_callback_ = false;
  if (phase_ == Phase::kClosed || phase_ == Phase::kEnded) return Next::kStop;
  KeepTail();
  return Next::kGoOn;
}

SocketStream::Next SocketStream::ReportEnd(StreamEnd end) {
  end_ = end;
  if (end == StreamEnd::kEof) {
    is_eof_ = true;
    return Report(Event::kEnd);
  }
  phase_ = Phase::kEnded;
  unsent_.reset();
  event_.Watch(0);
  is_in_callback_ = true;
  observer_->OnStream(*this, Event::kEnd);
  is_in_callback_ = false;
  if (phase_ != Phase::kClosed) KeepTail();
  return Next::kStop;
}

void SocketStream::ReportLater(uint8_t report) {
  reports_ |= report;
  event_.Defer();
}

void SocketStream::FailLater(StreamEnd end) {
  if (phase_ == Phase::kEnded || phase_ == Phase::kClosed) return;
  // The first failure counts; a clean end that nobody has heard of yet does not.
  if (end_later_ == StreamEnd::kNone || end_later_ == StreamEnd::kEof) end_later_ = end;
  ReportLater(kReportEnd);
}

// --- reading --------------------------------------------------------------------------------

bool SocketStream::WantsRead() const {
  if (phase_ != Phase::kOpen || is_eof_ || observer_ == nullptr) return false;
  if ((reports_ & kReportEnd) != 0) return false;
  if (is_handshaking_) return true;  // a pause is about what comes after it
  return !is_paused_ && (tail_ == nullptr || tail_->size() < kMaxTailBytes);
}

SocketStream::Next SocketStream::Read() {
  char* const scratch = loop_.stream_shared().receive.get();
  size_t total = 0;
  while (WantsRead()) {
    const size_t want = std::min(kFirstReadBytes << read_growth_, kMaxBytesPerWakeup - total);
    // For a peer that has very much to say; less is as cheap through our memory.
    ssize_t n = kDeclined;
    if (sink_ != nullptr && read_growth_ == kMaxGrowth && tail_ == nullptr)
      n = sink_->TakeFrom(fd_.get(), want);
    const bool is_forwarded = n != kDeclined;
    if (!is_forwarded) n = ::recv(fd_.get(), scratch, want, 0);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return Next::kGoOn;
      if (!is_handshaking_) return ReportEnd(StreamEnd::kReset);
      SetTlsError("connection lost during the handshake");
      return ReportEnd(StreamEnd::kTlsFailed);
    }
    if (n == 0) return TakeEof();
    const size_t got = static_cast<size_t>(n);
    if (is_forwarded) {
      forwarded_bytes_ += got;
      if (Report(Event::kReadable) == Next::kStop) return Next::kStop;
    } else if (!Take({scratch, got})) {
      return phase_ == Phase::kOpen ? Next::kGoOn : Next::kStop;
    }
    total += got;
    const bool is_full = got == want;
    // Grow for a peer that has much to say to an owner who takes it all; fall back at leisure.
    if (is_full && tail_ == nullptr) {
      read_growth_ = std::min<uint8_t>(read_growth_ + 2, kMaxGrowth);
    } else if (tail_ != nullptr) {
      read_growth_ = 0;
    } else if (read_growth_ > 0 && got < (want >> 3)) {
      --read_growth_;
    }
    // A short read has emptied the socket: asking again would only tell EAGAIN.
    if (!is_full || tail_ != nullptr || total >= kMaxBytesPerWakeup) break;
  }
  return Next::kGoOn;
}

bool SocketStream::Take(base::ByteView received) {
  if (!tls_.started()) {
    input_ = received;
    return TakePlain(Event::kReadable);
  }
  tls_.Feed(received);
  return is_handshaking_ ? TakeHandshake() : TakePlain(Event::kReadable);
}

bool SocketStream::TakeHandshake() {
  const tls::TlsEngine::Status status = tls_.Handshake();
  SendTlsOutput();
  switch (status) {
    case tls::TlsEngine::Status::kOk:
      return true;
    case tls::TlsEngine::Status::kDone:
      break;
    case tls::TlsEngine::Status::kFailed:
    case tls::TlsEngine::Status::kRejected:
      SetTlsError(tls_.TakeError());
      (void)ReportEnd(status == tls::TlsEngine::Status::kRejected ? StreamEnd::kTlsVerify
                                                                  : StreamEnd::kTlsFailed);
      return false;
  }
  is_handshaking_ = false;
  facts_ = TlsFactsPool::Share(loop_.stream_shared().facts, tls_.Facts());
  return TakePlain(Event::kTlsUp);
}

// Decrypts if need be, puts the tail in front, tells the observer; then deals with the end of TLS.
bool SocketStream::TakePlain(Event first) {
  tls::TlsEngine::Status status = tls::TlsEngine::Status::kOk;
  if (tls_.started()) {
    status = tls_.Read(&input_);
    SendTlsOutput();
  }
  const bool has_new = !input_.empty();
  if (tail_ != nullptr) {
    tail_->Append(input_);
    input_ = tail_->View();
  }
  if (first == Event::kTlsUp && Report(Event::kTlsUp) == Next::kStop) return false;
  if (has_new && !is_paused_ && !input_.empty() && Report(Event::kReadable) == Next::kStop) {
    return false;
  }
  if (status == tls::TlsEngine::Status::kOk) return true;
  if (status == tls::TlsEngine::Status::kDone) {
    is_eof_ = true;
    // A paused stream hears of the end when it reads on.
    if (is_paused_) return false;
    (void)ReportEnd(StreamEnd::kEof);
    return false;
  }
  SetTlsError(tls_.TakeError());
  (void)ReportEnd(StreamEnd::kTlsFailed);
  return false;
}

SocketStream::Next SocketStream::TakeEof() {
  is_eof_ = true;
  if (is_handshaking_) {
    SetTlsError("connection closed during the handshake");
    return ReportEnd(StreamEnd::kTlsFailed);
  }
  // The kernel has told of the reset at the write that failed; reading ends like a clean close.
  if (is_write_broken_) return ReportEnd(StreamEnd::kReset);
  is_truncated_ = tls_.started();
  return ReportEnd(StreamEnd::kEof);
}

void SocketStream::KeepTail() {
  if (input_.empty()) {
    tail_.reset();
    input_ = {};
    return;
  }
  if (tail_ != nullptr) return;
  tail_ = std::make_unique<base::ByteQueue>();
  tail_->Append(input_);
  input_ = tail_->View();
}

void SocketStream::Consume(size_t num_bytes) {
  POSTERN_CHECK(num_bytes <= input_.size());
  if (tail_ == nullptr) {
    input_.remove_prefix(num_bytes);
    return;
  }
  tail_->Consume(num_bytes);
  input_ = tail_->View();
  if (is_in_callback_) return;  // Report tidies up
  if (tail_->empty()) {
    tail_.reset();
    input_ = {};
  }
  UpdateInterest();
}

void SocketStream::SetObserver(Observer* observer) {
  POSTERN_CHECK(observer != nullptr);
  const bool is_first = observer_ == nullptr;
  observer_ = observer;
  if (is_first) UpdateInterest();
}

bool SocketStream::ForwardTo(Stream& sink) {
  auto* const other = dynamic_cast<SocketStream*>(&sink);
  if (other == nullptr || tls_.started() || other->tls_.started()) return false;
  sink_ = other;
  return true;
}

// As recv(2) of a socket whose bytes go to this one.
ssize_t SocketStream::TakeFrom(int fd, size_t num_bytes) {
  if (phase_ != Phase::kOpen || unsent_ != nullptr || is_write_shut_ || is_write_broken_) {
    return kDeclined;
  }
  SplicePipes& pipes = loop_.stream_shared().pipes;
  SplicePipes::Lent pipe = pipes.Lend();
  if (pipe == nullptr) return kDeclined;
  const ssize_t n = pipe->Fill(fd, num_bytes);
  if (n < 0 && IsSpliceUnknown(errno)) {
    pipes.Disable();
    return kDeclined;
  }
  if (n <= 0) return n;
  const bool is_taken = pipe->Send(fd_.get()) >= 0;
  const bool is_unknown = !is_taken && IsSpliceUnknown(errno);
  if (!is_taken && !is_unknown && errno != EAGAIN && errno != EINTR) {
    OnWriteBroken();
    return n;
  }
  if (pipe->size() == 0) return n;
  unsent_ = std::make_unique<UnsentQueue>(loop_.stream_shared().unsent_bytes);
  unsent_->Hold(std::move(pipe));
  if (is_unknown) {
    pipes.Disable();
    unsent_->Append({});  // to be copied from here on
  }
  if (!is_in_callback_) UpdateInterest();
  return n;
}

void SocketStream::PauseReads() {
  is_paused_ = true;
}

void SocketStream::ResumeReads() {
  is_paused_ = false;
  if (phase_ != Phase::kOpen) return;
  if (!input_.empty()) ReportLater(kReportReadable);
  if (is_eof_ && end_ == StreamEnd::kNone) FailLater(StreamEnd::kEof);
  if (!is_in_callback_) UpdateInterest();
}

// --- writing --------------------------------------------------------------------------------

size_t SocketStream::Unsent() const {
  return unsent_ == nullptr ? 0 : unsent_->size();
}

void SocketStream::Write(base::ByteView bytes) {
  POSTERN_DCHECK(loop_.InLoopThread());
  if (phase_ == Phase::kClosed || phase_ == Phase::kEnded || is_write_broken_) return;
  POSTERN_DCHECK(!is_write_shut_ && !is_handshaking_);
  if (is_write_shut_ || is_handshaking_) return;
  if (!tls_.started()) return SendOrQueue(bytes);
  while (!bytes.empty()) {
    const base::ByteView chunk = bytes.substr(0, tls::TlsBuffers::kMaxWriteBytes);
    const bool is_good = tls_.Write(chunk);
    SendTlsOutput();
    if (!is_good) {
      SetTlsError(tls_.TakeError());
      return FailLater(StreamEnd::kTlsFailed);
    }
    bytes.remove_prefix(chunk.size());
  }
}

void SocketStream::SendTlsOutput() {
  tls::TlsBuffers& buffers = loop_.stream_shared().tls;
  SendOrQueue(buffers.Output());
  buffers.ClearOutput();
}

void SocketStream::WritePart(base::ByteView bytes) {
  is_part_ = true;
  Write(bytes);
  is_part_ = false;
}

void SocketStream::SendOrQueue(base::ByteView bytes) {
  if (bytes.empty() || is_write_broken_) return;
  if (unsent_ == nullptr && phase_ == Phase::kOpen) {
    const ssize_t n =
        ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | (is_part_ ? MSG_MORE : 0));
    if (n < 0) {
      if (errno != EAGAIN && errno != EINTR) return OnWriteBroken();
    } else {
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    if (bytes.empty()) return;
  }
  if (unsent_ == nullptr) {
    unsent_ = std::make_unique<UnsentQueue>(loop_.stream_shared().unsent_bytes);
  }
  unsent_->Append(bytes);
  if (phase_ == Phase::kOpen && !is_in_callback_) UpdateInterest();
}

SocketStream::Next SocketStream::Flush() {
  if (unsent_ == nullptr) return Next::kGoOn;
  const size_t before = unsent_->size();
  if (unsent_->Send(fd_.get()) < 0) {
    if (errno != EAGAIN && errno != EINTR) OnWriteBroken();
    return Next::kGoOn;
  }
  const size_t after = unsent_->size();
  if (after == 0) {
    unsent_.reset();
    if (is_write_shut_) FinishShutdown();
  }
  const bool is_drained =
      (before > low_water_bytes_ && after <= low_water_bytes_) || (before > 0 && after == 0);
  return is_drained && !is_handshaking_ ? Report(Event::kDrained) : Next::kGoOn;
}

void SocketStream::OnWriteBroken() {
  is_write_broken_ = true;
  unsent_.reset();
  if (is_eof_) return FailLater(StreamEnd::kReset);
  // What the peer said before it went is still in the socket: read on to its end, then report.
  if (!is_in_callback_) UpdateInterest();
}

void SocketStream::ShutdownWrite() {
  if (is_write_shut_ || phase_ == Phase::kClosed || phase_ == Phase::kEnded) return;
  if (tls_.started() && !is_handshaking_) {
    tls_.Shutdown();
    SendTlsOutput();
  }
  is_write_shut_ = true;
  if (unsent_ == nullptr && phase_ == Phase::kOpen) FinishShutdown();
}

void SocketStream::FinishShutdown() {
  // At the end of all, closing says as much, or who lingers on says it.
  if (!is_closing_) ::shutdown(fd_.get(), SHUT_WR);
}

// --- TLS ------------------------------------------------------------------------------------

void SocketStream::StartTls(const io::TlsRequest& request) {
  POSTERN_DCHECK(loop_.InLoopThread());
  POSTERN_CHECK(!tls_.started());
  // Nothing that came before TLS may act inside it; behind a PROXY header it is TLS already.
  POSTERN_DCHECK(input_.empty() || request.input_is_ciphertext);
  const std::string early(request.input_is_ciphertext ? input_ : base::ByteView());
  tail_.reset();
  input_ = {};
  if (phase_ == Phase::kClosed || phase_ == Phase::kEnded) return;
  is_handshaking_ = true;
  if (!tls_.Start(loop_.stream_shared().tls, request)) {
    SetTlsError(tls_.TakeError());
    return FailLater(StreamEnd::kTlsFailed);
  }
  if (request.role == io::TlsRole::kClient || !early.empty()) {
    // Neither our ClientHello nor the peer's can end a handshake: it has to answer first.
    tls_.Feed(base::ByteView(early).substr(0, tls::TlsBuffers::kMaxFeedBytes));
    const tls::TlsEngine::Status status = tls_.Handshake();
    SendTlsOutput();
    if (status != tls::TlsEngine::Status::kOk) {
      SetTlsError(tls_.TakeError());
      return FailLater(StreamEnd::kTlsFailed);
    }
  }
  if (!is_in_callback_) UpdateInterest();
}

void SocketStream::SetTlsError(std::string text) {
  tls_error_ = std::make_unique<std::string>(std::move(text));
}

std::string SocketStream::tls_error() const {
  return tls_error_ == nullptr ? std::string() : *tls_error_;
}

// --- the end --------------------------------------------------------------------------------

void SocketStream::CloseGently() {
  if (phase_ == Phase::kOpen && !is_write_broken_) {
    is_closing_ = true;
    ShutdownWrite();
    const bool is_over = is_eof_ && unsent_ == nullptr;
    if (!is_over && !is_write_broken_) {
      event_.Clear();
      loop_.stream_shared().Linger(std::move(fd_), std::move(unsent_));
    }
  }
  Close();
}

void SocketStream::Close() {
  if (phase_ == Phase::kClosed) return;
  const bool may_hold_alert = phase_ == Phase::kEnded && !is_eof_ &&
                              (end_ == StreamEnd::kTlsFailed || end_ == StreamEnd::kTlsVerify);
  phase_ = Phase::kClosed;
  event_.Clear();
  // The alert tells the peer what was wrong; a reset would take it away again.
  if (may_hold_alert && fd_.valid()) {
    loop_.stream_shared().Linger(std::move(fd_), nullptr);
  }
  FreeAll();
}

void SocketStream::FreeAll() {
  fd_.Reset();
  tls_ = tls::TlsEngine();
  input_ = {};
  tail_.reset();
  unsent_.reset();
  reports_ = 0;
}

void SocketStream::UpdateInterest(Lazy lazy) {
  if (phase_ != Phase::kOpen) return;
  const bool wants_write = unsent_ != nullptr;
  bool wants_read = WantsRead();
  // A paused stream keeps its read interest until something does come, because a pause is mostly
  // over before that, and then it has cost no system call.
  if (lazy == Lazy::kYes && is_paused_ && !is_eof_ && (event_.interest() & FdEvent::kRead) != 0) {
    wants_read = true;
  }
  event_.Watch(static_cast<uint8_t>((wants_read ? FdEvent::kRead : 0) |
                                    (wants_write ? FdEvent::kWrite : 0)));
}

base::SocketAddress SocketStream::local_address() const {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (!fd_.valid() || ::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&storage), &size) != 0) {
    return {};
  }
  return base::SocketAddress::FromSockaddr(reinterpret_cast<sockaddr*>(&storage))
      .value_or(base::SocketAddress{});
}

}  // namespace postern::net
