// http_response: lines of the head, sizes of chunks, slices of the body.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/http_response.h"

#include <algorithm>
#include <charconv>
#include <system_error>
#include <utility>

#include "lb/base/escape.h"

namespace postern::proto {
namespace {

constexpr uint64_t kMaxBodyBytes = uint64_t{1} << 40;  // nobody reads as much; keeps sums in range

std::string_view Trim(std::string_view text) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

bool ParseNumber(std::string_view text, int base, uint64_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  return !text.empty() && error == std::errc() && end == text.data() + text.size() &&
         number <= kMaxBodyBytes;
}

// RFC 9110 5.6.2.
bool IsToken(std::string_view text) {
  static constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           kOthers.find(c) != std::string_view::npos;
  });
}

}  // namespace

bool HttpResponse::IsOfLines() const {
  switch (state_) {
    case State::kStatusLine:
    case State::kHeader:
    case State::kChunkSize:
    case State::kChunkEnd:
    case State::kTrailer:
      return true;
    case State::kLength:
    case State::kChunkData:
    case State::kToEnd:
      break;
  }
  return false;
}

HttpResponse::Step HttpResponse::Next(base::ByteView input) {
  if (status_ != Status::kMore || input.empty()) return {};
  if (IsOfLines()) {
    const size_t end = input.find('\n');
    const size_t consumed = end == base::ByteView::npos ? input.size() : end + 1;
    const bool is_of_chunk = state_ == State::kChunkSize || state_ == State::kChunkEnd;
    if (!is_of_chunk) head_bytes_ += consumed;
    if (head_bytes_ > kMaxHeadBytes ||
        (is_of_chunk && line_.size() + consumed > kMaxChunkLineBytes)) {
      Fail(is_of_chunk ? "a chunk's size has no end" : "the answer's header is too long");
      return {};
    }
    line_.append(input.substr(0, consumed));
    if (line_.ends_with('\n')) {
      line_.pop_back();
      if (line_.ends_with('\r')) line_.pop_back();
      last_line_ = std::exchange(line_, {});
      return {consumed, {}, TakeLine(last_line_)};
    }
    return {consumed};
  }
  Step step;
  step.consumed = input.size();
  if (state_ != State::kToEnd) {
    step.consumed = static_cast<size_t>(std::min<uint64_t>(input.size(), left_bytes_));
    left_bytes_ -= step.consumed;
    if (left_bytes_ == 0 && state_ == State::kLength) status_ = Status::kDone;
    if (left_bytes_ == 0 && state_ == State::kChunkData) state_ = State::kChunkEnd;
  }
  step.body = input.substr(0, step.consumed);
  return step;
}

void HttpResponse::End(bool is_clean) {
  if (status_ != Status::kMore) return;
  if (state_ == State::kToEnd && is_clean) {
    status_ = Status::kDone;
  } else {
    Fail(state_ == State::kStatusLine && line_.empty() ? "the connection ended without an answer"
                                                       : "the answer was cut off");
  }
}

void HttpResponse::Fail(std::string why) {
  status_ = Status::kBroken;
  error_ = std::move(why);
}

std::optional<HttpResponse::Field> HttpResponse::TakeLine(std::string_view line) {
  switch (state_) {
    case State::kStatusLine:
      TakeStatusLine(line);
      break;
    case State::kHeader:
      if (!line.empty()) return TakeHeader(line);
      EndOfHeader();
      break;
    case State::kChunkSize:
      TakeChunkSize(line);
      break;
    case State::kChunkEnd:
      if (line.empty()) {
        state_ = State::kChunkSize;
      } else {
        Fail("a chunk is longer than its size");
      }
      break;
    case State::kTrailer:
      if (line.empty()) status_ = Status::kDone;
      break;
    case State::kLength:
    case State::kChunkData:
    case State::kToEnd:
      break;
  }
  return std::nullopt;
}

// "HTTP/1.1 200 OK"
void HttpResponse::TakeStatusLine(std::string_view line) {
  const bool is_http = line.size() >= 12 && line.starts_with("HTTP/1.") && line[7] >= '0' &&
                       line[7] <= '9' && line[8] == ' ' && (line.size() == 12 || line[12] == ' ');
  uint64_t code = 0;
  if (!is_http || !ParseNumber(line.substr(9, 3), 10, code) || code < 100) {
    return Fail("the answer is not HTTP/1.1: " + base::Printable(line, 40));
  }
  code_ = static_cast<int>(code);
  state_ = State::kHeader;
}

std::optional<HttpResponse::Field> HttpResponse::TakeHeader(std::string_view line) {
  const size_t colon = line.find(':');
  const std::string_view name = line.substr(0, colon);
  if (colon == std::string_view::npos || !IsToken(name) || base::HasLineBreakOrNul(line)) {
    Fail("a header line is not understood: " + base::Printable(line, 40));
    return std::nullopt;
  }
  const std::string_view value = Trim(line.substr(colon + 1));
  if (const std::string_view why = WhyNotFramed(name, value); !why.empty()) {
    Fail(std::string(why));
    return std::nullopt;
  }
  return code_ == 200 ? std::optional<Field>(Field{name, value}) : std::nullopt;
}

// What the fields say of the body; if that cannot be followed, why.
std::string_view HttpResponse::WhyNotFramed(std::string_view name, std::string_view value) {
  if (base::EqualsIgnoreCase(name, "content-length")) {
    uint64_t length = 0;
    if (!ParseNumber(value, 10, length) || (has_length_ && length != left_bytes_))
      return "the answer's length is not understood";
    has_length_ = true;
    left_bytes_ = length;
  } else if (base::EqualsIgnoreCase(name, "transfer-encoding")) {
    if (is_chunked_ || !base::EqualsIgnoreCase(value, "chunked"))
      return "the answer's transfer encoding is not known";
    is_chunked_ = true;
  } else if (base::EqualsIgnoreCase(name, "content-encoding") && code_ == 200 &&
             !base::EqualsIgnoreCase(value, "identity")) {
    return "the answer is compressed, which was not asked for";
  }
  return {};
}

void HttpResponse::EndOfHeader() {
  if (code_ < 200) {  // more follows
    state_ = State::kStatusLine;
    has_length_ = is_chunked_ = false;
    return;
  }
  if (code_ != 200) {
    return Fail("the answer is " + std::to_string(code_) +
                (code_ >= 300 && code_ < 400 ? "; redirects are not followed" : ""));
  }
  has_head_ = true;
  if (is_chunked_) {
    state_ = State::kChunkSize;
  } else if (!has_length_) {
    state_ = State::kToEnd;
  } else {
    state_ = State::kLength;
    if (left_bytes_ == 0) status_ = Status::kDone;
  }
}

// "1a4;extension"
void HttpResponse::TakeChunkSize(std::string_view line) {
  if (!ParseNumber(Trim(line.substr(0, line.find(';'))), 16, left_bytes_))
    return Fail("a chunk's size is not understood");
  state_ = left_bytes_ == 0 ? State::kTrailer : State::kChunkData;
}

}  // namespace postern::proto
