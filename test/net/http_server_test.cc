// http_server_test: the admin server and the command line's client, over TCP and a Unix socket.
// SPDX-License-Identifier: Apache-2.0
#include "lb/net/http_server.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <thread>

#include "lb/net/http_client.h"
#include "test/net/loop_fixture.h"
#include "test/support/tls/certificates.h"

namespace postern::net {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::StartsWith;

class HttpServerTest : public LoopTest {
 protected:
  void Start(const HttpLimits& limits = {}) {
    server_ = std::make_unique<HttpServer>(
        loop_,
        [this](const HttpRequest& request, const HttpReply& reply) {
          requests_.push_back(request);
          if (!is_late_) return reply.Send(answer_);
          late_.push_back(reply);
        },
        limits);
    const auto address = server_->Listen(Loopback());
    ASSERT_TRUE(address.ok()) << address.error();
    address_ = *address;
  }
  // The blocking client needs a thread of its own beside the loop.
  base::Result<HttpAnswer> Do(HttpCall call) {
    if (call.unix_path.empty()) call.address = address_;
    std::optional<base::Result<HttpAnswer>> answer;
    std::thread client([&] {
      base::Result<HttpAnswer> got = Fetch(call);
      loop_.Post([&answer, got] { answer = got; });
    });
    Until([&] { return answer.has_value(); });
    client.join();
    return *answer;
  }
  OwnedFd Connect() {
    OwnedFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage storage{};
    const unsigned size = address_.ToSockaddr(&storage);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), size), 0);
    return fd;
  }
  // What comes until the server closes, or until the text holds this.
  std::string Hear(const OwnedFd& fd, const std::string& until) {
    std::string heard;
    bool is_closed = false;
    Until([&] {
      char buffer[4096];
      ssize_t n = 0;
      while ((n = ::recv(fd.get(), buffer, sizeof buffer, MSG_DONTWAIT)) > 0) {
        heard.append(buffer, static_cast<size_t>(n));
      }
      is_closed = n == 0 || errno != EAGAIN;
      loop_.Post([] {});  // this socket does not wake the loop
      return is_closed || (!until.empty() && heard.find(until) != std::string::npos);
    });
    return heard;
  }
  static void Say(const OwnedFd& fd, std::string_view text) {
    ASSERT_EQ(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }

  HttpResponse answer_{.body = "{}"};
  bool is_late_ = false;  // who asks waits in late_
  std::vector<HttpReply> late_;
  std::vector<HttpRequest> requests_;
  std::unique_ptr<HttpServer> server_;
  base::SocketAddress address_;
};

TEST_F(HttpServerTest, HandsOverTheRequestAndSendsTheAnswer) {
  Start();
  answer_ = {.status = 202,
             .content_type = "text/plain",
             .headers = {{"Cache-Control", "no-store"}},
             .body = "accepted"};
  const auto got = Do({.method = "PUT",
                       .target = "/api/v1/backends/a%2Fb%20c/weight?x=1&y=a%26b+c&flag",
                       .headers = {{"Authorization", "Bearer secret"}},
                       .body = "{\"weight\":5}"});
  ASSERT_TRUE(got.ok()) << got.error();
  EXPECT_EQ(got->status, 202);
  EXPECT_EQ(got->body, "accepted");
  EXPECT_EQ(got->headers.at("content-type"), "text/plain");
  EXPECT_EQ(got->headers.at("cache-control"), "no-store");

  ASSERT_EQ(requests_.size(), 1u);
  const HttpRequest& request = requests_[0];
  EXPECT_EQ(request.method, "PUT");
  EXPECT_EQ(request.path, "/api/v1/backends/a/b c/weight");
  EXPECT_THAT(request.segments, ElementsAre("api", "v1", "backends", "a/b c", "weight"));
  EXPECT_THAT(request.query, ElementsAre(Pair("x", "1"), Pair("y", "a&b c"), Pair("flag", "")));
  EXPECT_EQ(request.Query("y"), "a&b c");
  EXPECT_EQ(request.Query("none"), "");
  EXPECT_EQ(request.Header("authorization"), "Bearer secret");
  EXPECT_EQ(request.body, "{\"weight\":5}");
  EXPECT_FALSE(request.is_unix);
  EXPECT_EQ(request.local, address_);
  EXPECT_TRUE(request.peer.ip.is_loopback());
}

TEST_F(HttpServerTest, ServesAllMethodsAndLeavesTheVerdictToTheHandler) {
  Start();
  for (const char* method : {"GET", "POST", "DELETE", "PATCH", "OPTIONS"}) {
    answer_.status = 405;
    const auto got = Do({.method = method, .target = "/x"});
    ASSERT_TRUE(got.ok()) << got.error();
    EXPECT_EQ(got->status, 405);
    EXPECT_EQ(requests_.back().method, method);
  }
}

TEST_F(HttpServerTest, HeadHasNoBody) {
  Start();
  const auto got = Do({.method = "HEAD"});
  ASSERT_TRUE(got.ok()) << got.error();
  EXPECT_EQ(got->status, 200);
  EXPECT_EQ(got->body, "");
}

TEST_F(HttpServerTest, LargeAnswersArriveWhole) {
  Start();
  answer_.body = Pattern(8 << 20, 1);
  const auto got = Do({});
  ASSERT_TRUE(got.ok()) << got.error();
  EXPECT_TRUE(got->body == answer_.body);
}

TEST_F(HttpServerTest, OneConnectionCarriesSeveralRequests) {
  Start();
  const OwnedFd fd = Connect();
  for (int i = 1; i <= 3; ++i) {
    Say(fd, "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_THAT(Hear(fd, "{}"), StartsWith("HTTP/1.1 200 "));
    EXPECT_EQ(requests_.size(), static_cast<size_t>(i));
  }
  EXPECT_EQ(server_->num_connections(), 1u);
}

TEST_F(HttpServerTest, RefusesWhatIsTooLarge) {
  Start({.header_bytes = 2000, .body_bytes = 1000});
  const auto body = Do({.method = "POST", .body = std::string(2000, 'x')});
  ASSERT_TRUE(body.ok()) << body.error();
  EXPECT_EQ(body->status, 413);
  const OwnedFd fd = Connect();
  Say(fd, "GET / HTTP/1.1\r\nX: " + std::string(5000, 'x') + "\r\n\r\n");
  EXPECT_THAT(Hear(fd, ""), StartsWith("HTTP/1.1 431 "));
  EXPECT_TRUE(requests_.empty());
}

TEST_F(HttpServerTest, RefusesGarbageAndCloses) {
  Start();
  for (const char* garbage : {"EHLO a.example\r\n", "GET\r\n\r\n", "\x16\x03\x01\x02\r\n\r\n"}) {
    SCOPED_TRACE(garbage);
    const OwnedFd fd = Connect();
    Say(fd, garbage);
    EXPECT_THAT(Hear(fd, ""), StartsWith("HTTP/1.1 400 "));
  }
  EXPECT_TRUE(requests_.empty());
  Until([&] { return server_->num_connections() == 0; });
}

TEST_F(HttpServerTest, AnswersAClientThatHasClosedItsDirection) {
  Start();
  answer_.body = Pattern(8 << 20, 2);
  const OwnedFd fd = Connect();
  Say(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  ::shutdown(fd.get(), SHUT_WR);
  const std::string heard = Hear(fd, "");
  EXPECT_TRUE(heard.ends_with(answer_.body));
  Until([&] { return server_->num_connections() == 0; });
}

TEST_F(HttpServerTest, AnswersPipelinedRequestsInOrder) {
  Start();
  const OwnedFd fd = Connect();
  Say(fd,
      "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
      "GET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /4");
  Hear(fd, "");
  ASSERT_EQ(requests_.size(), 3u);
  EXPECT_EQ(requests_[2].path, "/3");
}

TEST_F(HttpServerTest, AnAnswerMayComeLater) {
  Start();
  is_late_ = true;
  const OwnedFd fd = Connect();
  Say(fd, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
  Until([&] { return late_.size() == 1; });
  // Another client does not wait for it, this one's next request does.
  const OwnedFd other = Connect();
  Say(other, "GET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
  Until([&] { return late_.size() == 2; });
  EXPECT_EQ(requests_.back().path, "/3");
  late_[0].Send({.body = "first"});
  late_[0].Send({.body = "once more"});
  Until([&] { return late_.size() == 3; });
  EXPECT_EQ(requests_.back().path, "/2");
  late_[2].Send({.body = "second"});
  const std::string heard = Hear(fd, "second");
  EXPECT_THAT(heard, HasSubstr("\r\n\r\nfirstHTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(heard, ::testing::Not(HasSubstr("once more")));
}

TEST_F(HttpServerTest, ALateAnswerReachesAClientThatHasClosedItsDirection) {
  Start();
  is_late_ = true;
  const OwnedFd fd = Connect();
  Say(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  ::shutdown(fd.get(), SHUT_WR);
  Until([&] { return late_.size() == 1; });
  Settle();
  late_[0].Send({.body = "late"});
  EXPECT_TRUE(Hear(fd, "").ends_with("late"));
  Until([&] { return server_->num_connections() == 0; });
}

TEST_F(HttpServerTest, AnAnswerThatDoesNotComeInTimeIs504) {
  Start({.request_time = std::chrono::milliseconds(50)});
  is_late_ = true;
  const OwnedFd fd = Connect();
  Say(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_THAT(Hear(fd, ""), StartsWith("HTTP/1.1 504 Gateway Timeout\r\n"));
  Until([&] { return server_->num_connections() == 0; });
  ASSERT_EQ(late_.size(), 1u);
  late_[0].Send({});
}

TEST_F(HttpServerTest, ALateAnswerMayFindNobody) {
  Start();
  is_late_ = true;
  OwnedFd gone = Connect();
  const OwnedFd stays = Connect();
  Say(gone, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  Until([&] { return late_.size() == 1; });
  Say(stays, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  Until([&] { return late_.size() == 2; });
  gone.Reset();
  late_[0].Send({.body = "to nobody"});
  late_[1].Send({.body = "to one"});
  Until([&] { return server_->num_connections() == 1; });
  Say(stays, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_THAT(Hear(stays, "to one"), StartsWith("HTTP/1.1 200 "));
  Until([&] { return late_.size() == 3; });
  server_.reset();
  late_[2].Send({});
  EXPECT_EQ(Hear(stays, ""), "");
}

TEST_F(HttpServerTest, CutsOffAClientThatNeverFinishesItsRequest) {
  Start({.request_time = std::chrono::milliseconds(50)});
  const OwnedFd fd = Connect();
  // A byte now and then does not renew the time.
  Say(fd, "GET / HT");
  Until([&] { return server_->num_connections() == 1; });
  EXPECT_EQ(Hear(fd, ""), "");
  Until([&] { return server_->num_connections() == 0; });
}

TEST_F(HttpServerTest, AtTheLimitConnectionsWaitForAPlace) {
  Start({.connections = 2});
  OwnedFd first = Connect();
  OwnedFd second = Connect();
  Until([&] { return server_->num_connections() == 2; });
  const OwnedFd third = Connect();  // waits in the kernel
  Say(third, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  Settle();
  EXPECT_TRUE(requests_.empty());
  first.Reset();
  EXPECT_THAT(Hear(third, "{}"), HasSubstr(" 200 "));
  EXPECT_LE(server_->num_connections(), 2u);
}

TEST_F(HttpServerTest, OutOfDescriptorsItRestsAndGoesOn) {
  Start();
  const OwnedFd fd = Connect();
  Say(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &old), 0);
  const int next = ::dup(0);
  ::close(next);
  rlimit tight = old;
  tight.rlim_cur = static_cast<rlim_t>(next);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  loop_.RunOnce();
  // Only the timer wakes it now, though the socket is ready.
  int num_rounds = 0;
  loop_.Post([&] { ++num_rounds; });
  loop_.RunOnce();
  EXPECT_EQ(num_rounds, 1);
  EXPECT_EQ(server_->num_connections(), 0u);
  ::setrlimit(RLIMIT_NOFILE, &old);
  EXPECT_THAT(Hear(fd, "{}"), HasSubstr(" 200 "));
}

TEST_F(HttpServerTest, ListensOnSeveralAddressesAndClosesOne) {
  Start();
  const auto second = server_->Listen(Loopback());
  ASSERT_TRUE(second.ok());
  EXPECT_THAT(server_->addresses(), ElementsAre(address_, *second));
  server_->Close(address_);
  EXPECT_THAT(server_->addresses(), ElementsAre(*second));
  EXPECT_FALSE(Do({}).ok());
  address_ = *second;
  EXPECT_TRUE(Do({}).ok());
}

TEST_F(HttpServerTest, MayDieWhileConnectionsAreOpen) {
  Start();
  const OwnedFd fd = Connect();
  Until([&] { return server_->num_connections() == 1; });
  server_.reset();
  EXPECT_EQ(Hear(fd, ""), "");
}

TEST_F(HttpServerTest, AnUnixSocketIsForOwnerAndGroup) {
  Start();
  const test::TempDir dir;
  const std::string path = dir.path() + "/admin.sock";
  ASSERT_TRUE(server_->ListenUnix(path).ok());
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0660u);
  const auto got = Do({.unix_path = path, .target = "/api/v1/status"});
  ASSERT_TRUE(got.ok()) << got.error();
  EXPECT_TRUE(requests_.back().is_unix);
  EXPECT_EQ(requests_.back().path, "/api/v1/status");
  EXPECT_THAT(server_->addresses(), ElementsAre(address_));
  server_->CloseUnix();
  EXPECT_NE(::stat(path.c_str(), &info), 0);
}

TEST_F(HttpServerTest, ASuccessorTakesTheUnixSocketOverAndKeepsIt) {
  Start();
  const test::TempDir dir;
  const std::string path = dir.path() + "/admin.sock";
  ASSERT_TRUE(server_->ListenUnix(path).ok());
  int num_successor = 0;
  HttpServer successor(loop_, [&](const HttpRequest&, const HttpReply& reply) {
    ++num_successor;
    reply.Send({});
  });
  ASSERT_TRUE(successor.ListenUnix(path).ok());
  server_.reset();  // must not take the name away
  const auto got = Do({.unix_path = path});
  ASSERT_TRUE(got.ok()) << got.error();
  EXPECT_EQ(num_successor, 1);
}

TEST_F(HttpServerTest, AnUnixSocketThatCannotBeSaysWhy) {
  Start();
  EXPECT_THAT(server_->ListenUnix("/nonexistent/admin.sock").error(),
              HasSubstr("/nonexistent/admin.sock: No such file"));
  EXPECT_THAT(server_->ListenUnix("/tmp/" + std::string(200, 'x')).error(), HasSubstr("too long"));
}

// --- the client -----------------------------------------------------------------------------

// A server that says what it is told to, once.
class RudeServer {
 public:
  explicit RudeServer(std::string words) : sockets_(BindAll(Loopback(), 1)) {
    EXPECT_EQ(::listen(sockets_.value()[0].get(), 1), 0);
    EXPECT_EQ(::fcntl(sockets_.value()[0].get(), F_SETFL, 0), 0);  // this thread may block
    address_ = LocalAddressOf(sockets_.value()[0].get());
    thread_ = std::thread([this, words = std::move(words)] {
      const OwnedFd fd(::accept(sockets_.value()[0].get(), nullptr, nullptr));
      char buffer[4096];
      EXPECT_GT(::recv(fd.get(), buffer, sizeof buffer, 0), 0);
      EXPECT_EQ(::send(fd.get(), words.data(), words.size(), MSG_NOSIGNAL),
                static_cast<ssize_t>(words.size()));
      if (words.empty()) (void)::recv(fd.get(), buffer, sizeof buffer, 0);  // hangs on
    });
  }
  ~RudeServer() { thread_.join(); }
  [[nodiscard]] const base::SocketAddress& address() const { return address_; }

 private:
  base::Result<std::vector<OwnedFd>> sockets_;
  base::SocketAddress address_;
  std::thread thread_;
};

TEST(HttpClientTest, SaysWhatWentWrong) {
  const struct {
    const char* words;
    const char* error;
  } kCases[] = {
      {"220 mx.example ESMTP\r\n\r\n", "not understood"},
      {"HTTP/1.1 2x0 OK\r\n\r\n", "not understood"},
      {"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", "not understood"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "not understood"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "in the middle"},
  };
  for (const auto& test : kCases) {
    const RudeServer server(test.words);
    const auto got = Fetch({.address = server.address()});
    ASSERT_FALSE(got.ok()) << test.words;
    EXPECT_THAT(got.error(), HasSubstr(test.error));
    EXPECT_THAT(got.error(), HasSubstr(server.address().ToString()));
  }
}

TEST(HttpClientTest, GivesUpInTime) {
  const RudeServer server("");
  const auto got = Fetch({.address = server.address(), .timeout = std::chrono::milliseconds(30)});
  ASSERT_FALSE(got.ok());
  EXPECT_THAT(got.error(), HasSubstr("no answer in time"));
}

TEST(HttpClientTest, ABodyMayEndWithTheConnection) {
  const RudeServer server("HTTP/1.0 503 Not ready\r\nX-A:  b\r\n\r\nwait");
  const auto got = Fetch({.address = server.address()});
  ASSERT_TRUE(got.ok()) << got.error();
  EXPECT_EQ(got->status, 503);
  EXPECT_EQ(got->body, "wait");
  EXPECT_EQ(got->headers.at("x-a"), "b");
}

TEST(HttpClientTest, AMissingServerIsNamed) {
  EXPECT_THAT(Fetch({.unix_path = "/nonexistent/admin.sock"}).error(),
              HasSubstr("/nonexistent/admin.sock: No such file or directory"));
}

TEST(HttpClientTest, EncodesNames) {
  EXPECT_EQ(PercentEncode("a b/ü@x-y"), "a%20b%2F%C3%BC%40x-y");
}

}  // namespace
}  // namespace postern::net
