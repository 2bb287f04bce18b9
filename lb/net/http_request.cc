// http_request: one HTTP/1.1 request out of bytes, and an answer into bytes.
// SPDX-License-Identifier: Apache-2.0
#include "lb/net/http_request.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "lb/base/escape.h"

namespace postern::net {
namespace {

using base::ByteView;

constexpr size_t kMaxHeaders = 100;

bool IsTokenChar(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool IsToken(ByteView text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), IsTokenChar);
}

// Visible characters only: what a target may consist of.
bool IsVisible(ByteView text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

enum class Plus : bool { kIsPlus, kIsSpace };

std::optional<std::string> Decode(ByteView text, Plus plus) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus == Plus::kIsSpace) {
      decoded += ' ';
    } else if (text[i] != '%') {
      decoded += text[i];
    } else {
      const int high = i + 2 < text.size() ? HexValue(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? HexValue(text[i + 2]) : -1;
      if (high < 0 || low < 0) return std::nullopt;
      decoded += static_cast<char>(high << 4 | low);
      i += 2;
    }
  }
  return decoded;
}

ByteView Trim(ByteView text) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

// Splits off what stands before the mark; the rest starts behind it.
ByteView TakeUntil(ByteView& rest, char mark) {
  const size_t end = rest.find(mark);
  const ByteView part = rest.substr(0, end);
  rest = end == ByteView::npos ? ByteView() : rest.substr(end + 1);
  return part;
}

bool HasListItem(ByteView list, ByteView wanted) {
  while (!list.empty()) {
    if (base::EqualsIgnoreCase(Trim(TakeUntil(list, ',')), wanted)) return true;
  }
  return false;
}

std::string_view ReasonOf(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return status < 400 ? "OK" : "Refused";
  }
}

}  // namespace

HttpReader::Status HttpReader::Read(ByteView input) {
  if (head_bytes_ == 0) {
    // RFC 9112 2.2: empty lines in front of a request line are ignored.
    size_t skipped = 0;
    while (input.substr(skipped).starts_with("\r\n")) skipped += 2;
    const size_t end = input.find("\r\n\r\n", skipped);
    const size_t head_end = end == ByteView::npos ? input.size() : end + 4;
    if (head_end > max_head_bytes_) {
      Refuse(431, "header_too_large", "the request's header is too large");
      return Status::kRefused;
    }
    if (end == ByteView::npos) {
      // Nonsense is refused at its first line, not when its time is over.
      const size_t first = input.find('\n', skipped);
      const bool is_bad =
          first != ByteView::npos && (first == skipped || input[first - 1] != '\r' ||
                                      !ReadRequestLine(input.substr(skipped, first - 1 - skipped)));
      if (!is_bad) return Status::kNeedBytes;
      if (refusal_.body.empty()) Refuse(400, "bad_request", "lines must end with CR LF");
      return Status::kRefused;
    }
    if (!ReadHead(input.substr(skipped, end + 2 - skipped)) || !ReadFraming()) {
      return Status::kRefused;
    }
    head_bytes_ = head_end;
  }
  if (input.size() - head_bytes_ < body_bytes_) {
    const bool waits = base::EqualsIgnoreCase(request_.Header("expect"), "100-continue");
    if (!waits || has_said_continue_) return Status::kNeedBytes;
    has_said_continue_ = true;
    return Status::kContinue;
  }
  request_.body = std::string(input.substr(head_bytes_, body_bytes_));
  consumed_ = head_bytes_ + body_bytes_;
  return Status::kDone;
}

// Every line with its CRLF.
bool HttpReader::ReadHead(ByteView head) {
  bool is_first = true;
  while (!head.empty()) {
    const size_t end = head.find("\r\n");
    const ByteView line = head.substr(0, end);
    head.remove_prefix(end + 2);
    if (base::HasLineBreakOrNul(line)) {
      return Refuse(400, "bad_request", "a line holds a control character");
    }
    if (is_first ? !ReadRequestLine(line) : !ReadHeader(line)) return false;
    is_first = false;
  }
  return true;
}

bool HttpReader::ReadRequestLine(ByteView line) {
  ByteView rest = line;
  const ByteView method = TakeUntil(rest, ' ');
  const ByteView target = TakeUntil(rest, ' ');
  if (!IsToken(method) || target.empty() || !IsVisible(target) || !rest.starts_with("HTTP/")) {
    return Refuse(400, "bad_request", "the request line is not understood");
  }
  if (rest != "HTTP/1.1" && rest != "HTTP/1.0") {
    return Refuse(505, "bad_version", "only HTTP/1.1 and HTTP/1.0 are spoken here");
  }
  is_http_1_0_ = rest == "HTTP/1.0";
  request_.method = std::string(method);
  return ReadTarget(target);
}

bool HttpReader::ReadTarget(ByteView target) {
  // RFC 9112 3.2.2: the absolute form, as proxies send it, means the same.
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!base::StartsWithIgnoreCase(target, scheme)) continue;
    const size_t slash = target.find('/', scheme.size());
    target = slash == ByteView::npos ? ByteView("/") : target.substr(slash);
  }
  if (!target.starts_with('/')) return Refuse(400, "bad_request", "the target is no path");
  ByteView query = target;
  ByteView path = TakeUntil(query, '?');
  const std::optional<std::string> whole = Decode(path, Plus::kIsPlus);
  if (!whole) return Refuse(400, "bad_request", "the target is badly encoded");
  request_.path = *whole;
  request_.segments.clear();
  while (!path.empty()) {
    const ByteView segment = TakeUntil(path, '/');
    if (!segment.empty()) request_.segments.push_back(*Decode(segment, Plus::kIsPlus));
  }
  request_.query.clear();
  while (!query.empty()) {
    ByteView value = TakeUntil(query, '&');
    if (value.empty()) continue;
    const std::optional<std::string> name = Decode(TakeUntil(value, '='), Plus::kIsSpace);
    const std::optional<std::string> text = Decode(value, Plus::kIsSpace);
    if (!name || !text) return Refuse(400, "bad_request", "the query is badly encoded");
    request_.query.emplace_back(*name, *text);
  }
  return true;
}

bool HttpReader::ReadHeader(ByteView line) {
  const size_t colon = line.find(':');
  if (colon == ByteView::npos || !IsToken(line.substr(0, colon))) {
    return Refuse(400, "bad_request", "a header line is not understood");
  }
  if (request_.headers.size() >= kMaxHeaders) {
    return Refuse(431, "header_too_large", "there are too many header lines");
  }
  const std::string name = base::ToLower(line.substr(0, colon));
  const std::string value(Trim(line.substr(colon + 1)));
  const auto [known, is_new] = request_.headers.emplace(name, value);
  if (is_new) return true;
  if (name == "host" || name == "content-length" || name == "authorization") {
    return Refuse(400, "bad_request", "a header line that may come once came twice");
  }
  known->second += ", " + value;
  return true;
}

bool HttpReader::ReadFraming() {
  if (request_.headers.contains("transfer-encoding")) {
    return Refuse(501, "not_implemented", "send a Content-Length, not a transfer coding");
  }
  if (!is_http_1_0_ && !request_.headers.contains("host")) {
    return Refuse(400, "bad_request", "the Host header is missing");
  }
  body_bytes_ = 0;
  if (request_.headers.contains("content-length")) {
    const std::string_view digits = request_.Header("content-length");
    uint64_t size = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), size);
    if (error == std::errc::invalid_argument || end != digits.data() + digits.size()) {
      return Refuse(400, "bad_request", "the Content-Length is not a number");
    }
    if (error == std::errc::result_out_of_range || size > max_body_bytes_) {
      return Refuse(413, "body_too_large", "the request's body is too large");
    }
    body_bytes_ = static_cast<size_t>(size);
  }
  const std::string_view connection = request_.Header("connection");
  keeps_open_ =
      is_http_1_0_ ? HasListItem(connection, "keep-alive") : !HasListItem(connection, "close");
  return true;
}

bool HttpReader::Refuse(int status, std::string_view code, std::string_view message) {
  refusal_ = HttpError(status, code, message);
  return false;
}

void HttpReader::Reset() {
  *this = HttpReader(max_head_bytes_, max_body_bytes_);
}

std::string_view HttpRequest::Query(std::string_view name) const {
  for (const auto& [key, value] : query) {
    if (key == name) return value;
  }
  return {};
}

std::string_view HttpRequest::Header(std::string_view lower_case_name) const {
  const auto found = headers.find(lower_case_name);
  return found == headers.end() ? std::string_view() : std::string_view(found->second);
}

std::string ToWire(const HttpResponse& response, bool is_head, HttpEnd end) {
  std::string wire = "HTTP/1.1 " + std::to_string(response.status) + " ";
  wire += ReasonOf(response.status);
  wire += "\r\n";
  const bool may_have_body = response.status != 204 && response.status != 304;
  if (may_have_body) {
    wire += "Content-Type: " + response.content_type + "\r\n";
    wire += "Content-Length: " + std::to_string(response.body.size()) + "\r\n";
  }
  for (const auto& [name, value] : response.headers) wire += name + ": " + value + "\r\n";
  if (end == HttpEnd::kClose) wire += "Connection: close\r\n";
  wire += "\r\n";
  if (may_have_body && !is_head) wire += response.body;
  return wire;
}

HttpResponse HttpError(int status, std::string_view code, std::string_view message,
                       std::string_view path) {
  HttpResponse response;
  response.status = status;
  response.body = "{\"error\":{\"code\":";
  base::AppendJsonString(response.body, code);
  response.body += ",\"message\":";
  base::AppendJsonString(response.body, message);
  response.body += ",\"path\":";
  base::AppendJsonString(response.body, path);
  response.body += "}}\n";
  return response;
}

}  // namespace postern::net
