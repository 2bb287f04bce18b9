// tls_fixture: two engines joined without a socket, and contexts made of files on the spot.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "lb/tls/tls_context.h"
#include "lb/tls/tls_engine.h"
#include "test/support/tls/certificates.h"

namespace postern::tls {

class FixedClock final : public base::Clock {
 public:
  base::MonoTime Now() const override { return {}; }
  base::WallTime WallNow() const override { return base::SystemClock().WallNow() + ahead; }
  base::Duration ahead{};
};

// How a handshake between a client and a server went.
struct Meeting {
  bool is_up = false;
  std::string client_error;
  std::string server_error;
  bool is_rejected = false;  // the client did not accept the certificate
  io::TlsFacts client;
  io::TlsFacts server;
};

class TlsTest : public ::testing::Test {
 protected:
  conf::Certificate Files(const std::string& name, const test::PemPair& pair) {
    return {dir_.Write(name + ".crt", pair.cert), dir_.Write(name + ".key", pair.key)};
  }
  conf::Certificate Issue(const std::string& name, const test::CertificateSpec& spec) {
    return Files(name, ca_.Issue(spec));
  }
  std::unique_ptr<TlsServerContext> Server(const std::vector<conf::Certificate>& files,
                                           conf::Protocol protocol = conf::Protocol::kImap) {
    auto store = CertificateStore::Load(files);
    EXPECT_TRUE(store.ok()) << store.error();
    auto context = TlsServerContext::Build(server_tls_, *store, ticket_keys_, protocol);
    EXPECT_TRUE(context.ok()) << context.error();
    return std::move(context).value();
  }
  std::unique_ptr<TlsClientContext> Client(const std::string& host, conf::Verify verify = {},
                                           SessionReuse reuse = SessionReuse::kYes) {
    if (verify.ca.empty()) verify.ca = dir_.Write("ca.pem", ca_.pem());
    auto trust = TrustStore::Load(verify.ca);
    EXPECT_TRUE(trust.ok()) << trust.error();
    auto context = TlsClientContext::Build(client_tls_, verify, host, *trust, clock_, reuse);
    EXPECT_TRUE(context.ok()) << context.error();
    return std::move(context).value();
  }

  // Carries what one engine wants sent to the other, until neither has anything to say.
  Meeting Meet(const TlsServerContext& server, const TlsClientContext& client,
               const std::string& server_name) {
    server_ = TlsEngine();
    client_ = TlsEngine();
    Meeting meeting;
    EXPECT_TRUE(server_.Start(buffers_, {.role = io::TlsRole::kServer, .settings = &server}));
    EXPECT_TRUE(client_.Start(
        buffers_, {.role = io::TlsRole::kClient, .settings = &client, .server_name = server_name}));
    std::string to_server;
    std::string to_client;
    bool client_up = false;
    bool server_up = false;
    for (int round = 0; round < 20; ++round) {
      if (!Turn(client_, to_client, to_server, client_up, meeting.client_error,
                meeting.is_rejected)) {
        bool ignored = false;
        (void)Turn(server_, to_server, to_client, server_up, meeting.server_error, ignored);
        return meeting;
      }
      bool ignored = false;
      if (!Turn(server_, to_server, to_client, server_up, meeting.server_error, ignored)) {
        (void)Turn(client_, to_client, to_server, client_up, meeting.client_error,
                   meeting.is_rejected);
        return meeting;
      }
      if (client_up && server_up && to_client.empty() && to_server.empty()) break;
    }
    meeting.is_up = client_up && server_up;
    if (meeting.is_up) {
      // The library sends the tickets of TLS 1.3 along with the server's first words.
      EXPECT_TRUE(server_.Write("* OK\r\n"));
      bool ignored = false;
      const std::string words(buffers_.Output());
      buffers_.ClearOutput();
      to_client = words;
      EXPECT_TRUE(Turn(client_, to_client, to_server, client_up, meeting.client_error, ignored));
      meeting.client = client_.Facts();
      meeting.server = server_.Facts();
    }
    return meeting;
  }

  // One engine reads what has come and appends what it wants sent. False: it failed.
  bool Turn(TlsEngine& engine, std::string& in, std::string& out, bool& is_up, std::string& error,
            bool& is_rejected) {
    const std::string cipher = std::move(in);
    in.clear();
    engine.Feed(cipher);
    bool is_good = true;
    if (!is_up) {
      const TlsEngine::Status status = engine.Handshake();
      is_up = status == TlsEngine::Status::kDone;
      is_rejected = status == TlsEngine::Status::kRejected;
      is_good = is_up || status == TlsEngine::Status::kOk;
    }
    if (is_up && is_good) {
      base::ByteView plain;
      const TlsEngine::Status status = engine.Read(&plain);
      is_good = status != TlsEngine::Status::kFailed;
      received_.append(plain);
    }
    out += buffers_.Output();
    buffers_.ClearOutput();
    if (!is_good) error = engine.TakeError();
    return is_good;
  }

  test::TempDir dir_;
  test::TestCa ca_;
  FixedClock clock_;
  conf::Tls server_tls_;
  conf::Tls client_tls_;
  std::shared_ptr<TicketKeys> ticket_keys_ = std::make_shared<TicketKeys>();
  TlsBuffers buffers_;
  TlsEngine server_;
  TlsEngine client_;
  std::string received_;
};

}  // namespace postern::tls
