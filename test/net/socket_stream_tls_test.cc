// socket_stream_tls_test: streams inside TLS over real loopback sockets.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <thread>

#include "lb/tls/tls_context.h"
#include "test/net/loop_fixture.h"
#include "test/support/tls/certificates.h"

namespace postern::net {
namespace {

using Event = Stream::Event;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Contexts for a.example, signed by a CA of the test.
class Tls {
 public:
  explicit Tls(const test::CertificateSpec& spec = {.dns = {"a.example"}}) {
    const test::PemPair pair = ca_.Issue(spec);
    auto store = tls::CertificateStore::Load(
        {{dir_.Write("a.crt", pair.cert), dir_.Write("a.key", pair.key)}});
    EXPECT_TRUE(store.ok()) << store.error();
    store_ = *store;
    trust_ = *tls::TrustStore::Load(dir_.Write("ca.pem", ca_.pem()));
  }
  std::unique_ptr<tls::TlsServerContext> Server() {
    auto made = tls::TlsServerContext::Build({}, store_, keys_, conf::Protocol::kImap);
    EXPECT_TRUE(made.ok()) << made.error();
    return std::move(made).value();
  }
  std::unique_ptr<tls::TlsClientContext> Client(const std::string& host = "a.example") {
    auto made = tls::TlsClientContext::Build({}, {}, host, trust_, base::SystemClock());
    EXPECT_TRUE(made.ok()) << made.error();
    return std::move(made).value();
  }

 private:
  test::TempDir dir_;
  test::TestCa ca_;
  std::shared_ptr<const tls::CertificateStore> store_;
  std::shared_ptr<const tls::TrustStore> trust_;
  std::shared_ptr<tls::TicketKeys> keys_ = std::make_shared<tls::TicketKeys>();
};

class TlsPairTest : public PairTest {
 protected:
  void StartServer() {
    server_->StartTls({.role = io::TlsRole::kServer, .settings = server_settings_.get()});
  }
  void StartClient() {
    client_->StartTls({.role = io::TlsRole::kClient,
                       .settings = client_settings_.get(),
                       .server_name = "a.example"});
  }
  void StartBoth() {
    StartServer();
    StartClient();
    Until([&] { return client_->in_tls() && server_->in_tls(); });
  }
  // A new pair of connections, as a client that comes again.
  void Reconnect() {
    server_.reset();
    client_seen_ = Recorder();
    server_seen_ = Recorder();
    client_ = Dial(client_seen_);
    Until([&] { return server_ != nullptr && client_seen_.Has(Event::kConnected); });
  }

  Tls tls_;
  std::unique_ptr<tls::TlsServerContext> server_settings_ = tls_.Server();
  std::unique_ptr<tls::TlsClientContext> client_settings_ = tls_.Client();
};

TEST_F(TlsPairTest, ComesUpAndCarriesBytes) {
  EXPECT_FALSE(server_->in_tls());
  EXPECT_EQ(server_->tls_facts(), nullptr);
  StartBoth();
  EXPECT_EQ(server_seen_.events.back(), Event::kTlsUp);
  ASSERT_NE(server_->tls_facts(), nullptr);
  EXPECT_EQ(server_->tls_facts()->version, "TLSv1.3");
  EXPECT_EQ(server_->tls_facts()->server_name, "a.example");
  client_->Write("a CAPABILITY\r\n");
  Until([&] { return server_seen_.received == "a CAPABILITY\r\n"; });
  server_->Write("a OK\r\n");
  Until([&] { return client_seen_.received == "a OK\r\n"; });
}

TEST_F(TlsPairTest, StartTlsInTheMiddleOfADialogue) {
  server_seen_.hook = [&](Stream& stream, Event event) {
    if (event != Event::kReadable || stream.in_tls()) return false;
    EXPECT_EQ(stream.Input(), "STARTTLS\r\n");
    stream.Consume(stream.Input().size());
    stream.Write("220 go ahead\r\n");
    stream.StartTls({.role = io::TlsRole::kServer, .settings = server_settings_.get()});
    return true;
  };
  client_seen_.hook = [&](Stream& stream, Event event) {
    if (event == Event::kTlsUp) stream.Write("EHLO again\r\n");
    if (event != Event::kReadable || stream.in_tls()) return false;
    EXPECT_EQ(stream.Input(), "220 go ahead\r\n");
    stream.Consume(stream.Input().size());
    stream.StartTls({.role = io::TlsRole::kClient,
                     .settings = client_settings_.get(),
                     .server_name = "a.example"});
    return true;
  };
  client_->Write("STARTTLS\r\n");
  Until([&] { return server_seen_.received == "EHLO again\r\n"; });
  EXPECT_TRUE(server_->in_tls());
}

TEST_F(TlsPairTest, ClearTextThatIsStillQueuedGoesOutBeforeTheHandshake) {
  const std::string text = Pattern(16 << 20, 9);
  client_->PauseReads();
  server_->Write(text);
  ASSERT_GT(server_->Unsent(), 0u);
  StartServer();
  client_seen_.hook = [&](Stream&, Event event) {
    if (event == Event::kReadable && client_seen_.received.size() < text.size()) {
      client_seen_.received.append(client_->Input());
      client_->Consume(client_->Input().size());
      if (client_seen_.received.size() == text.size()) StartClient();
      return true;
    }
    return false;
  };
  client_->ResumeReads();
  Until([&] { return client_->in_tls() && server_->in_tls(); });
  EXPECT_TRUE(client_seen_.received == text);
}

// What a balancer in front of us sends in one packet.
TEST_F(TlsPairTest, AClientHelloBehindAProxyHeaderIsTheStartOfTheHandshake) {
  const std::string header = "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n";
  for (const size_t cut : {size_t{0}, size_t{1}, size_t{40}}) {
    SCOPED_TRACE(cut);
    server_seen_.hook = [&](Stream& stream, Event event) {
      if (event != Event::kReadable || stream.in_tls()) return false;
      // Waits until so much of the ClientHello has come as the case says.
      if (stream.Input().size() <= header.size() + cut) return true;
      EXPECT_TRUE(stream.Input().starts_with(header));
      stream.Consume(header.size());
      stream.StartTls({.role = io::TlsRole::kServer,
                       .settings = server_settings_.get(),
                       .input_is_ciphertext = true});
      return true;
    };
    client_->Write(header);
    StartClient();
    Until([&] { return client_->in_tls() && server_->in_tls(); });
    client_->Write("a NOOP\r\n");
    Until([&] { return server_seen_.received == "a NOOP\r\n"; });
    Reconnect();
  }
}

TEST_F(TlsPairTest, GarbageBehindAProxyHeaderIsATlsFailure) {
  server_seen_.hook = [&](Stream& stream, Event event) {
    if (event != Event::kReadable) return false;
    stream.StartTls({.role = io::TlsRole::kServer,
                     .settings = server_settings_.get(),
                     .input_is_ciphertext = true});
    return true;
  };
  client_->Write("EHLO in.clear.example\r\n");
  Until([&] { return server_seen_.Has(Event::kEnd); });
  EXPECT_EQ(server_->end(), StreamEnd::kTlsFailed);
  EXPECT_EQ(server_->tls_error(), "the peer does not speak TLS");
}

TEST_F(TlsPairTest, PlainTextInjectedBeforeTheHandshakeNeverActsInsideTls) {
  StartServer();
  client_->Write("MAIL FROM:<evil@x.example>\r\n");
  StartClient();
  Until([&] { return server_seen_.Has(Event::kEnd); });
  EXPECT_EQ(server_->end(), StreamEnd::kTlsFailed);
  EXPECT_EQ(server_->tls_error(), "the peer does not speak TLS");
  EXPECT_EQ(server_seen_.received, "");
  EXPECT_EQ(server_seen_.Count(Event::kReadable), 0u);
  EXPECT_EQ(server_seen_.Count(Event::kTlsUp), 0u);
}

TEST_F(TlsPairTest, TheClientHearsTheAlertThoughTheServerClosesAtOnce) {
  server_seen_.hook = [](Stream& stream, Event event) {
    if (event == Event::kEnd) stream.Close();
    return true;
  };
  conf::Tls strict;
  strict.groups = {"P-521"};  // the server has none of it
  conf::Verify verify;
  verify.off = true;
  StartServer();
  auto no_common_group =
      tls::TlsClientContext::Build(strict, verify, "a.example", nullptr, base::SystemClock());
  ASSERT_TRUE(no_common_group.ok()) << no_common_group.error();
  client_->StartTls({.role = io::TlsRole::kClient,
                     .settings = no_common_group.value().get(),
                     .server_name = "a.example"});
  Until([&] { return client_seen_.Has(Event::kEnd); });
  EXPECT_EQ(client_->end(), StreamEnd::kTlsFailed);
  EXPECT_THAT(client_->tls_error(), HasSubstr("alert"));
}

TEST_F(TlsPairTest, AWrongNameIsAVerificationFailureWithItsReason) {
  client_settings_ = tls_.Client("b.example");
  StartServer();
  StartClient();
  Until([&] { return client_seen_.Has(Event::kEnd) && server_seen_.Has(Event::kEnd); });
  EXPECT_EQ(client_->end(), StreamEnd::kTlsVerify);
  EXPECT_EQ(client_->tls_error(), "name mismatch: wanted b.example, certificate is for a.example");
  EXPECT_FALSE(client_->in_tls());
  EXPECT_EQ(server_->end(), StreamEnd::kTlsFailed);
  EXPECT_THAT(server_->tls_error(), HasSubstr("alert"));
}

TEST_F(TlsPairTest, AnExpiredCertificateIsAVerificationFailure) {
  Tls expired({.dns = {"a.example"},
               .not_before = -std::chrono::hours(48),
               .not_after = -std::chrono::hours(1)});
  server_settings_ = expired.Server();
  client_settings_ = expired.Client();
  StartServer();
  StartClient();
  Until([&] { return client_seen_.Has(Event::kEnd); });
  EXPECT_EQ(client_->end(), StreamEnd::kTlsVerify);
  EXPECT_THAT(client_->tls_error(), HasSubstr("certificate has expired on"));
}

TEST_F(TlsPairTest, APeerThatClosesInTheHandshakeIsATlsFailure) {
  StartServer();
  client_->Close();
  Until([&] { return server_seen_.Has(Event::kEnd); });
  EXPECT_EQ(server_->end(), StreamEnd::kTlsFailed);
  EXPECT_EQ(server_->tls_error(), "connection closed during the handshake");
}

TEST_F(TlsPairTest, HalfCloseSaysGoodbyeAndIsNotTruncated) {
  StartBoth();
  client_->Write("QUIT\r\n");
  client_->ShutdownWrite();
  Until([&] { return server_seen_.Has(Event::kEnd); });
  EXPECT_EQ(server_->end(), StreamEnd::kEof);
  EXPECT_FALSE(server_->truncated());
  EXPECT_EQ(server_seen_.received, "QUIT\r\n");
  server_->Write("221 bye\r\n");
  server_->CloseGently();
  Until([&] { return client_seen_.Has(Event::kEnd); });
  EXPECT_EQ(client_seen_.received, "221 bye\r\n");
  EXPECT_FALSE(client_->truncated());
}

TEST_F(TlsPairTest, AnEndWithoutGoodbyeIsTruncated) {
  StartBoth();
  client_->Write("DATA\r\nhalf a mess");
  Until([&] { return !server_seen_.received.empty(); });
  client_->Close();
  Until([&] { return server_seen_.Has(Event::kEnd); });
  EXPECT_EQ(server_->end(), StreamEnd::kEof);
  EXPECT_TRUE(server_->truncated());
}

TEST_F(TlsPairTest, APauseDuringTheHandshakeHoldsBackOnlyWhatComesAfterIt) {
  server_->PauseReads();
  client_seen_.hook = [](Stream& stream, Event event) {
    if (event == Event::kTlsUp) stream.Write("early\r\n");
    return false;
  };
  StartBoth();
  Settle();
  EXPECT_EQ(server_seen_.received, "");
  server_->ResumeReads();
  Until([&] { return server_seen_.received == "early\r\n"; });
}

TEST_F(TlsPairTest, TheEndOfAPausedStreamIsHeardAfterItsText) {
  StartBoth();
  server_->PauseReads();
  client_->Write("last words");
  client_->ShutdownWrite();
  Settle();
  EXPECT_EQ(server_seen_.events.back(), Event::kTlsUp);
  server_->ResumeReads();
  Until([&] { return server_seen_.Has(Event::kEnd); });
  EXPECT_EQ(server_seen_.received, "last words");
}

TEST_F(TlsPairTest, TextAndGoodbyeInOneReadWithAPauseBetween) {
  StartBoth();
  server_seen_.hook = [&](Stream& stream, Event event) {
    if (event != Event::kReadable) return false;
    server_seen_.received.append(stream.Input());
    stream.Consume(stream.Input().size());
    stream.PauseReads();
    return true;
  };
  server_->PauseReads();
  client_->Write("last words");
  client_->ShutdownWrite();
  Settle();
  server_->ResumeReads();
  Until([&] { return server_seen_.received == "last words"; });
  Settle();
  EXPECT_FALSE(server_seen_.Has(Event::kEnd));
  server_->ResumeReads();
  Until([&] { return server_seen_.Has(Event::kEnd); });
  EXPECT_EQ(server_->end(), StreamEnd::kEof);
}

TEST_F(TlsPairTest, AClientThatComesAgainResumesAfterAReload) {
  StartBoth();
  EXPECT_FALSE(server_->tls_facts()->is_resumed);
  server_->Write("* OK\r\n");
  Until([&] { return !client_seen_.received.empty(); });
  server_settings_ = tls_.Server();  // the keys are the process's, not the context's
  Reconnect();
  StartBoth();
  EXPECT_TRUE(server_->tls_facts()->is_resumed);
  EXPECT_TRUE(client_->tls_facts()->is_resumed);
}

TEST_F(TlsPairTest, MovesMuchBothWaysAtOnceByteForByteWithBoundedQueues) {
  StartBoth();
  const std::string up = Pattern(64 << 20, 7);
  const std::string down = Pattern(64 << 20, 8);
  Feeder client_feeder(*client_, up);
  Feeder server_feeder(*server_, down);
  client_seen_.received.reserve(down.size());
  server_seen_.received.reserve(up.size());
  Until([&] {
    client_feeder.Feed();
    server_feeder.Feed();
    return client_seen_.received.size() >= down.size() && server_seen_.received.size() >= up.size();
  });
  EXPECT_TRUE(server_seen_.received == up);
  EXPECT_TRUE(client_seen_.received == down);
  EXPECT_LE(client_feeder.most_unsent(), Feeder::kHighWater + (66u << 10));
}

TEST_F(TlsPairTest, StreamsOfTwoLoopsInTwoThreadsUnderstandEachOther) {
  // A server on a thread of its own, with a context of its own and the same certificates.
  EventLoop other_loop;
  auto sockets = BindAll(Loopback(), 1);
  ASSERT_TRUE(sockets.ok());
  std::unique_ptr<SocketStream> far;
  const auto far_settings = tls_.Server();
  struct Echo final : Stream::Observer {
    void OnStream(Stream& stream, Event event) override {
      if (event == Event::kReadable) {
        stream.Write(stream.Input());
        stream.Consume(stream.Input().size());
      }
      if (event == Event::kEnd) stream.CloseGently();
    }
  } echo;
  auto far_listener = std::make_unique<TcpListener>(
      other_loop, std::move(sockets.value()[0]), [&](OwnedFd fd, const base::SocketAddress& peer) {
        far = std::make_unique<SocketStream>(other_loop, std::move(fd), peer, &echo);
        far->StartTls({.role = io::TlsRole::kServer, .settings = far_settings.get()});
      });
  const base::SocketAddress address = far_listener->address();
  std::thread thread([&] { other_loop.Run(); });

  Recorder seen;
  auto near = TcpDialer(loop_).Connect({.address = address}, seen);
  Until([&] { return seen.Has(Event::kConnected); });
  near->StartTls({.role = io::TlsRole::kClient,
                  .settings = client_settings_.get(),
                  .server_name = "a.example"});
  Until([&] { return near->in_tls(); });
  const std::string text = Pattern(1 << 20, 10);
  near->Write(text);
  Until([&] { return seen.received.size() == text.size(); });
  EXPECT_TRUE(seen.received == text);
  near->CloseGently();
  other_loop.Post([&] { far_listener.reset(); });
  other_loop.Stop();
  thread.join();
  far.reset();
}

}  // namespace
}  // namespace postern::net
