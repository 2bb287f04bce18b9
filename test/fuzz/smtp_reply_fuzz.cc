// smtp_reply_fuzz: a backend's bytes: the same replies however they are cut, and only whole ones.
// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "lb/base/check.h"
#include "lb/proto/smtp_extensions.h"
#include "lb/proto/smtp_grammar.h"
#include "lb/proto/smtp_reply.h"

namespace {

using postern::proto::SmtpReplyReader;

struct Read {
  std::vector<std::string> replies;
  bool is_bad = false;
  bool operator==(const Read&) const = default;
};

Read ReadAll(std::string_view input, size_t piece_bytes) {
  SmtpReplyReader reader({8, 200});
  Read out;
  std::string kept;
  for (size_t at = 0; at < input.size() && !out.is_bad; at += piece_bytes) {
    kept += input.substr(at, piece_bytes);
    while (true) {
      const SmtpReplyReader::Result result = reader.Next(kept);
      if (result.status == SmtpReplyReader::Status::kBad) out.is_bad = true;
      if (result.status != SmtpReplyReader::Status::kReply) break;
      POSTERN_CHECK(result.reply.lines.size() == result.consumed);
      POSTERN_CHECK(result.reply.code >= 200 && result.reply.code < 600);
      POSTERN_CHECK(result.consumed <= 8 * 512 + 200);
      out.replies.emplace_back(result.reply.lines);
      kept.erase(0, result.consumed);
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Read whole = ReadAll(input, input.size() + 1);
  POSTERN_CHECK(whole == ReadAll(input, 1));
  POSTERN_CHECK(whole == ReadAll(input, 1 + data[0] % 64));
  for (const std::string& reply : whole.replies) {
    for (const char c : reply)
      POSTERN_CHECK(static_cast<unsigned char>(c) >= ' ' || c == '\r' || c == '\n' || c == '\t');
    static_cast<void>(postern::proto::ParseEhloReply(reply));
    static_cast<void>(postern::proto::EhloKeywords(reply));
    POSTERN_CHECK(postern::proto::FindQueueId(reply).size() <= 64);
    POSTERN_CHECK(postern::proto::WithCode(reply, 451).size() == reply.size());
  }
  return 0;
}
