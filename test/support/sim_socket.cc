// sim_socket: windows, wires and the ends of connections.
// SPDX-License-Identifier: Apache-2.0
#include "test/support/sim_socket.h"

#include <algorithm>
#include <utility>

#include "lb/base/check.h"

namespace postern::test {
namespace {

constexpr base::Duration kLingerAfterLast = std::chrono::seconds(2);
constexpr base::Duration kLingerNoProgress = std::chrono::seconds(10);
constexpr base::Duration kLingerMax = std::chrono::seconds(60);
constexpr size_t kRandomPieceBytes = 64;

}  // namespace

SimSocket::SimSocket(SimWorld& world)
    : world_(world),
      linger_(world.loop.timers(), io::Timer::Invoke<&SimSocket::OnLinger, SimSocket>, this) {}

void SimSocket::Join(const std::shared_ptr<SimSocket>& a, const std::shared_ptr<SimSocket>& b) {
  a->peer_ = b;
  b->peer_ = a;
  a->has_peer_ = b->has_peer_ = true;
}

void SimSocket::SetConnected() {
  is_connected_ = true;
  const size_t before = unsent_bytes_;
  Pump();
  if (owner_ != nullptr && unsent_bytes_ < before) owner_->OnFlushed(before);
}

// --- sending --------------------------------------------------------------------------------

void SimSocket::Send(Kind kind, base::ByteView bytes) {
  if (is_closed_ || is_broken_ || is_fin_sent_ || bytes.empty()) return;
  // What waits already goes first, and its going is reported.
  const bool may_go = unsent_.empty();
  unsent_.push_back({kind, std::string(bytes)});
  unsent_bytes_ += bytes.size();
  if (may_go) Pump();
  if (most_unsent_ != nullptr) *most_unsent_ = std::max(*most_unsent_, unsent_bytes_);
}

void SimSocket::SendFin() {
  if (is_closed_ || is_broken_ || is_fin_sent_) return;
  is_fin_sent_ = true;
  const bool may_go = unsent_.empty();
  unsent_.push_back({Kind::kFin, {}});
  if (may_go) Pump();
}

void SimSocket::Pump() {
  if (!is_connected_ || !has_peer_) return;
  while (!unsent_.empty()) {
    Piece& first = unsent_.front();
    const size_t window = world_.options.window_bytes;
    const size_t room = window > in_window_bytes_ ? window - in_window_bytes_ : 0;
    if (!first.bytes.empty() && room == 0) break;
    const size_t size = std::min(first.bytes.size(), room);
    PutOnWire({first.kind, first.bytes.substr(0, size)});
    in_window_bytes_ += size;
    unsent_bytes_ -= size;
    first.bytes.erase(0, size);
    if (first.bytes.empty()) unsent_.pop_front();
  }
  if (is_lingering_) ArmLinger();
}

void SimSocket::PutOnWire(Piece piece) {
  const base::MonoTime at = std::max(last_arrival_, world_.loop.Now() + world_.options.latency);
  const bool is_scheduled = !wire_.empty() && wire_.back().at == at;
  last_arrival_ = at;
  wire_.push_back({at, std::move(piece)});
  // One event delivers all that arrives at the same moment, as one read would find it.
  if (!is_scheduled)
    world_.loop.Schedule(at - world_.loop.Now(), [self = shared_from_this()] { self->Deliver(); });
}

void SimSocket::Deliver() {
  const std::shared_ptr<SimSocket> peer = peer_.lock();
  bool has_news = false;
  while (!wire_.empty() && wire_.front().at <= world_.loop.Now()) {
    Piece piece = std::move(wire_.front().piece);
    wire_.pop_front();
    if (is_hung_) continue;
    const bool breaks =
        break_after_bytes_ && total_sent_bytes_ + piece.bytes.size() >= *break_after_bytes_;
    if (breaks) piece.bytes.resize(*break_after_bytes_ - total_sent_bytes_);
    total_sent_bytes_ += piece.bytes.size();
    const bool is_end = piece.kind == Kind::kFin || piece.kind == Kind::kReset;
    if (!piece.bytes.empty() || is_end) {
      if (peer == nullptr || peer->is_closed_) {
        if (!is_end) return AnswerWithReset();
      } else {
        peer->Arrive(std::move(piece));
        has_news = true;
      }
    }
    if (breaks) BreakNow();
  }
  if (has_news && peer->owner_ != nullptr) peer->owner_->OnArrival();
}

// Nobody lives at the other end any more: RST, a latency later.
void SimSocket::AnswerWithReset() {
  wire_.clear();
  world_.loop.Schedule(world_.options.latency, [self = shared_from_this()] {
    if (!self->is_hung_) self->Arrive({Kind::kReset, {}});
  });
}

void SimSocket::BreakNow() {
  break_after_bytes_.reset();
  wire_.clear();
  switch (break_how_) {
    case Break::kReset:
      Reset();
      break;
    case Break::kHang:
      Hang();
      break;
    case Break::kFin:
      unsent_.clear();
      unsent_bytes_ = 0;
      is_fin_sent_ = true;
      PutOnWire({Kind::kFin, {}});
      break;
  }
}

void SimSocket::OnPeerRead(size_t num_bytes) {
  in_window_bytes_ -= std::min(in_window_bytes_, num_bytes);
  if (unsent_.empty()) return;
  // The peer's window update travels too.
  world_.loop.Schedule(world_.options.latency, [self = shared_from_this()] {
    if (self->is_closed_ || self->is_broken_ || self->is_hung_) return;
    const size_t before = self->unsent_bytes_;
    self->Pump();
    if (self->owner_ != nullptr && self->unsent_bytes_ < before) self->owner_->OnFlushed(before);
  });
}

// --- arriving -------------------------------------------------------------------------------

void SimSocket::Arrive(Piece piece) {
  if (is_closed_) return;
  if (piece.kind == Kind::kReset) {
    if (is_broken_) return;
    SetBroken();
    arrived_.push_back(std::move(piece));
    if (is_lingering_) return Close();
    if (owner_ != nullptr) owner_->OnArrival();
    return;
  }
  if (piece.kind == Kind::kFin) is_fin_seen_ = true;
  if (!arrived_.empty() && arrived_.back().kind == piece.kind) {
    arrived_.back().bytes += piece.bytes;
  } else {
    arrived_.push_back(std::move(piece));
  }
  if (is_lingering_) Discard();
}

void SimSocket::SetBroken() {
  is_broken_ = true;
  has_lost_bytes_ = !unsent_.empty();
  unsent_.clear();
  unsent_bytes_ = 0;
  wire_.clear();
}

std::optional<SimSocket::Piece> SimSocket::Read(Amount amount) {
  if (arrived_.empty()) return std::nullopt;
  Piece piece{arrived_.front().kind, {}};
  if (piece.kind == Kind::kFin || piece.kind == Kind::kReset) {
    arrived_.pop_front();
    return piece;
  }
  // Pieces of one kind are one.
  std::string& first = arrived_.front().bytes;
  const size_t available = first.size() - num_read_bytes_;
  size_t wanted = available;
  if (amount == Amount::kAsCut && world_.options.cut == SimCut::kByByte) wanted = 1;
  if (amount == Amount::kAsCut && world_.options.cut == SimCut::kRandom &&
      world_.rng.Below(4) > 0) {
    wanted = 1 + world_.rng.Below(std::min(available, kRandomPieceBytes));
  }
  piece.bytes.assign(first, num_read_bytes_, wanted);
  num_read_bytes_ += wanted;
  if (num_read_bytes_ == first.size()) {
    arrived_.pop_front();
    num_read_bytes_ = 0;
  }
  if (const auto other = peer_.lock(); other != nullptr) other->OnPeerRead(wanted);
  return piece;
}

// --- ends -----------------------------------------------------------------------------------

void SimSocket::Close() {
  if (is_closed_) return;
  const bool has_unread = std::any_of(arrived_.begin(), arrived_.end(),
                                      [](const Piece& piece) { return !piece.bytes.empty(); });
  const bool is_cut_short = is_lingering_ && unsent_bytes_ > 0;
  is_closed_ = true;
  is_lingering_ = false;
  owner_ = nullptr;
  linger_.Cancel();
  arrived_.clear();
  num_read_bytes_ = 0;
  unsent_bytes_ = 0;
  const bool owes_fin = !is_fin_sent_ || (!unsent_.empty() && unsent_.back().kind == Kind::kFin);
  unsent_.clear();
  if (is_broken_ || !has_peer_) return;
  if (has_unread || is_cut_short || !is_connected_) {
    PutOnWire({Kind::kReset, {}});
  } else if (owes_fin) {
    PutOnWire({Kind::kFin, {}});
  }
}

void SimSocket::CloseGently() {
  if (is_closed_ || is_lingering_) return;
  owner_ = nullptr;
  if (is_broken_ || !has_peer_ || !is_connected_) return Close();
  SendFin();
  is_lingering_ = true;
  linger_until_ = world_.loop.Now() + kLingerMax;
  ArmLinger();
  Discard();
}

void SimSocket::Discard() {
  while (!arrived_.empty()) (void)Read(Amount::kAll);
  if (is_fin_seen_ && unsent_.empty()) Close();
}

void SimSocket::ArmLinger() {
  const base::Duration grace = unsent_.empty() ? kLingerAfterLast : kLingerNoProgress;
  linger_.ArmAt(std::min(linger_until_, world_.loop.Now() + grace));
  if (is_fin_seen_ && unsent_.empty()) Close();
}

void SimSocket::OnLinger() {
  Close();
}

// --- faults ---------------------------------------------------------------------------------

void SimSocket::Reset() {
  const std::shared_ptr<SimSocket> other = peer_.lock();
  Arrive({Kind::kReset, {}});
  if (other != nullptr) other->Arrive({Kind::kReset, {}});
}

void SimSocket::Hang() {
  is_hung_ = true;
  if (const auto other = peer_.lock(); other != nullptr) other->is_hung_ = true;
}

void SimSocket::BreakAfter(uint64_t sent_bytes, Break how) {
  POSTERN_CHECK(sent_bytes >= total_sent_bytes_);
  break_after_bytes_ = sent_bytes;
  break_how_ = how;
  if (sent_bytes > total_sent_bytes_) return;
  // Already there: break when the loop comes round, like everything else that happens to a stream.
  PutOnWire({Kind::kClear, {}});
}

void SimSocket::Delay(base::Duration duration) {
  last_arrival_ = std::max(last_arrival_, world_.loop.Now() + world_.options.latency) + duration;
}

bool SimSocket::is_late() const {
  return last_arrival_ > world_.loop.Now() + world_.options.latency;
}

}  // namespace postern::test
