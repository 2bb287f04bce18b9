// delivery_round: one message of a delivery probe.
// SPDX-License-Identifier: Apache-2.0
#include "health/delivery_round.h"

#include <algorithm>
#include <utility>

#include "health/delivery_message.h"

namespace postern::health {
namespace {

// The connection and what it drives go when the loop is free: one of them may be calling.
template <typename T>
void DeleteLater(io::Loop& loop, std::unique_ptr<T> thing) {
  if (thing != nullptr) loop.Post([thing = std::shared_ptr<T>(std::move(thing))] {});
}

std::string WordsOf(const DialogueFault& fault) {
  return std::string(base::Name(fault.phase)) + ": " + fault.why;
}

}  // namespace

std::string_view Name(DeliveryFailure failure) {
  switch (failure) {
    case DeliveryFailure::kNone:
      return "none";
    case DeliveryFailure::kMailbox:
      return "mailbox";
    case DeliveryFailure::kSubmit:
      return "submit";
    case DeliveryFailure::kLost:
      return "lost";
    case DeliveryFailure::kJunk:
      return "junk";
    case DeliveryFailure::kCleanup:
      return "cleanup";
  }
  return "none";
}

DeliveryRound::DeliveryRound(io::Loop& loop, io::Dialer& dialer, base::Rng& rng,
                             balance::Picker& picker, std::shared_ptr<const DeliveryInputs> inputs,
                             size_t probe, Done done)
    : loop_(loop),
      dialer_(dialer),
      picker_(picker),
      inputs_(std::move(inputs)),
      index_(probe),
      probe_(inputs_->config->probes[probe]),
      done_(std::move(done)),
      timer_(loop.timers(), io::Timer::Invoke<&DeliveryRound::OnLookTimer, DeliveryRound>, this),
      deadline_(loop.timers(), io::Timer::Invoke<&DeliveryRound::OnDeadline, DeliveryRound>, this) {
  result_.id = MakeDeliveryId(rng);
}

DeliveryRound::~DeliveryRound() = default;

void DeliveryRound::Start() {
  timer_.ArmAt(loop_.Now());
}

// --- the mailbox ------------------------------------------------------------------------------

void DeliveryRound::OpenMailbox() {
  DropMailbox();
  FindWay way = PlanFind(*inputs_, index_, picker_, tried_, loop_.Now());
  if (!way.why_not.empty()) {
    if (why_blind_.empty()) why_blind_ = way.why_not;
    return OnMailboxGone();
  }
  found_at_ = way.endpoint;
  tried_.push_back(way.endpoint->id);
  mailbox_ = std::make_unique<MailboxDialogue>(std::move(way.mailbox));
  mailbox_leg_ =
      std::make_unique<DialogueLeg>(loop_, dialer_, std::move(way.leg), *mailbox_,
                                    [this](DialogueLeg::Event event) { OnMailbox(event); });
  mailbox_leg_->Start(loop_.Now() + kPatience);
}

void DeliveryRound::OnMailbox(DialogueLeg::Event event) {
  if (event == DialogueLeg::Event::kTurn) {
    // Between two orders it may stay as long as the round lasts.
    mailbox_leg_->SetDeadline(loop_.Now() + probe_.timeout + kPatience);
    return OnMailboxTurn();
  }
  const bool is_early = mailbox_leg_->fault() && mailbox_leg_->fault()->is_early();
  why_blind_ = PlaceOf(found_at_) + ": " +
               (mailbox_leg_->fault() ? WordsOf(*mailbox_leg_->fault()) : "it has ended");
  DropMailbox();
  if (is_early && (stage_ == Stage::kOpening || stage_ == Stage::kWaiting)) {
    // Nobody left: the reason of the last one stands.
    return OpenMailbox();
  }
  OnMailboxGone();
}

void DeliveryRound::OnMailboxGone() {
  switch (stage_) {
    case Stage::kOpening:
    case Stage::kCleaning:
    case Stage::kClearing:
      return Fail(DeliveryFailure::kMailbox, why_blind_);
    case Stage::kSubmitting:
      return;  // it is opened again when it is needed
    case Stage::kWaiting:
      if (is_late_) return OnDeadline();
      timer_.ArmAt(loop_.Now() + kLongestGap);
      return;
    case Stage::kRemoving:
      return Fail(DeliveryFailure::kCleanup, "it arrived, and cannot be deleted: " + why_blind_);
  }
}

void DeliveryRound::OnMailboxTurn() {
  switch (stage_) {
    case Stage::kOpening:
      stage_ = Stage::kCleaning;
      return Look(probe_.mailbox);
    case Stage::kCleaning:
      return OnCleanLook();
    case Stage::kClearing:
      return OnCleared();
    case Stage::kSubmitting:
      return;
    case Stage::kWaiting:
      // Opened again just now, or a look has ended.
      if (looked_at_.empty()) return OnLookTimer();
      return OnLooked();
    case Stage::kRemoving:
      if (mailbox_->num_left() > 0)
        return Fail(DeliveryFailure::kCleanup,
                    "it arrived, and cannot be deleted: the server has no UIDPLUS, and other mail "
                    "is marked as deleted there");
      result_.cleanup = loop_.Now() - found_at_time_;
      return Finish();
  }
}

void DeliveryRound::Look(const std::string& mailbox) {
  looked_at_ = mailbox;
  std::string out;
  mailbox_->Look(mailbox, out);
  mailbox_leg_->SetDeadline(loop_.Now() + kPatience);
  mailbox_leg_->Say(std::move(out));
}

bool DeliveryRound::HasJunk() const {
  return mailbox_ != nullptr && !is_junk_closed_ && !mailbox_->junk().empty() &&
         mailbox_->junk() != probe_.mailbox;
}

// --- older messages ---------------------------------------------------------------------------

void DeliveryRound::OnCleanLook() {
  if (!mailbox_->refusal().empty()) {
    if (!IsInJunk())
      return Fail(DeliveryFailure::kMailbox,
                  PlaceOf(found_at_) + ": mailbox " + probe_.mailbox + ": " + mailbox_->refusal());
    is_junk_closed_ = true;
  }
  if (mailbox_->found().empty()) return CleanNext();
  std::vector<uint32_t> uids;
  for (const MailboxDialogue::Found& each : mailbox_->found()) {
    result_.strays.push_back(each.id);
    uids.push_back(each.uid);
  }
  stage_ = Stage::kClearing;
  Remove(std::move(uids));
}

void DeliveryRound::OnCleared() {
  if (mailbox_->num_left() > 0)
    return Fail(DeliveryFailure::kMailbox,
                PlaceOf(found_at_) +
                    ": older messages cannot be deleted: the server has no UIDPLUS, and other mail "
                    "is marked as deleted there");
  stage_ = Stage::kCleaning;
  if (mailbox_->has_more() && ++num_cleanings_ < kMaxCleanings) return Look(looked_at_);
  CleanNext();
}

void DeliveryRound::CleanNext() {
  if (!IsInJunk() && HasJunk()) return Look(mailbox_->junk());
  Submit();
}

void DeliveryRound::Remove(std::vector<uint32_t> uids) {
  std::string out;
  mailbox_->Remove(uids, out);
  mailbox_leg_->SetDeadline(loop_.Now() + kPatience);
  mailbox_leg_->Say(std::move(out));
}

// --- the way in -------------------------------------------------------------------------------

void DeliveryRound::Submit() {
  stage_ = Stage::kSubmitting;
  tried_.clear();
  submit_began_ = loop_.Now();
  deadline_.ArmAt(submit_began_ + probe_.timeout);
  OpenSubmission();
}

void DeliveryRound::OpenSubmission() {
  SendWay way = PlanSend(*inputs_, index_, picker_, tried_, loop_.Now());
  if (!way.why_not.empty()) {
    std::string why = way.why_not;
    if (submission_leg_ != nullptr && submission_leg_->fault())
      why = PlaceOf(sent_to_) + ": " + WordsOf(*submission_leg_->fault());
    return Fail(DeliveryFailure::kSubmit, std::move(why));
  }
  DropSubmission();
  sent_to_ = way.endpoint;
  if (sent_to_ != nullptr) tried_.push_back(sent_to_->id);
  const conf::Config& config = *inputs_->config;
  DeliveryMessage message;
  message.owner =
      DeliveryOwner(config.node_name.empty() ? config.hostname : config.node_name, probe_.name);
  message.id = result_.id;
  message.from = way.submission.from;
  message.to = way.submission.to;
  message.hostname = config.hostname;
  message.date = loop_.WallNow();
  way.submission.text = PrintDeliveryMessage(message);
  submission_ = std::make_unique<MailSubmission>(std::move(way.submission));
  submission_leg_ =
      std::make_unique<DialogueLeg>(loop_, dialer_, std::move(way.leg), *submission_,
                                    [this](DialogueLeg::Event event) { OnSubmission(event); });
  submission_leg_->Start(submit_began_ + probe_.timeout);
}

void DeliveryRound::OnSubmission(DialogueLeg::Event event) {
  if (event == DialogueLeg::Event::kTurn) {
    accepted_at_ = loop_.Now();
    result_.is_accepted = true;
    result_.submit = accepted_at_ - submit_began_;
    submission_leg_->SetDeadline(accepted_at_ + kPatience);
    stage_ = Stage::kWaiting;
    tried_.clear();
    why_blind_.clear();
    return PlanLook();
  }
  if (result_.is_accepted) return DropSubmission();
  const auto& fault = submission_leg_->fault();
  if (fault && fault->is_early() && sent_to_ != nullptr && loop_.Now() < deadline_.when())
    return OpenSubmission();
  // Nobody can say what became of it where its end was sent; it is looked for in later rounds.
  result_.is_accepted =
      submission_->is_sent() && fault && fault->kind != base::FaultKind::kTempfail;
  Fail(DeliveryFailure::kSubmit,
       PlaceOf(sent_to_) + ": " + (fault ? WordsOf(*fault) : "it has ended"));
}

// --- the way out ------------------------------------------------------------------------------

void DeliveryRound::PlanLook() {
  const base::Duration passed = loop_.Now() - accepted_at_;
  timer_.ArmAt(loop_.Now() + std::clamp<base::Duration>(passed / 8, kFirstGap, kLongestGap));
}

void DeliveryRound::OnLookTimer() {
  if (stage_ == Stage::kOpening) return OpenMailbox();
  if (mailbox_leg_ == nullptr) {
    looked_at_.clear();
    tried_.clear();
    return OpenMailbox();
  }
  if (!mailbox_->is_idle()) return;
  const bool is_junks_turn =
      HasJunk() && loop_.Now() - accepted_at_ >= kJunkAfter && num_looks_ % 2 == 1;
  ++num_looks_;
  Look(is_junks_turn ? mailbox_->junk() : probe_.mailbox);
}

void DeliveryRound::OnLooked() {
  if (!mailbox_->refusal().empty()) {
    if (IsInJunk()) {
      is_junk_closed_ = true;
    } else {
      why_blind_ = PlaceOf(found_at_) + ": mailbox " + probe_.mailbox + ": " + mailbox_->refusal();
    }
  } else {
    why_blind_.clear();
  }
  bool is_here = false;
  std::vector<uint32_t> uids;
  for (const MailboxDialogue::Found& each : mailbox_->found()) {
    uids.push_back(each.uid);
    if (each.id == result_.id) {
      is_here = true;
    } else {
      result_.strays.push_back(each.id);
    }
  }
  if (is_here) {
    deadline_.Cancel();
    found_at_time_ = loop_.Now();
    if (IsInJunk()) {
      result_.failure = DeliveryFailure::kJunk;
      result_.why = "it was put into " + looked_at_;
    } else if (is_late_) {
      result_.failure = DeliveryFailure::kLost;
      result_.why = "it arrived after the timeout";
      result_.strays.push_back(result_.id);
    } else {
      result_.arrive = found_at_time_ - accepted_at_;
      result_.roundtrip = found_at_time_ - submit_began_;
    }
    stage_ = Stage::kRemoving;
    return Remove(std::move(uids));
  }
  // Older ones that have come meanwhile are the next round's.
  result_.strays.resize(result_.strays.size() - mailbox_->found().size());
  if (is_late_) return OnDeadline();
  PlanLook();
}

// A look that is under way is waited for. Then comes one more, into the \Junk folder: it tells one
// loss from another.
void DeliveryRound::OnDeadline() {
  if (stage_ == Stage::kSubmitting) return;  // its leg has the same deadline
  is_late_ = true;
  timer_.Cancel();
  if (mailbox_leg_ != nullptr && !mailbox_->is_idle()) return;
  if (mailbox_leg_ != nullptr && HasJunk() && !std::exchange(has_looked_last_, true))
    return Look(mailbox_->junk());
  if (!why_blind_.empty())
    return Fail(DeliveryFailure::kMailbox,
                "it was accepted, and cannot be looked for: " + why_blind_);
  Fail(DeliveryFailure::kLost, "accepted by " + PlaceOf(sent_to_) + ", and not in " +
                                   probe_.mailbox + " at " + PlaceOf(found_at_) + " in time");
}

// --- the end ----------------------------------------------------------------------------------

std::string DeliveryRound::PlaceOf(const balance::Endpoint* endpoint) const {
  if (endpoint == nullptr) return "listener " + probe_.send_listener;
  return endpoint->backend->name + '/' + std::string(conf::Name(endpoint->conf->protocol));
}

void DeliveryRound::Fail(DeliveryFailure failure, std::string why) {
  if (result_.failure == DeliveryFailure::kNone) {
    result_.failure = failure;
    result_.why = std::move(why);
  }
  Finish();
}

void DeliveryRound::Finish() {
  const Done done = std::exchange(done_, nullptr);
  if (done == nullptr) return;
  timer_.Cancel();
  deadline_.Cancel();
  DropMailbox();
  DropSubmission();
  done(result_);
}

void DeliveryRound::DropMailbox() {
  if (mailbox_leg_ != nullptr) mailbox_leg_->Abandon();
  DeleteLater(loop_, std::move(mailbox_leg_));
  DeleteLater(loop_, std::move(mailbox_));
}

void DeliveryRound::DropSubmission() {
  if (submission_leg_ != nullptr) submission_leg_->Abandon();
  DeleteLater(loop_, std::move(submission_leg_));
  DeleteLater(loop_, std::move(submission_));
}

}  // namespace postern::health
