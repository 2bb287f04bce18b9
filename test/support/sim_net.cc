// sim_net: the network in memory.
// SPDX-License-Identifier: Apache-2.0
#include "test/support/sim_net.h"

#include <algorithm>
#include <utility>

#include "lb/base/check.h"

namespace postern::test {

SimStream::SimStream(SimNet& net) : net_(net), self_(std::make_shared<SimStream*>(this)) {}

SimStream::~SimStream() {
  Close();
  *self_ = nullptr;
}

void SimStream::SetObserver(Observer* observer) {
  const bool is_first = observer_ == nullptr;
  observer_ = observer;
  if (is_first && !input_.empty()) reports_.readable = true;
  if (is_first) ReportSoon();
}

void SimStream::Consume(size_t num_bytes) {
  POSTERN_CHECK(num_bytes <= input_.size());
  input_.erase(0, num_bytes);
  if (peer_ == nullptr || *peer_ == nullptr) return;
  SimStream& peer = **peer_;
  peer.in_flight_bytes_ -= std::min(peer.in_flight_bytes_, num_bytes);
  peer.Pump();
}

void SimStream::ResumeReads() {
  is_paused_ = false;
  if (!input_.empty()) reports_.readable = true;
  ReportSoon();
}

void SimStream::Write(base::ByteView bytes) {
  POSTERN_CHECK(!is_write_shut_);
  POSTERN_CHECK(!wants_tls_ || is_tls_up_);
  if (is_closed_ || bytes.empty() || (end_ != io::StreamEnd::kNone && end_ != io::StreamEnd::kEof))
    return;
  unsent_.push_back(
      {is_tls_up_ ? Segment::Kind::kInTls : Segment::Kind::kClear, std::string(bytes)});
  unsent_bytes_ += bytes.size();
  Pump();
}

void SimStream::Pump() {
  if (!is_connected_ || peer_ == nullptr) return;
  const size_t before = unsent_bytes_;
  const SimNet::Options& options = net_.options;
  while (!unsent_.empty()) {
    Segment& first = unsent_.front();
    Segment part{first.kind, {}};
    if (first.bytes.empty()) {
      unsent_.pop_front();
    } else {
      if (in_flight_bytes_ >= options.window_bytes) break;
      size_t size = std::min(first.bytes.size(), options.window_bytes - in_flight_bytes_);
      if (options.cut == SimNet::Cut::kByByte) size = 1;
      if (options.cut == SimNet::Cut::kRandom && size > 1) {
        // Mostly small pieces, sometimes all of it.
        if (net_.rng_.Below(4) > 0) size = 1 + net_.rng_.Below(std::min<size_t>(size, 64));
      }
      part.bytes = first.bytes.substr(0, size);
      first.bytes.erase(0, size);
      if (first.bytes.empty()) unsent_.pop_front();
      in_flight_bytes_ += size;
      unsent_bytes_ -= size;
    }
    last_arrival_ = std::max(last_arrival_, net_.loop_.Now() + options.latency);
    net_.loop_.Schedule(last_arrival_ - net_.loop_.Now(),
                        [peer = peer_, part = std::move(part)]() mutable {
                          if (*peer != nullptr) (*peer)->Arrive(std::move(part));
                        });
  }
  if (before > low_water_bytes_ && unsent_bytes_ <= low_water_bytes_) {
    reports_.drained = true;
    ReportSoon();
  }
}

void SimStream::Arrive(Segment segment) {
  if (is_closed_ || (end_ != io::StreamEnd::kNone && end_ != io::StreamEnd::kEof)) return;
  held_.push_back(std::move(segment));
  TakeHeld();
}

// A hello that comes before this end has called StartTls stops the line: what is behind it waits.
void SimStream::TakeHeld() {
  while (!held_.empty()) {
    if (has_hello_ && !wants_tls_) return;
    Segment segment = std::move(held_.front());
    held_.pop_front();
    Take(std::move(segment));
    if (end_ != io::StreamEnd::kNone && end_ != io::StreamEnd::kEof) return;
  }
}

void SimStream::Take(Segment segment) {
  switch (segment.kind) {
    case Segment::Kind::kClear:
      if (wants_tls_) {
        tls_error_ = "not TLS";
        EndWith(io::StreamEnd::kTlsFailed);
        return;
      }
      [[fallthrough]];
    case Segment::Kind::kInTls:
      input_ += segment.bytes;
      reports_.readable = true;
      break;
    case Segment::Kind::kHello:
      has_hello_ = true;
      MaybeTlsUp();
      break;
    case Segment::Kind::kFin:
      if (wants_tls_ && !is_tls_up_) {
        tls_error_ = "connection closed during the handshake";
        EndWith(io::StreamEnd::kTlsFailed);
        return;
      }
      has_fin_ = true;
      break;
  }
  ReportSoon();
}

void SimStream::StartTls(const io::TlsRequest& request) {
  POSTERN_CHECK(!wants_tls_);
  POSTERN_CHECK(input_.empty() || request.input_is_ciphertext);
  input_.clear();
  reports_.readable = false;
  wants_tls_ = true;
  unsent_.push_back({Segment::Kind::kHello, {}});
  Pump();
  net_.loop_.Post([self = self_] {
    if (*self == nullptr) return;
    (*self)->MaybeTlsUp();
    (*self)->TakeHeld();
  });
}

void SimStream::MaybeTlsUp() {
  if (!wants_tls_ || !has_hello_ || is_tls_up_ || end_ != io::StreamEnd::kNone) return;
  if (fails_verification_) {
    tls_error_ = "certificate is not acceptable";
    EndWith(io::StreamEnd::kTlsVerify);
    return;
  }
  is_tls_up_ = true;
  facts_ = {"TLSv1.3", "TLS_AES_128_GCM_SHA256", "X25519", "", false};
  reports_.tls_up = true;
  ReportSoon();
}

void SimStream::ShutdownWrite() {
  if (is_write_shut_ || is_closed_) return;
  is_write_shut_ = true;
  unsent_.push_back({Segment::Kind::kFin, {}});
  Pump();
}

void SimStream::CloseGently() {
  if (is_closed_) return;
  ShutdownWrite();
  is_closed_ = true;
  observer_ = nullptr;
  // What was written still arrives: the wire has it, or takes it as the peer reads.
  in_flight_bytes_ = 0;
  const SimNet::Options saved = net_.options;
  net_.options.window_bytes = SIZE_MAX;
  Pump();
  net_.options = saved;
}

void SimStream::Close() {
  if (is_closed_) return;
  is_closed_ = true;
  observer_ = nullptr;
  if (is_write_shut_ || peer_ == nullptr) return;
  // A close with unread or unsent bytes is a reset, as in TCP.
  const bool is_reset = !input_.empty() || !unsent_.empty();
  net_.loop_.Schedule(
      std::max(last_arrival_, net_.loop_.Now() + net_.options.latency) - net_.loop_.Now(),
      [peer = peer_, is_reset] {
        if (*peer == nullptr) return;
        if (is_reset) {
          (*peer)->EndWith((*peer)->wants_tls_ && !(*peer)->is_tls_up_ ? io::StreamEnd::kTlsFailed
                                                                       : io::StreamEnd::kReset);
        } else {
          (*peer)->Arrive({Segment::Kind::kFin, {}});
        }
      });
}

void SimStream::Reset() {
  if (peer_ != nullptr && *peer_ != nullptr) (*peer_)->EndWith(io::StreamEnd::kReset);
  EndWith(io::StreamEnd::kReset);
}

void SimStream::EndWith(io::StreamEnd end) {
  if (is_closed_ || (end_ != io::StreamEnd::kNone && end_ != io::StreamEnd::kEof)) return;
  end_ = end;
  unsent_.clear();
  unsent_bytes_ = 0;
  held_.clear();
  reports_.end = true;
  ReportSoon();
}

void SimStream::ReportSoon() {
  if (is_report_posted_) return;
  is_report_posted_ = true;
  net_.loop_.Post([self = self_] {
    if (*self == nullptr) return;
    (*self)->is_report_posted_ = false;
    (*self)->RunReports();
  });
}

void SimStream::RunReports() {
  const auto tell = [this](Event event) {
    if (observer_ != nullptr && !is_closed_) observer_->OnStream(*this, event);
  };
  if (observer_ == nullptr || is_closed_) return;
  if (std::exchange(reports_.connected, false)) tell(Event::kConnected);
  if (std::exchange(reports_.tls_up, false)) tell(Event::kTlsUp);
  if (std::exchange(reports_.drained, false)) tell(Event::kDrained);
  if (reports_.readable && !is_paused_) {
    reports_.readable = false;
    if (!input_.empty()) tell(Event::kReadable);
  }
  if (is_closed_ || observer_ == nullptr) return;
  if (std::exchange(reports_.end, false)) {
    tell(Event::kEnd);
    return;
  }
  if (has_fin_ && !is_paused_ && end_ == io::StreamEnd::kNone) {
    end_ = io::StreamEnd::kEof;
    tell(Event::kEnd);
  }
}

void SimNet::Listen(const base::SocketAddress& address, OnAccept on_accept) {
  Place& place = places_[address];
  place.door = Door::kOpen;
  place.on_accept = std::move(on_accept);
}

void SimNet::SetDoor(const base::SocketAddress& address, Door door) {
  places_[address].door = door;
}

void SimNet::SetBadCertificate(const base::SocketAddress& address, bool is_bad) {
  places_[address].has_bad_certificate = is_bad;
}

void SimNet::Join(SimStream& a, SimStream& b) {
  a.peer_ = b.self_;
  b.peer_ = a.self_;
  a.is_connected_ = b.is_connected_ = true;
}

std::pair<std::unique_ptr<SimStream>, std::unique_ptr<SimStream>> SimNet::Pair(
    const base::SocketAddress& client, const base::SocketAddress& server) {
  std::unique_ptr<SimStream> a(new SimStream(*this));
  std::unique_ptr<SimStream> b(new SimStream(*this));
  a->local_address_ = b->peer_address_ = client;
  a->peer_address_ = b->local_address_ = server;
  Join(*a, *b);
  return {std::move(a), std::move(b)};
}

std::unique_ptr<io::Stream> SimNet::Connect(const io::DialOptions& dial,
                                            io::Stream::Observer& observer) {
  ++num_dials_;
  std::unique_ptr<SimStream> stream(new SimStream(*this));
  stream->is_connected_ = false;
  stream->observer_ = &observer;
  stream->peer_address_ = dial.address;
  stream->local_address_ = {*base::IpAddress::Parse("127.0.0.1"), next_port_++};
  loop_.Schedule(options.latency, [this, self = stream->self_, address = dial.address] {
    if (*self == nullptr || (*self)->is_closed_) return;
    SimStream& dialled = **self;
    const auto it = places_.find(address);
    const Door door = it == places_.end() ? Door::kRefuses : it->second.door;
    if (door == Door::kHangs) return;
    if (door == Door::kRefuses) {
      dialled.EndWith(io::StreamEnd::kRefused);
      return;
    }
    std::unique_ptr<SimStream> accepted(new SimStream(*this));
    accepted->local_address_ = address;
    accepted->peer_address_ = dialled.local_address_;
    dialled.fails_verification_ = it->second.has_bad_certificate;
    Join(dialled, *accepted);
    dialled.reports_.connected = true;
    dialled.ReportSoon();
    dialled.Pump();
    it->second.on_accept(std::move(accepted));
  });
  return stream;
}

}  // namespace postern::test
