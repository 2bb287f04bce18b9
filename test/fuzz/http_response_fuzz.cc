// http_response_fuzz: any bytes as an HTTP answer: no crash, progress at each step, and any cut
// gives the same header and body.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "lb/base/check.h"
#include "lb/base/escape.h"
#include "lb/proto/http_response.h"

namespace {

using postern::proto::HttpResponse;

struct Outcome {
  HttpResponse::Status status;
  std::string body;
  std::string fields;
  bool operator==(const Outcome&) const = default;
};

Outcome Read(std::string_view text, size_t piece_bytes, bool is_clean) {
  HttpResponse response;
  std::string body;
  std::string fields;
  for (size_t at = 0; at < text.size(); at += piece_bytes) {
    std::string_view piece = text.substr(at, piece_bytes);
    while (!piece.empty() && response.status() == HttpResponse::Status::kMore) {
      const HttpResponse::Step step = response.Next(piece);
      POSTERN_CHECK(step.consumed <= piece.size());
      POSTERN_CHECK(step.consumed > 0 || response.status() != HttpResponse::Status::kMore);
      POSTERN_CHECK(step.body.size() <= step.consumed);
      body += step.body;
      if (step.field) {
        POSTERN_CHECK(!response.has_head() && !step.field->name.empty());
        POSTERN_CHECK(!postern::base::HasLineBreakOrNul(step.field->value));
        fields.append(step.field->name).append(1, '\n').append(step.field->value).append(1, '\n');
      }
      piece.remove_prefix(step.consumed);
    }
  }
  response.End(is_clean);
  POSTERN_CHECK(response.status() != HttpResponse::Status::kMore);
  POSTERN_CHECK((response.status() == HttpResponse::Status::kBroken) == !response.error().empty());
  POSTERN_CHECK(std::none_of(response.error().begin(), response.error().end(),
                             [](char c) { return static_cast<unsigned char>(c) < 0x20; }));
  return {response.status(), body, fields};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const bool is_clean = (data[0] & 1) != 0;
  const Outcome whole = Read(text, text.size() + 1, is_clean);
  POSTERN_CHECK(whole == Read(text, 1 + data[0] / 2U, is_clean));
  POSTERN_CHECK(whole.body.size() <= size);
  return 0;
}
