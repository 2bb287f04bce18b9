// kept: what directories over the network have in common: a core that outlives them, and failures.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "lb/io/lookup.h"
#include "lb/io/loop.h"

namespace postern::directory {

// Shared by a directory and its questions; the last of them may let go of it from within one of its
// own streams' events, so it dies when the loop is free.
template <typename T, typename... Arguments>
[[nodiscard]] std::shared_ptr<T> MakeKept(io::Loop& loop, Arguments&&... arguments) {
  return std::shared_ptr<T>(new T(std::forward<Arguments>(arguments)...),
                            [&loop](T* core) { loop.Post([old = std::shared_ptr<T>(core)] {}); });
}

[[nodiscard]] inline io::LookupAnswer Failed(std::string why) {
  io::LookupAnswer answer;
  answer.kind = io::LookupAnswer::Kind::kFailed;
  answer.why = std::move(why);
  return answer;
}

// Says nothing of other questions.
[[nodiscard]] inline io::LookupAnswer FailedForOne(std::string why) {
  io::LookupAnswer answer = Failed(std::move(why));
  answer.is_of_question = true;
  return answer;
}

// No descriptor, or the like: says nothing of anybody.
[[nodiscard]] inline io::LookupAnswer FailedByUs(std::string why) {
  io::LookupAnswer answer = Failed(std::move(why));
  answer.was_not_asked = true;
  return answer;
}

// "a:7072: connection refused; b:7072: the answer is 500"
inline void AppendReason(std::string& reasons, std::string_view server, std::string_view why) {
  if (!reasons.empty()) reasons += "; ";
  reasons.append(server).append(": ").append(why);
}

}  // namespace postern::directory
