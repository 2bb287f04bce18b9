// breaker: closed, open, trial.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/breaker.h"

#include <algorithm>

namespace postern::directory {

Breaker::Pass Breaker::Enter(base::MonoTime now) {
  if (state_ == State::kClosed) return Pass::kAsk;
  if (state_ == State::kTrial || now < until_) return Pass::kNo;
  state_ = State::kTrial;
  return Pass::kTrial;
}

void Breaker::OnAnswer() {
  state_ = State::kClosed;
  num_failures_ = 0;
}

void Breaker::OnFailure(base::MonoTime now, Pass pass) {
  if (state_ == State::kClosed) {
    if (++num_failures_ < settings_.failures) return;
    ++num_opened_;
    Open(now, settings_.first);
  } else if (state_ == State::kTrial && pass == Pass::kTrial) {
    Open(now, std::min(2 * pause_, settings_.longest));
  }
}

void Breaker::OnAbandoned(Pass pass) {
  if (state_ == State::kTrial && pass == Pass::kTrial) state_ = State::kOpen;
}

base::Duration Breaker::Remaining(base::MonoTime now) const {
  return state_ == State::kOpen ? std::max(base::Duration{}, until_ - now) : base::Duration{};
}

void Breaker::Open(base::MonoTime now, base::Duration pause) {
  state_ = State::kOpen;
  pause_ = pause;
  until_ = now + pause;
}

}  // namespace postern::directory
