// sim_net: dials, doors and the streams that they give.
// SPDX-License-Identifier: Apache-2.0
#include "test/support/sim_net.h"

#include <algorithm>
#include <utility>

namespace postern::test {

void SimNet::Listen(const base::SocketAddress& address, OnAccept on_accept) {
  Place& place = places_[address];
  place.door = Door::kOpen;
  place.on_accept = std::move(on_accept);
}

void SimNet::Listen(const std::string& unix_path, OnAccept on_accept) {
  unix_places_[unix_path] = {Door::kOpen, std::move(on_accept), false};
}

void SimNet::SetDoor(const base::SocketAddress& address, Door door) {
  places_[address].door = door;
}

void SimNet::SetDoor(const std::string& unix_path, Door door) {
  unix_places_[unix_path].door = door;
}

void SimNet::SetBadCertificate(const base::SocketAddress& address, bool is_bad) {
  places_[address].has_bad_certificate = is_bad;
}

std::pair<std::unique_ptr<SimStream>, std::unique_ptr<SimStream>> SimNet::Pair(
    const base::SocketAddress& client, const base::SocketAddress& server) {
  std::unique_ptr<SimStream> a(new SimStream(*this));
  std::unique_ptr<SimStream> b(new SimStream(*this));
  a->local_address_ = b->peer_address_ = client;
  a->peer_address_ = b->local_address_ = server;
  SimSocket::Join(a->socket_, b->socket_);
  b->socket_->set_most_unsent(&most_unsent_accepted_);
  return {std::move(a), std::move(b)};
}

std::unique_ptr<io::Stream> SimNet::Connect(const io::DialOptions& dial,
                                            io::Stream::Observer& observer) {
  ++num_dials_;
  std::unique_ptr<SimStream> stream(new SimStream(*this));
  stream->state_ = SimStream::State::kConnecting;
  stream->socket_->SetConnecting();
  stream->socket_->set_most_unsent(&most_unsent_dialled_);
  stream->observer_ = &observer;
  stream->peer_address_ = dial.address;
  const auto loopback = base::IpAddress::V4({127, 0, 0, 1});
  stream->local_address_ = {dial.source.value_or(loopback), next_port_};
  next_port_ = next_port_ == UINT16_MAX ? uint16_t{32768} : static_cast<uint16_t>(next_port_ + 1);
  world_.loop.Schedule(options.latency, [this, self = stream->self_, dial] {
    if (*self != nullptr && !(*self)->is_closed()) Arrive(self, dial);
  });
  return stream;
}

// The dial has come to the address; the answer takes a latency more.
void SimNet::Arrive(const std::shared_ptr<SimStream*>& dialled, const io::DialOptions& dial) {
  const Place* place = nullptr;
  if (dial.unix_path.empty()) {
    if (const auto it = places_.find(dial.address); it != places_.end()) place = &it->second;
  } else if (const auto it = unix_places_.find(dial.unix_path); it != unix_places_.end()) {
    place = &it->second;
  }
  const Door door = place == nullptr ? Door::kRefuses : place->door;
  const auto answer = [this, dialled](auto then) {
    world_.loop.Schedule(options.latency, [dialled, then] {
      if (*dialled != nullptr && !(*dialled)->is_closed()) then(**dialled);
    });
  };
  switch (door) {
    case Door::kHangs:
      return;
    case Door::kRefuses:
      return answer([](SimStream& stream) { stream.EndLater(io::StreamEnd::kRefused); });
    case Door::kShort:
      return answer([](SimStream& stream) { stream.EndLater(io::StreamEnd::kLocal); });
    case Door::kOpen:
      break;
  }
  std::unique_ptr<SimStream> accepted(new SimStream(*this));
  accepted->local_address_ = dial.address;
  accepted->peer_address_ = (*dialled)->local_address_;
  (*dialled)->fails_verification_ |= place->has_bad_certificate;
  SimSocket::Join((*dialled)->socket_, accepted->socket_);
  answer([](SimStream& stream) {
    stream.state_ = SimStream::State::kOpen;
    stream.reports_.connected = true;
    stream.ServeSoon();
    stream.socket_->SetConnected();
  });
  // A copy: the listener may be replaced from within.
  const OnAccept on_accept = place->on_accept;
  on_accept(std::move(accepted));
}

void SimNet::KeepLingering(std::shared_ptr<SimSocket> socket) {
  if (lingering_.size() >= prune_at_) {
    std::erase_if(lingering_, [](const auto& kept) { return kept->is_over(); });
    prune_at_ = std::max<size_t>(64, 2 * lingering_.size());
  }
  lingering_.push_back(std::move(socket));
}

}  // namespace postern::test
