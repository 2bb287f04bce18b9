// queue_read: drives a decoder over one stream.
// SPDX-License-Identifier: Apache-2.0
#include "health/queue_read.h"

#include <algorithm>
#include <utility>

#include "lb/base/escape.h"
#include "lb/base/secret.h"
#include "lb/io/stream_end.h"

namespace postern::health {
namespace {

constexpr size_t kMaxErrorBytes = 200;

}  // namespace
QueueRead::QueueRead(io::Loop& loop, io::Dialer& dialer, QueueTarget target,
                     std::unique_ptr<QueueDecoder> decoder, Done done)
    : dialer_(dialer),
      target_(std::move(target)),
      decoder_(std::move(decoder)),
      done_(std::move(done)),
      deadline_(loop.timers(), io::Timer::Invoke<&QueueRead::OnDeadline, QueueRead>, this) {}

QueueRead::~QueueRead() = default;

void QueueRead::Start(base::MonoTime deadline) {
  deadline_.ArmAt(deadline);
  stream_ = dialer_.Connect(target_.dial, *this);
}

void QueueRead::OnStream(io::Stream&, io::Stream::Event event) {
  if (done_ == nullptr) return;
  switch (event) {
    case io::Stream::Event::kConnected:
      if (target_.tls != nullptr) return StartTls();
      return SendRequest();
    case io::Stream::Event::kTlsUp:
      SendRequest();
      return TakeInput();
    case io::Stream::Event::kReadable:
      // A server of TLS does not speak first: what is said now is not TLS.
      if (!is_open_ && target_.tls != nullptr) return;
      return TakeInput();
    case io::Stream::Event::kEnd:
      return OnEnd();
    case io::Stream::Event::kDrained:
      return;
  }
}

void QueueRead::StartTls() {
  if (!stream_->Input().empty()) stream_->Consume(stream_->Input().size());
  io::TlsRequest request;
  request.role = io::TlsRole::kClient;
  request.settings = target_.tls.get();
  request.server_name = target_.server_name;
  stream_->StartTls(request);
}

void QueueRead::SendRequest() {
  is_open_ = true;
  std::string request;
  decoder_->AppendRequest(request);
  if (!request.empty()) stream_->Write(request);
  base::WipeString(request);
}

void QueueRead::TakeInput() {
  const base::ByteView input = stream_->Input();
  if (input.empty()) return;
  const base::ByteView taken = input.substr(0, kMaxBytes - num_bytes_);
  num_bytes_ += taken.size();
  const QueueDecoder::Status status = decoder_->Feed(taken);
  const bool is_beyond = taken.size() < input.size() || num_bytes_ == kMaxBytes;
  stream_->Consume(input.size());
  switch (status) {
    case QueueDecoder::Status::kWhole:
      stream_->CloseGently();
      return Finish(AnswerEnd::kWhole);
    case QueueDecoder::Status::kEnough:
      return Finish(AnswerEnd::kWhole);
    case QueueDecoder::Status::kMore:
      if (is_beyond) Finish(AnswerEnd::kTooLong);
      return;
  }
}

void QueueRead::OnEnd() {
  TakeInput();
  if (done_ == nullptr) return;
  if (stream_->end() == io::StreamEnd::kEof && is_open_)
    return Finish(stream_->truncated() ? AnswerEnd::kLost : AnswerEnd::kEof);
  if (stream_->end() == io::StreamEnd::kReset && is_open_) return Finish(AnswerEnd::kLost);
  QueueReading reading;
  reading.error = base::Printable(io::EndInWords(*stream_), kMaxErrorBytes);
  Report(std::move(reading));
}

void QueueRead::OnDeadline() {
  Finish(AnswerEnd::kTimeout);
}

void QueueRead::Finish(AnswerEnd end) {
  if (end == AnswerEnd::kTimeout && !is_open_) {
    QueueReading reading;
    reading.error = "no connection in time";
    return Report(std::move(reading));
  }
  Report(decoder_->Finish(end));
}

void QueueRead::Report(QueueReading reading) {
  const Done done = std::exchange(done_, nullptr);
  if (done == nullptr) return;
  deadline_.Cancel();
  stream_->Close();  // nothing new where it was closed gently
  done(std::move(reading));
}

}  // namespace postern::health
