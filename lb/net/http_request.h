// http_request: one HTTP/1.1 request out of bytes, and an answer into bytes. Pure.
//
// Strict where looseness is dangerous: CRLF only, no folded lines, no blank before a colon, one
// Content-Length of digits, no transfer codings (501), one Host.
// Rules:    RFC 9112 2-6, RFC 9110 9-10.
// Limits:   HttpLimits; what is too large is refused as soon as that is known.
// Tests:    test/net/http_request_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lb/base/address.h"
#include "lb/base/bytes.h"

namespace postern::net {

struct HttpRequest {
  std::string method;                 // "GET"
  std::string path;                   // "/api/v1/status", percent-decoded; never empty
  std::vector<std::string> segments;  // of the path, each decoded: a name may hold "%2F"
  std::vector<std::pair<std::string, std::string>> query;   // decoded, in order
  std::map<std::string, std::string, std::less<>> headers;  // names in lower case; lists joined
  std::string body;
  bool is_unix = false;       // came by the Unix socket: file permissions have vouched for it
  base::SocketAddress peer;   // of TCP; else zero
  base::SocketAddress local;  // likewise

  // The first value of that name; empty if there is none.
  [[nodiscard]] std::string_view Query(std::string_view name) const;
  [[nodiscard]] std::string_view Header(std::string_view lower_case_name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers{};
  std::string body{};
};

// Reads one request after the other from what has come so far.
class HttpReader {
 public:
  enum class Status : uint8_t {
    kNeedBytes,
    kDone,      // request() is complete, Consumed() bytes belong to it
    kContinue,  // as kNeedBytes, and the client waits for "100 Continue" before it sends the body
    kRefused,   // refusal() is to be sent, then the connection closed
  };
  HttpReader(size_t max_head_bytes, size_t max_body_bytes)
      : max_head_bytes_(max_head_bytes), max_body_bytes_(max_body_bytes) {}

  // input: everything since the last request. Says kContinue once.
  [[nodiscard]] Status Read(base::ByteView input);
  [[nodiscard]] HttpRequest& request() { return request_; }
  [[nodiscard]] size_t consumed() const { return consumed_; }
  [[nodiscard]] bool keeps_open() const { return keeps_open_; }
  [[nodiscard]] const HttpResponse& refusal() const { return refusal_; }
  // For the next request.
  void Reset();

 private:
  [[nodiscard]] bool ReadHead(base::ByteView head);
  [[nodiscard]] bool ReadRequestLine(base::ByteView line);
  [[nodiscard]] bool ReadTarget(base::ByteView target);
  [[nodiscard]] bool ReadHeader(base::ByteView line);
  [[nodiscard]] bool ReadFraming();
  bool Refuse(int status, std::string_view code, std::string_view message);

  size_t max_head_bytes_;
  size_t max_body_bytes_;
  HttpRequest request_;
  HttpResponse refusal_;
  size_t head_bytes_ = 0;  // 0: not complete yet
  size_t body_bytes_ = 0;
  size_t consumed_ = 0;
  bool is_http_1_0_ = false;
  bool keeps_open_ = false;
  bool has_said_continue_ = false;
};

enum class HttpEnd : uint8_t { kKeepOpen, kClose };
// is_head: the client asked for the head only.
[[nodiscard]] std::string ToWire(const HttpResponse& response, bool is_head, HttpEnd end);
// {"error":{"code","message","path"}}, as all of the API's errors.
[[nodiscard]] HttpResponse HttpError(int status, std::string_view code, std::string_view message,
                                     std::string_view path = {});

}  // namespace postern::net
