// server_walk: the next server, and who is to blame.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/server_walk.h"

#include <utility>

#include "lb/directory/kept.h"

namespace postern::directory {

bool ServerWalk::Next() {
  if (next_ == order_.size()) return false;
  server_ = order_[next_++];
  servers_.OnAsked(server_);
  return true;
}

io::LookupAnswer ServerWalk::Answered(io::LookupAnswer answer) {
  servers_.OnAnswered(server_);
  const std::string words = std::exchange(answer.why, servers_.name(server_));
  if (!words.empty()) answer.why += ": " + words;
  return answer;
}

void ServerWalk::Leave(const std::string& why, Blame blame) {
  AppendReason(why_, servers_.name(server_), why);
  switch (blame) {
    case Blame::kServer:
      return servers_.OnFailed(server_, why);
    case Blame::kQuestion:
      is_of_question_ = true;
      return servers_.OnAnswered(server_);
    case Blame::kUs:
      is_of_us_ = true;
      return;
  }
}

io::LookupAnswer ServerWalk::Failure() const {
  if (is_of_question_) return FailedForOne(why_);
  return is_of_us_ ? FailedByUs(why_) : Failed(why_);
}

}  // namespace postern::directory
