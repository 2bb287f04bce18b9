// http_server: small HTTP server of the control thread.
// SPDX-License-Identifier: Apache-2.0
#include "lb/net/http_server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "lb/net/socket_stream.h"
#include "lb/net/tcp_listener.h"

namespace postern::net {
namespace {

base::Error CannotListen(const std::string& where, int error) {
  return base::Error{"cannot listen on " + where + ": " + std::generic_category().message(error)};
}

}  // namespace

void HttpReply::Send(HttpResponse response) const {
  if (state_->response) return;
  state_->response = std::move(response);
  if (const auto on_late = std::exchange(state_->on_late, nullptr)) on_late();
}

struct HttpServer::Endpoint {
  std::unique_ptr<TcpListener> listener;
  std::string path;  // of Unix
  ino_t inode = 0;   // of the path, to tell ours from a successor's
};

// One client, from accept to its end; one request at a time.
class HttpServer::Connection final : public io::Stream::Observer {
 public:
  Connection(HttpServer& server, OwnedFd fd, const base::SocketAddress& peer, Kind kind)
      : server_(server),
        stream_(server.loop_, std::move(fd), peer, this),
        reader_(server.limits_.header_bytes, server.limits_.body_bytes),
        kind_(kind),
        deadline_(server.loop_.timers(), &io::Timer::Invoke<&Connection::OnDeadline, Connection>,
                  this) {
    Rearm();
  }
  ~Connection() { StopWaiting(); }

  void OnStream(io::Stream& stream, io::Stream::Event event) override {
    switch (event) {
      case io::Stream::Event::kReadable:
        return Serve();
      case io::Stream::Event::kDrained:
        if (stream.Unsent() > 0 || reply_ != nullptr) return;
        Rearm();
        stream.ResumeReads();
        return;
      case io::Stream::Event::kEnd:
        // A client may close its direction behind its request: the answer is still on its way.
        if (stream.end() == io::StreamEnd::kEof && stream.Unsent() > 0) return stream.CloseGently();
        return End();
      case io::Stream::Event::kConnected:
      case io::Stream::Event::kTlsUp:
        return;
    }
  }

 private:
  void Rearm() { deadline_.ArmAt(server_.loop_.Now() + server_.limits_.request_time); }

  void OnDeadline() {
    if (reply_ == nullptr) return End();
    StopWaiting();
    Give(HttpError(504, "timeout", "the answer is not there in time"), HttpEnd::kClose);
  }

  void Serve() {
    while (!is_over_ && reply_ == nullptr) {
      switch (reader_.Read(stream_.Input())) {
        case HttpReader::Status::kNeedBytes:
          return;
        case HttpReader::Status::kContinue:
          stream_.Write("HTTP/1.1 100 Continue\r\n\r\n");
          return;
        case HttpReader::Status::kRefused:
          stream_.Write(ToWire(reader_.refusal(), false, HttpEnd::kClose));
          return EndGently();
        case HttpReader::Status::kDone:
          Answer();
          break;
      }
      // A client that does not take its answers gets no further ones.
      if (stream_.Unsent() > 0) return stream_.PauseReads();
    }
  }

  void Answer() {
    HttpRequest& request = reader_.request();
    stream_.Consume(reader_.consumed());
    request.is_unix = kind_ == Kind::kUnix;
    if (kind_ == Kind::kTcp) {
      request.peer = stream_.peer_address();
      request.local = stream_.local_address();
    }
    reply_ = std::make_shared<HttpReply::State>();
    server_.handler_(request, HttpReply(reply_));
    if (reply_->response) return TakeReply();
    reply_->on_late = [this] {
      TakeReply();
      if (!is_over_ && stream_.Unsent() == 0) stream_.ResumeReads();
    };
    stream_.PauseReads();
    Rearm();
  }

  void TakeReply() {
    const std::shared_ptr<HttpReply::State> reply = std::move(reply_);
    Give(*reply->response, reader_.keeps_open() ? HttpEnd::kKeepOpen : HttpEnd::kClose);
  }

  void Give(const HttpResponse& response, HttpEnd end) {
    stream_.Write(ToWire(response, reader_.request().method == "HEAD", end));
    if (end == HttpEnd::kClose) return EndGently();
    reader_.Reset();
    Rearm();
  }

  void StopWaiting() {
    if (reply_ != nullptr) reply_->on_late = nullptr;
    reply_.reset();
  }

  void EndGently() {
    stream_.CloseGently();
    End();
  }

  void End() {
    if (is_over_) return;
    is_over_ = true;
    StopWaiting();
    deadline_.Cancel();
    stream_.Close();
    server_.OnConnectionEnd(*this);
  }

  HttpServer& server_;
  SocketStream stream_;
  HttpReader reader_;
  Kind kind_;
  std::shared_ptr<HttpReply::State> reply_;  // while a request is with the handler, or waits
  io::Timer deadline_;
  bool is_over_ = false;
};

HttpServer::HttpServer(EventLoop& loop, Handler handler, const HttpLimits& limits)
    : loop_(loop), handler_(std::move(handler)), limits_(limits) {}

HttpServer::~HttpServer() {
  CloseUnix();
  *is_alive_ = false;
}

base::Result<base::SocketAddress> HttpServer::Listen(const base::SocketAddress& address) {
  base::Result<std::vector<OwnedFd>> bound = BindAll(address, 1);
  if (!bound.ok()) return base::Error{bound.error()};
  return Listen(std::move(bound.value()[0]));
}

base::Result<base::SocketAddress> HttpServer::Listen(OwnedFd bound) {
  return Adopt(std::move(bound), Kind::kTcp);
}

base::Result<base::SocketAddress> HttpServer::Adopt(OwnedFd fd, Kind kind) {
  auto listener = std::make_unique<TcpListener>(
      loop_, std::move(fd), [this, kind](OwnedFd accepted, const base::SocketAddress& peer) {
        OnAccept(std::move(accepted), peer, kind);
      });
  const base::SocketAddress address = listener->address();
  if (!listener->is_listening()) return CannotListen(address.ToString(), errno);
  endpoints_.push_back({std::move(listener), {}, 0});
  UpdateListening();
  return address;
}

base::Result<std::string> HttpServer::ListenUnix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string temporary = path + ".new";
  if (temporary.size() >= sizeof address.sun_path) return CannotListen(path, ENAMETOOLONG);
  std::memcpy(address.sun_path, temporary.c_str(), temporary.size() + 1);
  OwnedFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  ::unlink(temporary.c_str());
  // Bound under another name, given its mode, and only then put in place.
  if (!fd.valid() || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return CannotListen(path, errno);
  }
  struct stat info {};
  const bool is_ready = ::chmod(temporary.c_str(), 0660) == 0 && ::listen(fd.get(), 1) == 0 &&
                        ::stat(temporary.c_str(), &info) == 0 &&
                        ::rename(temporary.c_str(), path.c_str()) == 0;
  if (!is_ready) {
    const int error = errno;
    ::unlink(temporary.c_str());
    return CannotListen(path, error);
  }
  const base::Result<base::SocketAddress> adopted = Adopt(std::move(fd), Kind::kUnix);
  if (!adopted.ok()) return base::Error{adopted.error()};
  endpoints_.back().path = path;
  endpoints_.back().inode = info.st_ino;
  return path;
}

void HttpServer::Close(const base::SocketAddress& address) {
  endpoints_.remove_if([&address](const Endpoint& endpoint) {
    return endpoint.path.empty() && endpoint.listener->address() == address;
  });
}

void HttpServer::CloseUnix() {
  endpoints_.remove_if([](const Endpoint& endpoint) {
    if (endpoint.path.empty()) return false;
    struct stat info {};
    const bool is_ours = ::stat(endpoint.path.c_str(), &info) == 0 && info.st_ino == endpoint.inode;
    if (is_ours) ::unlink(endpoint.path.c_str());
    return true;
  });
}

std::vector<base::SocketAddress> HttpServer::addresses() const {
  std::vector<base::SocketAddress> all;
  for (const Endpoint& endpoint : endpoints_) {
    if (endpoint.path.empty()) all.push_back(endpoint.listener->address());
  }
  return all;
}

void HttpServer::OnAccept(OwnedFd fd, const base::SocketAddress& peer, Kind kind) {
  connections_.push_back(std::make_unique<Connection>(*this, std::move(fd), peer, kind));
  UpdateListening();
}

void HttpServer::OnConnectionEnd(Connection& connection) {
  // Not from within its own event.
  loop_.Post([this, is_alive = is_alive_, ended = &connection] {
    if (!*is_alive) return;
    connections_.remove_if([ended](const auto& one) { return one.get() == ended; });
    UpdateListening();
  });
}

void HttpServer::UpdateListening() {
  const bool is_full = connections_.size() >= limits_.connections;
  for (Endpoint& endpoint : endpoints_) {
    if (is_full) {
      endpoint.listener->Pause();
    } else {
      endpoint.listener->Resume();
    }
  }
}

}  // namespace postern::net
