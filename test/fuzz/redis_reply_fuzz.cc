// redis_reply_fuzz: any bytes as the replies of a Redis server: no crash, any cut gives the same
// replies, what is too long is cut off, and only a value of one line is an answer.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lb/base/check.h"
#include "lb/base/escape.h"
#include "lb/directory/redis_reply.h"

namespace {

using postern::directory::RedisReader;
using postern::directory::RedisReply;
using Kind = postern::io::LookupAnswer::Kind;

struct Outcome {
  std::vector<RedisReply> replies;
  std::string error;
};

Outcome Read(std::string_view text, size_t piece_bytes) {
  RedisReader reader;
  Outcome outcome;
  for (size_t at = 0; at < text.size(); at += piece_bytes) {
    const bool is_good = reader.Feed(text.substr(at, piece_bytes), outcome.replies);
    POSTERN_CHECK(is_good == reader.error().empty());
  }
  outcome.error = reader.error();
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Outcome whole = Read(text, text.size() + 1);
  const Outcome cut = Read(text, 1 + data[0] / 2U);
  POSTERN_CHECK(whole.error == cut.error && whole.replies.size() == cut.replies.size());
  for (size_t i = 0; i < whole.replies.size(); ++i) {
    const RedisReply& reply = whole.replies[i];
    POSTERN_CHECK(reply.kind == cut.replies[i].kind && reply.text == cut.replies[i].text);
    const auto answer = postern::directory::MeaningOf(reply);
    POSTERN_CHECK((answer.kind == Kind::kUnknown) == (reply.kind == RedisReply::Kind::kNil));
    POSTERN_CHECK((answer.kind == Kind::kFailed) == !answer.why.empty());
    POSTERN_CHECK((answer.kind == Kind::kFound) == !answer.value.empty());
    POSTERN_CHECK(answer.value.size() <= postern::directory::kMaxRedisValueBytes);
    POSTERN_CHECK(!postern::base::HasLineBreakOrNul(answer.value + answer.why));
    (void)postern::directory::IsOfServer(reply);
    (void)postern::directory::FillTemplate(reply.text, answer.value);
  }
  return 0;
}
