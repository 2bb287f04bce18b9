// dialogue_leg: drives one dialogue over one connection.
// SPDX-License-Identifier: Apache-2.0
#include "health/dialogue_leg.h"

#include <algorithm>
#include <utility>

#include "lb/base/escape.h"
#include "lb/base/secret.h"
#include "lb/io/stream_end.h"

namespace postern::health {
namespace {

using base::FaultKind;
using base::Phase;
using io::Stream;
using io::StreamEnd;

constexpr size_t kMaxWhyBytes = 200;

}  // namespace

DialogueLeg::DialogueLeg(io::Loop& loop, io::Dialer& dialer, LegPlan plan, Dialogue& dialogue,
                         OnEvent on_event)
    : loop_(loop),
      dialer_(dialer),
      plan_(std::move(plan)),
      dialogue_(dialogue),
      on_event_(std::move(on_event)),
      deadline_(loop.timers(), io::Timer::Invoke<&DialogueLeg::OnDeadline, DialogueLeg>, this),
      dial_deadline_(loop.timers(), io::Timer::Invoke<&DialogueLeg::OnDialDeadline, DialogueLeg>,
                     this) {}

DialogueLeg::~DialogueLeg() = default;

void DialogueLeg::Start(base::MonoTime deadline) {
  deadline_.ArmAt(deadline);
  connect_until_ = std::min(loop_.Now() + plan_.connect, deadline);
  if (plan_.addresses.empty()) {
    dial_deadline_.ArmAt(loop_.Now());  // told later, like everything else
    return;
  }
  Dial();
}

// The time for connecting is shared by the addresses that are left.
void DialogueLeg::Dial() {
  const base::MonoTime now = loop_.Now();
  const auto num_left = static_cast<int64_t>(plan_.addresses.size() - num_dialled_);
  dial_deadline_.ArmAt(now + (connect_until_ - now) / num_left);
  io::DialOptions options;
  options.address = {plan_.addresses[num_dialled_++], plan_.port};
  for (const base::IpAddress& source : plan_.sources)
    if (!options.source && source.family() == options.address.ip.family()) options.source = source;
  DropStream();
  stream_ = dialer_.Connect(options, *this);
}

void DialogueLeg::OnDialDeadline() {
  if (num_dialled_ < plan_.addresses.size()) return Dial();
  Fail(FaultKind::kTimeout,
       plan_.addresses.empty() ? "the host has no address" : "no connection in time");
}

void DialogueLeg::OnDeadline() {
  Fail(FaultKind::kTimeout, "no answer in time");
}

void DialogueLeg::OnStream(Stream& stream, Stream::Event event) {
  if (on_event_ == nullptr || &stream != stream_.get()) return;
  switch (event) {
    case Stream::Event::kConnected:
      dial_deadline_.Cancel();
      is_connected_ = true;
      return Take([this](std::string& out) {
        return dialogue_.OnConnected({stream_->local_address(), stream_->peer_address()}, out);
      });
    case Stream::Event::kTlsUp:
      is_handshaking_ = false;
      return Take([this](std::string& out) { return dialogue_.OnTls(out); });
    case Stream::Event::kReadable:
      return Take([this](std::string& out) { return dialogue_.Next(stream_->Input(), out); });
    case Stream::Event::kEnd:
      return OnEnd();
    case Stream::Event::kDrained:
      return;
  }
}

void DialogueLeg::OnEnd() {
  if (!is_connected_ && stream_->end() == StreamEnd::kRefused &&
      num_dialled_ < plan_.addresses.size() && loop_.Now() < connect_until_)
    return Dial();
  Fail(io::FaultOf(stream_->end()), io::EndInWords(*stream_));
}

void DialogueLeg::StartTls() {
  if (plan_.tls == nullptr) return Fail(FaultKind::kProtocol, "there are no TLS settings for it");
  if (!stream_->Input().empty()) return Fail(FaultKind::kProtocol, "bytes before TLS");
  io::TlsRequest request;
  request.role = io::TlsRole::kClient;
  request.settings = plan_.tls.get();
  request.server_name = plan_.server_name;
  is_handshaking_ = true;
  stream_->StartTls(request);
}

// One step, then all that the input allows.
void DialogueLeg::Take(const std::function<Dialogue::Step(std::string& out)>& first) {
  std::string out;
  Dialogue::Step step = first(out);
  while (true) {
    stream_->Consume(step.consumed);
    if (!out.empty()) stream_->Write(out);
    base::WipeString(out);
    switch (step.want) {
      case Dialogue::Want::kStartTls:
        return StartTls();
      case Dialogue::Want::kOver:
        fault_ = dialogue_.fault();
        return Finish();
      case Dialogue::Want::kTurn:
        TellTurn();
        if (on_event_ == nullptr) return;  // abandoned
        break;
      case Dialogue::Want::kBytes:
        if (step.consumed == 0) return;
        break;
    }
    step = dialogue_.Next(stream_->Input(), out);
  }
}

// The owner may give up from within: what is called must live until it returns.
void DialogueLeg::TellTurn() {
  const OnEvent on_event = on_event_;
  on_event(Event::kTurn);
}

void DialogueLeg::Say(std::string out) {
  if (on_event_ != nullptr && stream_ != nullptr) stream_->Write(out);
  base::WipeString(out);
}

void DialogueLeg::Fail(FaultKind kind, std::string why) {
  if (!fault_) {
    const Phase phase = is_handshaking_ ? Phase::kTls
                        : is_connected_ ? dialogue_.phase()
                                        : Phase::kConnect;
    fault_ = DialogueFault{phase, kind, std::move(why)};
  }
  std::string out;
  dialogue_.Farewell(out);
  if (is_connected_ && !is_handshaking_ && stream_->end() == StreamEnd::kNone && !out.empty())
    stream_->Write(out);
  Finish();
}

void DialogueLeg::Abandon() {
  if (on_event_ == nullptr) return;
  on_event_ = nullptr;
  deadline_.Cancel();
  dial_deadline_.Cancel();
  if (stream_ == nullptr) return;
  std::string out;
  dialogue_.Farewell(out);
  if (is_connected_ && !is_handshaking_ && stream_->end() == StreamEnd::kNone && !out.empty())
    stream_->Write(out);
  stream_->CloseGently();
}

void DialogueLeg::Finish() {
  const OnEvent on_event = std::exchange(on_event_, nullptr);
  deadline_.Cancel();
  dial_deadline_.Cancel();
  if (stream_ != nullptr) stream_->CloseGently();
  if (fault_) fault_->why = base::Printable(fault_->why, kMaxWhyBytes);
  on_event(Event::kOver);
}

// It may be the stream whose event brought us here.
void DialogueLeg::DropStream() {
  if (stream_ == nullptr) return;
  stream_->Close();
  loop_.Post([stream = std::shared_ptr<Stream>(std::move(stream_))] {});
}

}  // namespace postern::health
