// http_response: reads one HTTP/1.x answer as it arrives; the body goes on in pieces.
//
// Rules:    RFC 9112: status line, header, Content-Length, chunked, or until the connection ends.
//           Interim answers (1xx) are passed over. No redirect is followed; anything but 200 is an
//           error, and so is a body that is compressed, which nobody asked for. Names of fields are
//           tokens, values have no CR or NUL inside (RFC 9110 5.1, 5.5); folded lines are refused.
// Limits:   kMaxHeadBytes for all lines together (status, header, trailer), kMaxChunkLineBytes for
//           a chunk's size; the body's are its taker's.
// Owner:    one read of a queue source, one question to a directory.   Thread: none; pure.
// Why so:   evhttp comes with bufferevents (and so without our TLS), libcurl with another TLS
//           library, and the parser that Debian has (http-parser) is kept up by nobody.
// Tests:    test/proto/http_response_test.cc, test/fuzz/http_response_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lb/base/bytes.h"

namespace postern::proto {

class HttpResponse {
 public:
  static constexpr size_t kMaxHeadBytes = 32 << 10;
  static constexpr size_t kMaxChunkLineBytes = 256;
  enum class Status : uint8_t { kMore, kDone, kBroken };
  // A field of the header of a 200, without the blanks around its value.
  struct Field {
    std::string_view name;  // in whatever case it came
    std::string_view value;
  };
  struct Step {
    size_t consumed = 0;
    base::ByteView body{};  // a slice of the input
    // Valid until the next call. Not those of interim answers and trailers.
    std::optional<Field> field{};
  };

  // Takes a part of the input; to be called again until nothing is consumed. After kDone and
  // kBroken nothing is.
  [[nodiscard]] Step Next(base::ByteView input);
  // The connection has ended; is_clean: by FIN, inside TLS by close_notify.
  void End(bool is_clean);

  [[nodiscard]] Status status() const { return status_; }
  // The header of a 200 was read to its end: no field follows any more.
  [[nodiscard]] bool has_head() const { return has_head_; }
  // After kBroken: why, printable.
  [[nodiscard]] const std::string& error() const { return error_; }

 private:
  enum class State : uint8_t {
    kStatusLine,
    kHeader,
    kLength,  // a body of so many bytes
    kChunkSize,
    kChunkData,
    kChunkEnd,
    kTrailer,
    kToEnd,  // a body until the connection ends
  };

  [[nodiscard]] bool IsOfLines() const;
  void Fail(std::string why);
  [[nodiscard]] std::optional<Field> TakeLine(std::string_view line);
  void TakeStatusLine(std::string_view line);
  [[nodiscard]] std::optional<Field> TakeHeader(std::string_view line);
  [[nodiscard]] std::string_view WhyNotFramed(std::string_view name, std::string_view value);
  void TakeChunkSize(std::string_view line);
  void EndOfHeader();

  State state_ = State::kStatusLine;
  Status status_ = Status::kMore;
  std::string error_;
  std::string line_;       // not ended yet
  std::string last_line_;  // what a field is a slice of
  size_t head_bytes_ = 0;
  int code_ = 0;
  uint64_t left_bytes_ = 0;  // of the body or chunk
  bool has_length_ = false;
  bool is_chunked_ = false;
  bool has_head_ = false;
};

}  // namespace postern::proto
