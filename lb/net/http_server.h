// http_server: small HTTP server of the control thread: metrics, API, dashboard.
//
// Limits:   connections, header and body size, and an absolute time for each request, so that a
//           stranger on an open metrics port costs a bounded number of descriptors and no more than
//           a bounded time. At the limit new connections wait in the kernel.
// Owner:    daemon.   Thread: the loop's; the handler runs on it and should be quick, as an answer
//           may come later (HttpReply).
// Why so:   evhttp (2.1) can neither count its connections nor bound a request's time, answers
//           HEAD with a body and its own refusals in HTML; on streams of our own it is small.
// Tests:    test/net/http_server_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lb/base/address.h"
#include "lb/base/result.h"
#include "lb/net/event_loop.h"
#include "lb/net/http_request.h"
#include "lb/net/owned_fd.h"

namespace postern::net {

struct HttpLimits {
  size_t connections = 64;
  size_t header_bytes = 16 << 10;
  size_t body_bytes = 1 << 20;
  // From accept, or from the last answer, to the end of the next request; as long again for its
  // answer to be there (504), and for it to be taken.
  base::Duration request_time = std::chrono::seconds(30);
};

// Where the answer to one request goes, at once or later; copies stand for the same answer.
// Thread: the loop's.
class HttpReply {
 public:
  // The first answer counts. It is dropped if the client, the server, or the time for it is gone.
  void Send(HttpResponse response) const;

 private:
  friend class HttpServer;
  struct State {
    std::optional<HttpResponse> response;
    std::function<void()> on_late;  // set while a connection waits for it
  };
  explicit HttpReply(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

class HttpServer {
 public:
  // The connection takes no further request before the answer.
  using Handler = std::function<void(const HttpRequest& request, const HttpReply& reply)>;

  HttpServer(EventLoop& loop, Handler handler, const HttpLimits& limits = {});
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Adopts a bound socket (BindAll) and listens; the result is the real address.
  [[nodiscard]] base::Result<base::SocketAddress> Listen(OwnedFd bound);
  // Binds and listens.
  [[nodiscard]] base::Result<base::SocketAddress> Listen(const base::SocketAddress& address);
  // A Unix socket for owner and group (0660). Takes the place of one that is there already, without
  // a moment in between in which there is none (an older process may still be listening on it).
  [[nodiscard]] base::Result<std::string> ListenUnix(const std::string& path);
  // Stops listening on this address; open connections go on.
  void Close(const base::SocketAddress& address);
  void CloseUnix();

  [[nodiscard]] std::vector<base::SocketAddress> addresses() const;
  [[nodiscard]] size_t num_connections() const { return connections_.size(); }

 private:
  class Connection;
  struct Endpoint;
  enum class Kind : uint8_t { kTcp, kUnix };

  [[nodiscard]] base::Result<base::SocketAddress> Adopt(OwnedFd fd, Kind kind);
  void OnAccept(OwnedFd fd, const base::SocketAddress& peer, Kind kind);
  void OnConnectionEnd(Connection& connection);
  void UpdateListening();

  EventLoop& loop_;
  Handler handler_;
  HttpLimits limits_;
  std::list<Endpoint> endpoints_;
  std::list<std::unique_ptr<Connection>> connections_;
  // Posted deletions must not outlive us.
  std::shared_ptr<bool> is_alive_ = std::make_shared<bool>(true);
};

}  // namespace postern::net
