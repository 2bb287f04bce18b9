// idle_legs: connections to SMTP servers that nobody's transaction needs now, kept for the next
// client's.
//
// A leg is here only if its server was told nothing of a client (client_address none, no login) but
// the EHLO name, owes no answer and has refused nothing (servers count errors per connection). It
// serves another client as long as the endpoint is of the same snapshot, so that TLS and its
// verification are those that the configuration asks for now.
//
// Does not: choose endpoints, or judge them: who takes a leg has picked its endpoint already.
// Limits:   kMaxPerEndpoint legs an endpoint; smtp.legs idle and transactions, as each leg says.
// Owner:    a worker.   Thread: its own.
// Tests:    test/session/idle_legs_test.cc, test/sim/smtp_sim_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "lb/balance/endpoint.h"
#include "lb/io/loop.h"
#include "lb/io/stream.h"
#include "lb/io/timer.h"
#include "lb/proto/smtp_relay.h"
#include "lb/session/session_env.h"

namespace postern::session {

class IdleLegs {
 public:
  static constexpr size_t kMaxPerEndpoint = 16;

  struct Leg {
    std::unique_ptr<io::Stream> stream;  // connected; Input() is empty
    std::shared_ptr<const balance::EndpointState> endpoint;
    std::weak_ptr<const Parts> parts;  // by whose TLS settings it was dialled
    proto::SmtpIdleLeg state;
  };

  explicit IdleLegs(io::Loop& loop);
  ~IdleLegs();
  IdleLegs(const IdleLegs&) = delete;
  IdleLegs& operator=(const IdleLegs&) = delete;

  // Keeps it, or says QUIT where nobody would take it, or nothing is kept any more. Of too many the
  // oldest goes.
  void Put(Leg leg);
  // One that the relay can use for the transaction under way, if possible one that has said the
  // relay's name; the observer hears of its stream from now on.
  [[nodiscard]] std::optional<Leg> Take(const balance::EndpointState& endpoint,
                                        const std::shared_ptr<const Parts>& parts,
                                        const proto::SmtpRelay& relay,
                                        io::Stream::Observer& observer);

  // The endpoint takes no work any more.
  void LeaveEndpoint(const balance::EndpointState& endpoint);
  // Says QUIT on all: there is another snapshot.
  void CloseAll();
  // Likewise, and keeps nothing any more: drain, shutdown.
  void Stop();

  [[nodiscard]] size_t size() const;

 private:
  class Kept;
  using Shelf = std::vector<std::unique_ptr<Kept>>;  // of an endpoint, the oldest first

  void Remove(const Kept& kept);
  void Close(std::unique_ptr<Kept> kept);
  void Sweep();

  io::Loop& loop_;
  std::map<const balance::EndpointState*, Shelf> shelves_;
  io::Timer timer_;  // armed while there are any
  bool is_stopped_ = false;
};

}  // namespace postern::session
