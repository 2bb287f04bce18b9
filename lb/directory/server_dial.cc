// server_dial: waits for a name, dials, shakes hands.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/server_dial.h"

#include <utility>

#include "lb/base/escape.h"
#include "lb/io/stream_end.h"

namespace postern::directory {

ServerDial::ServerDial(io::Loop& loop, io::Dialer& dialer, Servers& servers, uint32_t server,
                       DialTls tls, Done done)
    : loop_(loop),
      dialer_(dialer),
      servers_(servers),
      server_(server),
      tls_(std::move(tls)),
      done_(std::move(done)) {}

ServerDial::~ServerDial() {
  servers_.StopWaiting(server_, *this);
}

void ServerDial::Start() {
  if (servers_.CountAddresses(server_) == 0) return servers_.Wait(server_, *this);
  Dial();
}

std::string_view ServerDial::GiveUp() {
  if (stream_ == nullptr) return "its name could not be resolved in time";
  servers_.LeaveAddress(server_);
  return is_connected_ ? "no TLS handshake in time" : "no connection in time";
}

void ServerDial::Dial() {
  ++num_dials_;
  stream_ = dialer_.Connect(servers_.Address(server_), *this);
}

void ServerDial::OnStream(io::Stream&, io::Stream::Event event) {
  if (stream_ == nullptr) return;
  switch (event) {
    case io::Stream::Event::kConnected: {
      is_connected_ = true;
      if (tls_.settings == nullptr) return Report({});
      // A server of TLS does not speak first: what it has said is not TLS.
      if (!stream_->Input().empty()) stream_->Consume(stream_->Input().size());
      io::TlsRequest request;
      request.role = io::TlsRole::kClient;
      request.settings = tls_.settings;
      request.server_name = tls_.server_name;
      return stream_->StartTls(request);
    }
    case io::Stream::Event::kTlsUp:
      return Report({});
    case io::Stream::Event::kEnd:
      return OnEnd();
    case io::Stream::Event::kReadable:
    case io::Stream::Event::kDrained:
      return;
  }
}

void ServerDial::OnEnd() {
  const Blame blame = stream_->end() == io::StreamEnd::kLocal ? Blame::kUs : Blame::kServer;
  const bool is_refused = stream_->end() == io::StreamEnd::kRefused;
  const std::string why = base::Printable(io::EndInWords(*stream_), 200);
  Drop(loop_, std::move(stream_));
  if (is_refused) servers_.LeaveAddress(server_);
  if (is_refused && num_dials_ < servers_.CountAddresses(server_)) return Dial();
  Report(why, blame);
}

void ServerDial::Report(const std::string& why, Blame blame) {
  const Done done = std::exchange(done_, nullptr);
  done(std::move(stream_), why, blame);
}

void Drop(io::Loop& loop, std::unique_ptr<io::Stream> stream) {
  if (stream == nullptr) return;
  stream->Close();
  loop.Post([old = std::shared_ptr<io::Stream>(std::move(stream))] {});
}

}  // namespace postern::directory
