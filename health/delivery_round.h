// delivery_round: one message of a delivery probe, from the look into the mailbox before to the
// deletion after.
//
//   open     logs in where the message will arrive: what cannot be looked at is not sent to
//   clean    deletes older messages of this probe there, and in the \Junk folder
//   submit   hands the message over, timed
//   wait     looks for it: after an eighth of the time that has passed, 100 ms to 5 s; in the \Junk
//            folder every other time, once a second has passed. A connection that is lost is made
//            anew
//   remove   deletes it, timed
// A server that fails before it was asked for anything is left for another one of its pool.
// Limits:   kPatience for each order to the mailbox; Probe::timeout from the begin of `submit`
//           until it is found; kMaxCleanings * MailboxDialogue::kMaxFound messages cleaned away.
// Owner:    delivery_probes, one at a time for each probe.   Thread: the health loop's.
// Tests:    test/health/delivery_probes_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "health/delivery_plan.h"
#include "health/dialogue_leg.h"
#include "health/mail_submission.h"
#include "health/mailbox_dialogue.h"
#include "lb/base/rng.h"
#include "lb/io/loop.h"
#include "lb/io/timer.h"

namespace postern::health {

enum class DeliveryFailure : uint8_t {
  kNone,
  kMailbox,  // it cannot be looked at: nothing was sent, or what was sent cannot be found
  kSubmit,   // not accepted
  kLost,     // accepted, and not found in time
  kJunk,     // found in the \Junk folder
  kCleanup,  // found, and cannot be deleted
};
[[nodiscard]] std::string_view Name(DeliveryFailure failure);

struct DeliveryResult {
  DeliveryFailure failure = DeliveryFailure::kNone;
  std::string why;
  std::string id;
  bool is_accepted = false;
  std::optional<base::Duration> submit, arrive, cleanup, roundtrip;  // the stages that were passed
  // IDs of messages that were found and deleted, and were not looked for: older ones, and this
  // one where it came too late.
  std::vector<std::string> strays;
};

class DeliveryRound {
 public:
  static constexpr base::Duration kPatience = std::chrono::seconds(30);
  static constexpr base::Duration kFirstGap = std::chrono::milliseconds(100);
  static constexpr base::Duration kLongestGap = std::chrono::seconds(5);
  static constexpr base::Duration kJunkAfter = std::chrono::seconds(1);
  static constexpr int kMaxCleanings = 20;
  using Done = std::function<void(const DeliveryResult& result)>;

  // probe: index in Config::probes.
  DeliveryRound(io::Loop& loop, io::Dialer& dialer, base::Rng& rng, balance::Picker& picker,
                std::shared_ptr<const DeliveryInputs> inputs, size_t probe, Done done);
  ~DeliveryRound();
  // `done` is called once, later; the round may then be deleted, but not from within.
  void Start();

 private:
  enum class Stage : uint8_t { kOpening, kCleaning, kClearing, kSubmitting, kWaiting, kRemoving };

  void OpenMailbox();
  void OnMailbox(DialogueLeg::Event event);
  void OnMailboxGone();
  void OnMailboxTurn();
  void Look(const std::string& mailbox);
  void OnCleanLook();
  void OnCleared();
  void CleanNext();

  void Submit();
  void OpenSubmission();
  void OnSubmission(DialogueLeg::Event event);

  void PlanLook();
  void OnLookTimer();
  void OnLooked();
  void OnDeadline();
  void Remove(std::vector<uint32_t> uids);

  [[nodiscard]] bool HasJunk() const;
  [[nodiscard]] bool IsInJunk() const { return looked_at_ != probe_.mailbox; }
  [[nodiscard]] std::string PlaceOf(const balance::Endpoint* endpoint) const;
  void Fail(DeliveryFailure failure, std::string why);
  void Finish();
  void DropMailbox();
  void DropSubmission();

  io::Loop& loop_;
  io::Dialer& dialer_;
  balance::Picker& picker_;
  const std::shared_ptr<const DeliveryInputs> inputs_;
  const size_t index_;
  const conf::Probe& probe_;
  Done done_;
  DeliveryResult result_;
  io::Timer timer_;     // the next step: the start, a look
  io::Timer deadline_;  // Probe::timeout
  Stage stage_ = Stage::kOpening;

  std::unique_ptr<MailboxDialogue> mailbox_;
  std::unique_ptr<DialogueLeg> mailbox_leg_;  // null: not open
  std::vector<balance::EndpointId> tried_;
  const balance::Endpoint* found_at_ = nullptr;
  std::string looked_at_;
  bool is_junk_closed_ = false;   // it cannot be selected
  bool is_late_ = false;          // the timeout has passed
  bool has_looked_last_ = false;  // into the \Junk folder, since then
  int num_cleanings_ = 0;
  int num_looks_ = 0;
  std::string why_blind_;  // why the last look could not be had

  std::unique_ptr<MailSubmission> submission_;
  std::unique_ptr<DialogueLeg> submission_leg_;
  const balance::Endpoint* sent_to_ = nullptr;
  base::MonoTime submit_began_, accepted_at_, found_at_time_;
};

}  // namespace postern::health
