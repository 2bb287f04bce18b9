// judge: from what checks and live sessions meet to one word.
// SPDX-License-Identifier: Apache-2.0
#include "health/judge.h"

#include <algorithm>

namespace postern::health {

void Judge::SetThresholds(uint32_t rise, uint32_t fall) {
  rise_ = rise;
  fall_ = fall;
}

void Judge::OnCheck(bool is_ok) {
  if (!is_checked_) {
    is_checked_ = true;
    is_down_ = !is_ok;
    return;
  }
  if (is_ok != is_down_) {  // it confirms what is known
    streak_ = 0;
    return;
  }
  if (++streak_ < std::max(is_down_ ? rise_ : fall_, 1U)) return;
  is_down_ = !is_down_;
  is_degraded_ = false;
  streak_ = 0;
}

void Judge::OnInterval(uint64_t attempts, uint64_t failures) {
  attempts_ += attempts;
  failures_ += failures;
  ++num_gathered_;
  const bool is_bad = failures_ * 2 > attempts_;
  if (!is_degraded_) {
    if (attempts_ >= kLeastAttempts && is_bad) {
      is_degraded_ = true;
      degraded_attempts_ = attempts_;
      degraded_failures_ = failures_;
    }
  } else if (attempts_ < kLeastAttempts && num_gathered_ < kPatience) {
    return;  // not enough is known to change the word
  } else if (is_bad && attempts_ > 0) {
    degraded_attempts_ = attempts_;
    degraded_failures_ = failures_;
  } else {
    is_degraded_ = false;
  }
  attempts_ = failures_ = 0;
  num_gathered_ = 0;
}

balance::Health Judge::health() const {
  if (is_down_) return balance::Health::kDown;
  return is_degraded_ ? balance::Health::kDegraded : balance::Health::kUp;
}

std::string Judge::Words() const {
  if (is_down_ && streak_ > 0)
    return std::to_string(streak_) + " of " + std::to_string(rise_) +
           " checks passed on the way up";
  if (is_down_) return "checks fail";
  if (streak_ > 0)
    return std::to_string(streak_) + " of " + std::to_string(fall_) +
           " checks failed on the way down";
  if (is_degraded_)
    return std::to_string(degraded_failures_) + " of " + std::to_string(degraded_attempts_) +
           " live attempts failed while checks pass";
  return "";
}

}  // namespace postern::health
