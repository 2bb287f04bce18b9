// home_view: what one worker makes of a home: which members are in use now, weights to draw by,
// turns of round robin, seeds of the hash.
//
// Large homes are looked through every few milliseconds only, so that a choice costs O(log n); what
// a choice then rests on (may this one take work?) is read anew each time. Small ones are looked
// through for each choice.
//
// Tiers: members in order of preference (priority, then the node's own site). The first tier is in
// use; the next one too where the healthy share of the last in use is below spill_below.
// Owner:    picker.   Thread: its worker's.
// Tests:    test/balance/picker_test.cc, test/balance/share_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "lb/balance/endpoint.h"
#include "lb/base/clock.h"
#include "lb/base/rng.h"

namespace postern::balance {

[[nodiscard]] bool IsReady(const Endpoint& endpoint);  // neither draining nor in maintenance
// Healthy as to its state, and ready: may take work unless it cools down or is full.
[[nodiscard]] bool IsServing(const Endpoint& endpoint);
// Share of new work that it should get now.
[[nodiscard]] double WeightOf(const Endpoint& endpoint);
// Has the backend all the sessions that it may have? O(its endpoints x workers) where it has a
// limit.
[[nodiscard]] bool IsFull(const Endpoint& endpoint);

// Who may take this piece of work.
struct Admission {
  std::span<const EndpointId> tried;
  base::MonoTime now;
  bool heeds_hard = true;  // leave out whose mail queue is over its limit
  [[nodiscard]] bool IsTried(const Endpoint& endpoint) const;
  [[nodiscard]] bool Admits(const Endpoint& endpoint) const;
};

class HomeView {
 public:
  // The home must outlive the view's use; another home with the same name (of a later table) is
  // taken up by Adopt, and round robin goes on.
  explicit HomeView(const Home& home) { Adopt(home); }
  void Adopt(const Home& home);
  // Of the home that it is a view of.
  [[nodiscard]] uint64_t serial() const { return serial_; }
  void Refresh(base::MonoTime now);

  // Members of all tiers in use, and of each tier after these.
  [[nodiscard]] std::span<const Endpoint* const> in_use() const { return in_use_; }
  [[nodiscard]] size_t num_tiers_in_use() const { return num_tiers_in_use_; }

  // Each: null if nobody in use is admitted.
  [[nodiscard]] const Endpoint* LeastLoad(const Admission& admission, base::Rng& rng) const;
  [[nodiscard]] const Endpoint* NextTurn(const Admission& admission);

 private:
  // Round robin: who is due first has the turn, and is due again 1 / weight later. Starting half a
  // step in makes the turns of light and heavy members interleave.
  struct Turn {
    double due;
    uint32_t member;             // of in_use_; at a tie the first
    const EndpointState* state;  // whose turn it is, when in_use_ has changed
  };
  static bool IsLater(const Turn& a, const Turn& b) {
    return a.due != b.due ? a.due > b.due : a.member > b.member;
  }
  void UseTiers();
  void MakeTurns();

  const Home* home_ = nullptr;
  uint64_t serial_ = 0;
  base::MonoTime refresh_at_{};
  size_t num_tiers_in_use_ = 0;
  std::vector<const Endpoint*> in_use_;
  std::vector<double> cumulative_;  // weights of in_use_, 0 for who cannot serve
  size_t num_drawable_ = 0;         // with more than 0
  std::vector<Turn> turns_;         // a heap
  bool are_turns_made_ = false;
  std::vector<Turn> passed_over_;
  double due_now_ = 0;
};

// Weighted rendezvous: the same on every node with the same configuration; moving one endpoint
// moves only its share. Null: nobody is admitted.
[[nodiscard]] const Endpoint* Rendezvous(std::span<const Endpoint* const> members,
                                         std::string_view key, const Admission& admission);
// The least (active + 1) / weight; equals share by a random start. Null: nobody is admitted.
[[nodiscard]] const Endpoint* LeastOfAll(std::span<const Endpoint* const> members,
                                         const Admission& admission, base::Rng& rng);
[[nodiscard]] const Endpoint* FirstOf(std::span<const Endpoint* const> members,
                                      const Admission& admission);

}  // namespace postern::balance
