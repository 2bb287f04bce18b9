// idle_legs: connections to SMTP servers that nobody's transaction needs now.
// SPDX-License-Identifier: Apache-2.0
#include "lb/session/idle_legs.h"

#include <algorithm>
#include <utility>

#include "lb/session/dial.h"

namespace postern::session {
namespace {

// Nobody is given a leg whose time is over; it is closed as much later at most.
constexpr base::Duration kSweep = std::chrono::milliseconds(500);

// Drained, down, or with a full queue: nobody will come for its legs soon.
bool TakesWork(const balance::EndpointState& endpoint) {
  return endpoint.admin.load(std::memory_order_relaxed) == balance::AdminState::kReady &&
         endpoint.health.load(std::memory_order_relaxed) != balance::Health::kDown &&
         !endpoint.is_above_hard.load(std::memory_order_relaxed);
}

}  // namespace

// Hears of the stream while nobody else does: whatever a server says or does then ends the leg.
class IdleLegs::Kept final : public io::Stream::Observer {
 public:
  Kept(IdleLegs& owner, Leg its_leg) : leg(std::move(its_leg)), owner_(owner) {
    leg.stream->SetObserver(this);
  }

  Leg leg;

 private:
  void OnStream(io::Stream& stream, io::Stream::Event event) override {
    if (!stream.Input().empty() || event == io::Stream::Event::kEnd) owner_.Remove(*this);
  }

  IdleLegs& owner_;
};

IdleLegs::IdleLegs(io::Loop& loop)
    : loop_(loop), timer_(loop.timers(), io::Timer::Invoke<&IdleLegs::Sweep, IdleLegs>, this) {}

IdleLegs::~IdleLegs() = default;

void IdleLegs::Put(Leg leg) {
  if (!leg.stream->Input().empty() || leg.stream->end() != io::StreamEnd::kNone)
    return CloseLater(loop_, std::move(leg.stream));
  auto kept = std::make_unique<Kept>(*this, std::move(leg));
  if (is_stopped_ || !TakesWork(*kept->leg.endpoint)) return Close(std::move(kept));
  Shelf& shelf = shelves_[kept->leg.endpoint.get()];
  shelf.push_back(std::move(kept));
  if (shelf.size() > kMaxPerEndpoint) {
    Close(std::move(shelf.front()));
    shelf.erase(shelf.begin());
  }
  if (!timer_.armed()) timer_.ArmAt(loop_.Now() + kSweep);
}

std::optional<IdleLegs::Leg> IdleLegs::Take(const balance::EndpointState& endpoint,
                                            const std::shared_ptr<const Parts>& parts,
                                            const proto::SmtpRelay& relay,
                                            io::Stream::Observer& observer) {
  const auto found = shelves_.find(&endpoint);
  if (found == shelves_.end()) return std::nullopt;
  Shelf& shelf = found->second;
  auto best = shelf.rend();
  for (auto it = shelf.rbegin(); it != shelf.rend(); ++it) {
    const Leg& leg = (*it)->leg;
    if (leg.parts.lock() != parts || leg.state.idle_until <= loop_.Now() ||
        !relay.CoversTransaction(leg.state.extensions))
      continue;
    const bool has_name = leg.state.hello == relay.hello();
    if (best == shelf.rend() || has_name) best = it;
    if (has_name) break;
  }
  if (best == shelf.rend()) return std::nullopt;
  Leg leg = std::move((*best)->leg);
  leg.stream->SetObserver(&observer);
  shelf.erase(std::next(best).base());
  if (shelf.empty()) shelves_.erase(found);
  return leg;
}

void IdleLegs::LeaveEndpoint(const balance::EndpointState& endpoint) {
  const auto found = shelves_.find(&endpoint);
  if (found == shelves_.end()) return;
  Shelf shelf = std::move(found->second);
  shelves_.erase(found);
  for (std::unique_ptr<Kept>& kept : shelf) Close(std::move(kept));
}

void IdleLegs::CloseAll() {
  timer_.Cancel();
  for (auto& [endpoint, shelf] : std::exchange(shelves_, {}))
    for (std::unique_ptr<Kept>& kept : shelf) Close(std::move(kept));
}

void IdleLegs::Stop() {
  is_stopped_ = true;
  CloseAll();
}

size_t IdleLegs::size() const {
  size_t size = 0;
  for (const auto& [endpoint, shelf] : shelves_) size += shelf.size();
  return size;
}

// Its server has spoken unasked, or is gone.
void IdleLegs::Remove(const Kept& kept) {
  const auto found = shelves_.find(kept.leg.endpoint.get());
  if (found == shelves_.end()) return;
  Shelf& shelf = found->second;
  const auto place = std::find_if(shelf.begin(), shelf.end(),
                                  [&kept](const auto& each) { return each.get() == &kept; });
  if (place == shelf.end()) return;
  // It is in the middle of telling us.
  std::shared_ptr<Kept> gone = std::move(*place);
  shelf.erase(place);
  if (shelf.empty()) shelves_.erase(found);
  gone->leg.stream->Close();
  loop_.Post([gone] {});
}

void IdleLegs::Close(std::unique_ptr<Kept> kept) {
  kept->leg.stream->Write(proto::kSmtpQuit);
  kept->leg.stream->CloseGently();
  CloseLater(loop_, std::move(kept->leg.stream));
}

void IdleLegs::Sweep() {
  const base::MonoTime now = loop_.Now();
  for (auto it = shelves_.begin(); it != shelves_.end();) {
    Shelf& shelf = it->second;
    const bool is_left = !TakesWork(*it->first);
    for (std::unique_ptr<Kept>& kept : shelf)
      if (is_left || kept->leg.state.idle_until <= now || kept->leg.parts.expired())
        Close(std::move(kept));
    std::erase(shelf, nullptr);
    it = shelf.empty() ? shelves_.erase(it) : std::next(it);
  }
  if (!shelves_.empty()) timer_.ArmAt(now + kSweep);
}

}  // namespace postern::session
