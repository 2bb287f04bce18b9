// http_client: one request to a running Postern, waited for.
// SPDX-License-Identifier: Apache-2.0
#include "lb/net/http_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <system_error>

#include "lb/base/bytes.h"
#include "lb/net/owned_fd.h"

namespace postern::net {
namespace {

class Call {
 public:
  explicit Call(const HttpCall& call)
      : call_(call), deadline_(base::SystemClock().Now() + call.timeout) {}

  base::Result<HttpAnswer> Run() {
    if (!Connect() || !Send() || !Receive()) return base::Error{error_};
    return Parse();
  }

 private:
  std::string Where() const {
    return call_.unix_path.empty() ? call_.address.ToString() : call_.unix_path;
  }
  bool Fail(const std::string& what) {
    error_ = Where() + ": " + what;
    return false;
  }
  bool FailErrno() { return Fail(std::generic_category().message(errno)); }

  bool Wait(short events) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline_ - base::SystemClock().Now());
    pollfd waiting{fd_.get(), events, 0};
    const int timeout = static_cast<int>(std::max<int64_t>(left.count(), 0));
    const int ready = ::poll(&waiting, 1, timeout);
    if (ready > 0 || (ready < 0 && errno == EINTR)) return true;
    return ready < 0 ? FailErrno() : Fail("no answer in time");
  }

  bool Connect() {
    sockaddr_storage storage{};
    unsigned size = 0;
    if (call_.unix_path.empty()) {
      size = call_.address.ToSockaddr(&storage);
    } else {
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      if (call_.unix_path.size() >= sizeof address.sun_path) return Fail("the path is too long");
      std::memcpy(address.sun_path, call_.unix_path.c_str(), call_.unix_path.size() + 1);
      std::memcpy(&storage, &address, sizeof address);
      size = sizeof address;
    }
    fd_ = OwnedFd(::socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd_.valid()) return FailErrno();
    if (::connect(fd_.get(), reinterpret_cast<sockaddr*>(&storage), size) == 0) return true;
    if (errno != EINPROGRESS) return FailErrno();
    if (!Wait(POLLOUT)) return false;
    int error = 0;
    socklen_t error_size = sizeof error;
    ::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &error_size);
    if (error == 0) return true;
    errno = error;
    return FailErrno();
  }

  bool Send() {
    std::string text = call_.method + " " + call_.target + " HTTP/1.1\r\nHost: " +
                       (call_.unix_path.empty() ? call_.address.ToString() : "localhost") +
                       "\r\nConnection: close\r\n";
    for (const auto& [name, value] : call_.headers) text += name + ": " + value + "\r\n";
    if (!call_.body.empty() || call_.method == "POST" || call_.method == "PUT") {
      text += "Content-Length: " + std::to_string(call_.body.size()) + "\r\n";
    }
    text += "\r\n" + call_.body;
    for (std::string_view rest = text; !rest.empty();) {
      const ssize_t n = ::send(fd_.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
      if (n > 0) {
        rest.remove_prefix(static_cast<size_t>(n));
      } else if (errno == EAGAIN) {
        if (!Wait(POLLOUT)) return false;
      } else if (errno == EPIPE || errno == ECONNRESET) {
        return true;  // refused in the middle: the answer may be there
      } else if (errno != EINTR) {
        return FailErrno();
      }
    }
    return true;
  }

  bool Receive() {
    char buffer[16 << 10];
    while (received_.size() <= call_.max_bytes) {
      const ssize_t n = ::recv(fd_.get(), buffer, sizeof buffer, 0);
      if (n > 0) {
        received_.append(buffer, static_cast<size_t>(n));
      } else if (n == 0) {
        return true;
      } else if (errno == EAGAIN) {
        if (!Wait(POLLIN)) return false;
      } else if (errno != EINTR) {
        return FailErrno();
      }
    }
    return Fail("the answer is too long");
  }

  // RFC 9112, as far as our own server uses it: a length, or the end of the connection.
  base::Result<HttpAnswer> Parse() {
    const size_t end = received_.find("\r\n\r\n");
    std::string_view head = std::string_view(received_).substr(0, end);
    HttpAnswer answer;
    const bool is_http = end != std::string::npos && head.starts_with("HTTP/1.") &&
                         head.size() >= 12 && head[8] == ' ' &&
                         std::from_chars(&head[9], &head[12], answer.status).ptr == &head[12];
    if (!is_http) return NotHttp();
    answer.body = received_.substr(end + 4);
    size_t line_end = head.find("\r\n");
    while (line_end != std::string_view::npos) {
      head.remove_prefix(line_end + 2);
      line_end = head.find("\r\n");
      const std::string_view line = head.substr(0, line_end);
      const size_t colon = line.find(':');
      if (colon == std::string_view::npos) return NotHttp();
      size_t start = colon + 1;
      while (start < line.size() && line[start] == ' ') ++start;
      answer.headers[base::ToLower(line.substr(0, colon))] = std::string(line.substr(start));
    }
    if (answer.headers.contains("transfer-encoding")) return NotHttp();
    const auto length = answer.headers.find("content-length");
    if (length != answer.headers.end() && call_.method != "HEAD") {
      size_t wanted = 0;
      const char* last = length->second.data() + length->second.size();
      if (std::from_chars(length->second.data(), last, wanted).ptr != last) return NotHttp();
      if (answer.body.size() < wanted) {
        return base::Error{Where() + ": the connection was closed in the middle of the answer"};
      }
      answer.body.resize(wanted);
    }
    return answer;
  }
  base::Error NotHttp() const { return base::Error{Where() + ": the answer is not understood"}; }

  const HttpCall& call_;
  const base::MonoTime deadline_;
  OwnedFd fd_;
  std::string received_;
  std::string error_;
};

}  // namespace

base::Result<HttpAnswer> Fetch(const HttpCall& call) {
  return Call(call).Run();
}

std::string PercentEncode(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
    if (is_plain) {
      encoded += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      encoded += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return encoded;
}

}  // namespace postern::net
