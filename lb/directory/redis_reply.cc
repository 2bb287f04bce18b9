// redis_reply: hiredis's reader with replies of our own, bounded.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/redis_reply.h"

#include <hiredis/hiredis.h>
#include <hiredis/read.h>

#include <algorithm>
#include <array>
#include <utility>

#include "lb/base/check.h"
#include "lb/base/escape.h"
#include "lb/base/secret.h"
#include "lb/directory/kept.h"

namespace postern::directory {
namespace {

constexpr size_t kPieceBytes = 4 << 10;

using Kind = RedisReply::Kind;

void* CreateString(const redisReadTask* task, char* bytes, size_t num_bytes) {
  // Of a string hiredis skips the two octets behind it, whatever they are.
  if (bytes[num_bytes] != '\r' || bytes[num_bytes + 1] != '\n') return nullptr;
  const Kind kind = task->type == REDIS_REPLY_ERROR    ? Kind::kError
                    : task->type == REDIS_REPLY_STATUS ? Kind::kStatus
                                                       : Kind::kString;
  return new RedisReply{kind, std::string(bytes, num_bytes)};
}
void* CreateArray(const redisReadTask*, int) {
  return nullptr;  // the reader calls it an error
}
void* CreateInteger(const redisReadTask*, long long) {
  return new RedisReply{Kind::kOther};
}
void* CreateNil(const redisReadTask* task) {
  return new RedisReply{task->type == REDIS_REPLY_STRING ? Kind::kNil : Kind::kOther};
}
void FreeReply(void* reply) {
  delete static_cast<RedisReply*>(reply);
}

redisReplyObjectFunctions kFunctions = {CreateString, CreateArray, CreateInteger, CreateNil,
                                        FreeReply};

bool IsOneLine(std::string_view text) {
  return base::IsUtf8(text) && std::none_of(text.begin(), text.end(), [](char c) {
           return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
         });
}

}  // namespace

struct RedisReader::Impl {
  Impl() : reader(redisReaderCreateWithFunctions(&kFunctions)) { POSTERN_CHECK(reader != nullptr); }
  ~Impl() { redisReaderFree(reader); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  redisReader* const reader;
};

RedisReader::RedisReader() : impl_(std::make_unique<Impl>()) {}
RedisReader::~RedisReader() = default;

bool RedisReader::Feed(base::ByteView input, std::vector<RedisReply>& replies) {
  redisReader* const reader = impl_->reader;
  while (!input.empty() && error_.empty()) {
    // Never more than shows that a reply is too long, wherever the input was cut.
    const size_t waiting_bytes = reader->len - reader->pos;
    const base::ByteView piece =
        input.substr(0, std::min(kPieceBytes, kMaxReplyBytes + 1 - waiting_bytes));
    input.remove_prefix(piece.size());
    POSTERN_CHECK(redisReaderFeed(reader, piece.data(), piece.size()) == REDIS_OK);
    while (error_.empty()) {
      void* reply = nullptr;
      if (redisReaderGetReply(reader, &reply) != REDIS_OK) {
        error_ = "what it says is not understood";
      } else if (reply == nullptr) {
        break;
      } else {
        replies.push_back(std::move(*static_cast<RedisReply*>(reply)));
        FreeReply(reply);
      }
    }
    if (error_.empty() && reader->len - reader->pos > kMaxReplyBytes)
      error_ = "what it says is too long";
  }
  return error_.empty();
}

std::string RedisCommand(std::span<const std::string_view> arguments) {
  std::vector<const char*> texts;
  std::vector<size_t> sizes;
  for (const std::string_view argument : arguments) {
    texts.push_back(argument.data());
    sizes.push_back(argument.size());
  }
  char* bytes = nullptr;
  const int num_bytes = redisFormatCommandArgv(&bytes, static_cast<int>(arguments.size()),
                                               texts.data(), sizes.data());
  POSTERN_CHECK(num_bytes > 0);
  const auto size_bytes = static_cast<size_t>(num_bytes);
  std::string command(bytes, size_bytes);
  base::WipeBytes(bytes, size_bytes);
  redisFreeCommand(bytes);
  return command;
}

io::LookupAnswer MeaningOf(const RedisReply& reply) {
  io::LookupAnswer answer;
  switch (reply.kind) {
    case Kind::kString:
      if (reply.text.empty()) return Failed("the value is empty");
      if (reply.text.size() > kMaxRedisValueBytes) return Failed("the value is too long");
      if (!IsOneLine(reply.text))
        return Failed("the value is no line of text: " + base::Printable(reply.text, 80));
      answer.kind = io::LookupAnswer::Kind::kFound;
      answer.value = reply.text;
      return answer;
    case Kind::kNil:
      answer.kind = io::LookupAnswer::Kind::kUnknown;
      return answer;
    case Kind::kError:
      return Failed(reply.text.empty() ? "an error without words"
                                       : base::Printable(reply.text, 200));
    case Kind::kStatus:
    case Kind::kOther:
      break;
  }
  return Failed("the reply is of a kind that was not asked for");
}

bool IsOfServer(const RedisReply& reply) {
  constexpr std::array<std::string_view, 11> kWords = {
      "DENIED", "LOADING", "MASTERDOWN", "READONLY", "BUSY",    "CLUSTERDOWN",
      "NOAUTH", "NOPERM",  "MISCONF",    "NOPROTO",  "TRYAGAIN"};
  const std::string_view text = reply.text;
  if (reply.kind != Kind::kError) return false;
  // Said instead of a greeting, as DENIED is.
  if (text.starts_with("ERR max number of clients")) return true;
  return std::find(kWords.begin(), kWords.end(), text.substr(0, text.find(' '))) != kWords.end();
}

std::string FillTemplate(std::string_view text, std::string_view key) {
  const size_t at = key.rfind('@');
  const std::string_view local = key.substr(0, at);
  const std::string_view domain =
      at == std::string_view::npos ? std::string_view() : key.substr(at + 1);
  std::string filled;
  for (size_t i = 0; i < text.size(); ++i) {
    const char what = text[i] == '%' && i + 1 < text.size() ? text[i + 1] : '\0';
    const std::string_view part = what == 'u'   ? key
                                  : what == 'n' ? local
                                  : what == 'd' ? domain
                                                : std::string_view("%");
    if (what == 'u' || what == 'n' || what == 'd' || what == '%') {
      filled += part;
      ++i;
    } else {
      filled += text[i];
    }
  }
  return filled;
}

}  // namespace postern::directory
