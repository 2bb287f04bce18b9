// lmtp_homes: the sessions of a transaction's homes, and the fan between them and the client's.
// SPDX-License-Identifier: Apache-2.0
#include "lb/session/lmtp_homes.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "lb/session/home_session.h"

namespace postern::session {
namespace {

using proto::LmtpFan;

// Given to all homes at once.
constexpr size_t kPieceBytes = 64 << 10;

LmtpFan::Limits LimitsOf(const ListenerSettings& listener) {
  LmtpFan::Limits limits;
  limits.line_bytes = listener.conf.limits.line + kHomeLineBytes;
  limits.reply_lines = listener.conf.limits.reply_lines;
  limits.reply_line_bytes = listener.conf.limits.line;
  return limits;
}

}  // namespace

class LmtpHomes::Host final : public SessionHost {
 public:
  explicit Host(SessionHost& outer) : outer_(outer) {}
  void Retire(Session&) override {}  // its stream tells
  bool AuthBlocked(const base::IpAddress& client, const std::string& user) override {
    return outer_.AuthBlocked(client, user);
  }
  void AuthFailed(const base::IpAddress& client, const std::string& user) override {
    outer_.AuthFailed(client, user);
  }
  void AuthSucceeded(const base::IpAddress& client, const std::string& user) override {
    outer_.AuthSucceeded(client, user);
  }
  bool TakeReplayMemory(size_t num_bytes) override { return outer_.TakeReplayMemory(num_bytes); }
  void ReturnReplayMemory(size_t num_bytes) override { outer_.ReturnReplayMemory(num_bytes); }
  io::Spool* spool() override { return outer_.spool(); }
  size_t HighWater(size_t wanted_bytes) const override { return outer_.HighWater(wanted_bytes); }
  balance::Pins& pins() override { return outer_.pins(); }
  void RememberRefusal(const std::string& key, std::string_view reply) override {
    outer_.RememberRefusal(key, reply);
  }
  std::string RecallRefusal(const std::string& key) override { return outer_.RecallRefusal(key); }
  IdleLegs* idle_legs() override { return outer_.idle_legs(); }
  void LearnedCapabilities(const balance::Endpoint& endpoint,
                           std::vector<std::string> capabilities) override {
    outer_.LearnedCapabilities(endpoint, std::move(capabilities));
  }

 private:
  SessionHost& outer_;
};

struct LmtpHomes::Around {
  explicit Around(SessionEnv& outer)
      : host(outer.host), env{outer.loop,     outer.dialer, outer.resolver,
                              outer.rng,      outer.picker, outer.recorder,
                              outer.accounts, host,         outer.parts} {}
  Host host;
  SessionEnv env;
};

LmtpHomes::LmtpHomes(SessionEnv& env, std::shared_ptr<const ListenerSettings> listener,
                     const ClientFacts& client, const io::Stream& front, const Client& asked)
    : env_(env),
      listener_(std::move(listener)),
      client_(client),
      front_(front),
      asked_(asked),
      around_(std::make_shared<Around>(env)),
      fan_(LimitsOf(*listener_), listener_->hostname, *this) {
  std::tie(client_end_, stream_) = io::MemoryStream::Pair(env_.loop, nullptr);
  stream_->SetObserver(this);
  Flush();
}

LmtpHomes::~LmtpHomes() {
  while (!inners_.empty()) CloseLeg(inners_.back().leg);
}

void LmtpHomes::Silence() {
  for (const Inner& inner : inners_) inner.session->Silence();
}

bool LmtpHomes::AnswersForText() const {
  return fan_.is_answered();
}

void LmtpHomes::LeaveEndpoint(const balance::EndpointState& endpoint) {
  for (const Inner& inner : inners_) inner.session->LeaveEndpoint(endpoint);
}

std::string_view LmtpHomes::backend() const {
  for (const Inner& inner : inners_)
    if (inner.leg == last_used_) return inner.session->backend();
  return {};
}

// --- events ------------------------------------------------------------------------------------

void LmtpHomes::OnStream(io::Stream& stream, io::Stream::Event event) {
  const auto inner = std::find_if(inners_.begin(), inners_.end(), [&stream](const Inner& each) {
    return each.stream.get() == &stream;
  });
  if (inner != inners_.end()) {
    const LmtpFan::LegId leg = inner->leg;
    if (event == io::Stream::Event::kReadable) {
      const size_t taken = fan_.OnLeg(leg, stream.Input());
      if (Find(leg) != nullptr) stream.Consume(taken);
    } else if (event == io::Stream::Event::kEnd) {
      fan_.OnLegEnd(leg);
    }
  }
  Flush();
  Pump();
}

// What the client's session says, as long as homes keep up with it.
void LmtpHomes::Pump() {
  while (!IsSlow()) {
    const base::ByteView input = stream_->Input().substr(0, kPieceBytes);
    if (input.empty()) return;
    const size_t taken = fan_.OnFront(input);
    stream_->Consume(taken);
    Flush();
    if (taken == 0) return;
  }
}

// The text goes no further while a home has enough of it.
bool LmtpHomes::IsSlow() const {
  if (!fan_.is_in_text()) return false;
  const size_t high_water = env_.host.HighWater(listener_->conf.limits.buffer);
  return std::any_of(inners_.begin(), inners_.end(), [this, high_water](const Inner& inner) {
    return inner.stream->Unsent() > high_water && fan_.TakesText(inner.leg);
  });
}

void LmtpHomes::Flush() {
  stream_->Write(fan_.front_output());
  fan_.ClearFrontOutput();
}

LmtpHomes::Inner* LmtpHomes::Find(LmtpFan::LegId leg) {
  for (Inner& inner : inners_)
    if (inner.leg == leg) return &inner;
  return nullptr;
}

// --- the fan's ---------------------------------------------------------------------------------

LmtpFan::Home LmtpHomes::HomeOf(base::ByteView recipient) {
  const KnownHome known = asked_.HomeOf(recipient);
  if (known.home == nullptr) return {};
  around_->env.parts = known.parts;
  return {known.home, known.home->is_exclusive};
}

void LmtpHomes::OpenLeg(LmtpFan::LegId leg) {
  auto [front, end] = io::MemoryStream::Pair(env_.loop, &front_);
  end->SetObserver(this);
  Inner& inner = inners_.emplace_back();
  inner.leg = leg;
  inner.stream = std::move(end);
  inner.session =
      std::make_unique<HomeSession>(around_->env, listener_, client_, std::move(front), asked_);
  inner.session->Start();
}

void LmtpHomes::ToLeg(LmtpFan::LegId leg, base::ByteView bytes) {
  last_used_ = leg;
  if (Inner* const inner = Find(leg)) inner->stream->Write(bytes);
}

// Perhaps from within an event of its stream: deleted later.
void LmtpHomes::CloseLeg(LmtpFan::LegId leg) {
  const auto inner = std::find_if(inners_.begin(), inners_.end(),
                                  [leg](const Inner& each) { return each.leg == leg; });
  if (inner == inners_.end()) return;
  inner->session->Leave();
  inner->stream->Close();
  env_.loop.Post([around = around_, dead = std::make_shared<Inner>(std::move(*inner))] {});
  inners_.erase(inner);
}

}  // namespace postern::session
