// sim_net_tls_test: the toy TLS fails where the real one would.
// SPDX-License-Identifier: Apache-2.0
#include "test/io/sim_fixture.h"
#include "test/support/sim_net.h"

namespace postern::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SimTlsTest : public SimNetTest {};

TEST_F(SimTlsTest, BothMustAsk) {
  Open();
  ClientStartsTls();
  EXPECT_FALSE(client_->in_tls());
  Run();
  EXPECT_FALSE(client_->in_tls());
  EXPECT_EQ(client_->tls_facts(), nullptr);
  EXPECT_THAT(at_client_.events, IsEmpty());
}

TEST_F(SimTlsTest, ClientIsUpBeforeServer) {
  Open();
  ServerStartsTls();
  ClientStartsTls();
  loop_.RunFor(2 * net_.options.latency);
  EXPECT_TRUE(client_->in_tls());
  EXPECT_FALSE(server_->in_tls());
  loop_.RunFor(net_.options.latency);
  EXPECT_TRUE(server_->in_tls());
  EXPECT_THAT(at_client_.events, ElementsAre(Event::kTlsUp));
  EXPECT_THAT(at_server_.events, ElementsAre(Event::kTlsUp));
}

TEST_F(SimTlsTest, FactsAreFilledOnBothEnds) {
  net_.options.tls_facts.is_resumed = true;
  OpenTls("Mx.Example");
  for (const SimStream* end : {client_.get(), server_.get()}) {
    ASSERT_NE(end->tls_facts(), nullptr);
    EXPECT_EQ(end->tls_facts()->version, "TLSv1.3");
    EXPECT_EQ(end->tls_facts()->server_name, "mx.example");
    EXPECT_TRUE(end->tls_facts()->is_resumed);
  }
}

TEST_F(SimTlsTest, AnAddressIsNoServerName) {
  OpenTls("192.0.2.1");
  EXPECT_EQ(server_->tls_facts()->server_name, "");
}

TEST_F(SimTlsTest, BytesFlowInside) {
  OpenTls();
  client_->Write("a login\r\n");
  server_->Write("* OK\r\n");
  Run();
  EXPECT_EQ(at_server_.received, "a login\r\n");
  EXPECT_EQ(at_client_.received, "* OK\r\n");
}

TEST_F(SimTlsTest, StartTlsAfterADialogueInClear) {
  Open();
  at_server_.hook = [this](Stream& stream, Event event) {
    if (event != Event::kReadable || stream.in_tls()) return false;
    at_server_.TakeAll(stream, event);
    stream.Write("220 ready\r\n");
    ServerStartsTls();
    return true;
  };
  at_client_.hook = [this](Stream& stream, Event event) {
    if (event == Event::kTlsUp) stream.Write("EHLO inside\r\n");
    if (event != Event::kReadable || stream.in_tls()) return false;
    at_client_.TakeAll(stream, event);
    ClientStartsTls();
    return true;
  };
  client_->Write("STARTTLS\r\n");
  Run();
  EXPECT_EQ(at_client_.received, "220 ready\r\n");
  EXPECT_EQ(at_server_.received, "STARTTLS\r\nEHLO inside\r\n");
}

TEST_F(SimTlsTest, EveryCutWorks) {
  for (const SimCut cut : {SimCut::kWhole, SimCut::kByByte, SimCut::kRandom}) {
    net_.options.cut = cut;
    at_client_ = {};
    at_server_ = {};
    OpenTls();
    server_->Write("inside");
    Run();
    EXPECT_EQ(at_client_.received, "inside");
  }
}

TEST_F(SimTlsTest, ClearBytesBehindStartTlsBreakTheServersHandshake) {
  Open();
  ServerStartsTls();
  client_->Write("EHLO injected\r\n");
  ClientStartsTls();
  Run();
  EXPECT_EQ(at_server_.received, "");
  EXPECT_EQ(server_->end(), StreamEnd::kTlsFailed);
  EXPECT_EQ(client_->end(), StreamEnd::kTlsFailed);
  EXPECT_EQ(server_->tls_error(), "not a TLS record");
  EXPECT_THAT(at_server_.events, ElementsAre(Event::kEnd));
}

TEST_F(SimTlsTest, ClearBytesThatArriveLaterBreakTheHandshakeToo) {
  Open();
  server_->PauseReads();
  client_->Write("STARTTLS\r\nEHLO injected\r\n");
  Run();
  ServerStartsTls();  // what has arrived, but was not read yet, is part of it
  Run();
  EXPECT_EQ(server_->end(), StreamEnd::kTlsFailed);
}

TEST_F(SimTlsTest, ClearBytesBreakTheClientsHandshake) {
  Open();
  ClientStartsTls();
  server_->Write("* OK injected\r\n");
  Run();
  EXPECT_EQ(at_client_.received, "");
  EXPECT_EQ(client_->end(), StreamEnd::kTlsFailed);
}

TEST_F(SimTlsTest, AServerInClearSeesTheHelloAsBytes) {
  Open();
  ClientStartsTls();
  Run();
  ASSERT_FALSE(at_server_.received.empty());
  EXPECT_EQ(at_server_.received[0], '\x16');
}

TEST_F(SimTlsTest, AHelloBehindAProxyHeaderMayBeRead) {
  for (const SimCut cut : {SimCut::kWhole, SimCut::kByByte, SimCut::kRandom}) {
    net_.options.cut = cut;
    at_client_ = {};
    at_server_ = {};
    Open();
    at_server_.hook = [](Stream& stream, Event event) {
      const size_t end = stream.Input().find('\n');
      if (event != Event::kReadable || end == std::string::npos) return true;
      stream.Consume(end + 1);
      stream.StartTls({.role = io::TlsRole::kServer, .input_is_ciphertext = true});
      return true;
    };
    client_->Write("PROXY UNKNOWN\r\n");
    ClientStartsTls();
    Run();
    EXPECT_TRUE(server_->in_tls());
  }
}

TEST_F(SimTlsTest, ClearBytesTakenForCiphertextFail) {
  Open();
  at_server_.hook = [](Stream& stream, Event event) {
    if (event != Event::kReadable) return true;
    stream.StartTls({.role = io::TlsRole::kServer, .input_is_ciphertext = true});
    EXPECT_EQ(stream.end(), StreamEnd::kNone);
    return true;
  };
  client_->Write("EHLO a\r\n");
  Run();
  EXPECT_EQ(server_->end(), StreamEnd::kTlsFailed);
}

TEST_F(SimTlsTest, TwoClientsDoNotUnderstandEachOther) {
  Open();
  server_->StartTls({.role = io::TlsRole::kClient});
  ClientStartsTls();
  Run();
  EXPECT_EQ(client_->end(), StreamEnd::kTlsFailed);
  EXPECT_EQ(server_->end(), StreamEnd::kTlsFailed);
}

TEST_F(SimTlsTest, FailedVerificationIsKnownToBoth) {
  Open();
  client_->FailVerification();
  ServerStartsTls();
  ClientStartsTls();
  Run();
  EXPECT_EQ(client_->end(), StreamEnd::kTlsVerify);
  EXPECT_THAT(client_->tls_error(), HasSubstr("certificate"));
  EXPECT_EQ(server_->end(), StreamEnd::kTlsFailed);
  EXPECT_THAT(server_->tls_error(), HasSubstr("bad certificate"));
  EXPECT_THAT(at_client_.events, ElementsAre(Event::kEnd));
}

TEST_F(SimTlsTest, TheAlertArrivesThoughTheClientClosesAtOnce) {
  Open();
  client_->FailVerification();
  at_client_.hook = [](Stream& stream, Event) {
    stream.Close();
    return true;
  };
  ServerStartsTls();
  ClientStartsTls();
  Run();
  EXPECT_THAT(server_->tls_error(), HasSubstr("bad certificate"));
}

TEST_F(SimTlsTest, BadCertificateOfAnAddress) {
  std::unique_ptr<SimStream> accepted;
  net_.Listen(Server(), [&](std::unique_ptr<SimStream> stream) {
    accepted = std::move(stream);
    accepted->SetObserver(&at_server_);
    accepted->StartTls({.role = io::TlsRole::kServer});
  });
  net_.SetBadCertificate(Server(), true);
  at_client_.hook = [](Stream& stream, Event event) {
    if (event == Event::kConnected) stream.StartTls({.role = io::TlsRole::kClient});
    return true;
  };
  auto dialled = net_.Connect({.address = Server()}, at_client_);
  Run();
  EXPECT_EQ(dialled->end(), StreamEnd::kTlsVerify);
  net_.SetBadCertificate(Server(), false);
  dialled = net_.Connect({.address = Server()}, at_client_);
  Run();
  EXPECT_TRUE(dialled->in_tls());
}

TEST_F(SimTlsTest, EndsDuringTheHandshakeAreFailures) {
  struct {
    const char* name;
    std::function<void(SimStream&)> act;
  } const kRows[] = {
      {"close", [](SimStream& stream) { stream.Close(); }},
      {"reset", [](SimStream& stream) { stream.Reset(); }},
      {"half close", [](SimStream& stream) { stream.ShutdownWrite(); }},
      {"gentle close", [](SimStream& stream) { stream.CloseGently(); }},
  };
  for (const auto& row : kRows) {
    at_client_ = {};
    Open();
    ClientStartsTls();
    row.act(*server_);
    Run();
    EXPECT_EQ(client_->end(), StreamEnd::kTlsFailed) << row.name;
    EXPECT_THAT(client_->tls_error(), HasSubstr("during the handshake")) << row.name;
    EXPECT_THAT(at_client_.events, ElementsAre(Event::kEnd)) << row.name;
  }
}

TEST_F(SimTlsTest, AHangingHandshakeIsLeftToItsCaller) {
  Open();
  ServerStartsTls();
  ClientStartsTls();
  client_->Hang();
  loop_.RunFor(1h);
  EXPECT_THAT(at_client_.events, IsEmpty());
  EXPECT_THAT(at_server_.events, IsEmpty());
}

TEST_F(SimTlsTest, APauseDoesNotStopTheHandshake) {
  Open();
  server_->PauseReads();
  ServerStartsTls();
  ClientStartsTls();
  loop_.RunFor(1ms);
  client_->Write("waits");
  Run();
  EXPECT_TRUE(server_->in_tls());
  EXPECT_EQ(at_server_.received, "");
  server_->ResumeReads();
  Run();
  EXPECT_EQ(at_server_.received, "waits");
}

TEST_F(SimTlsTest, HalfCloseInsideIsClean) {
  OpenTls();
  client_->Write("last");
  client_->ShutdownWrite();
  Run();
  EXPECT_EQ(at_server_.received, "last");
  EXPECT_EQ(server_->end(), StreamEnd::kEof);
  EXPECT_FALSE(server_->truncated());
  EXPECT_EQ(at_server_.Count(Event::kEnd), 1);
  server_->Write("answer");
  Run();
  EXPECT_EQ(at_client_.received, "answer");
}

TEST_F(SimTlsTest, CloseGentlyInsideIsClean) {
  OpenTls();
  client_->CloseGently();
  client_.reset();
  Run();
  EXPECT_EQ(server_->end(), StreamEnd::kEof);
  EXPECT_FALSE(server_->truncated());
}

TEST_F(SimTlsTest, CloseInsideIsTruncation) {
  OpenTls();
  client_->Close();
  Run();
  EXPECT_EQ(server_->end(), StreamEnd::kEof);
  EXPECT_TRUE(server_->truncated());
}

TEST_F(SimTlsTest, DeathInsideIsTruncation) {
  OpenTls();
  client_->socket().BreakAfter(client_->socket().total_sent_bytes() + 3, SimSocket::Break::kFin);
  client_->Write("abcdef");
  client_->ShutdownWrite();
  Run();
  EXPECT_EQ(at_server_.received, "abc");
  EXPECT_EQ(server_->end(), StreamEnd::kEof);
  EXPECT_TRUE(server_->truncated());
}

using SimTlsDeathTest = SimTlsTest;

TEST_F(SimTlsDeathTest, MisuseAborts) {
  GTEST_FLAG_SET(death_test_style, "fast");
  Open();
  // Bytes that came before TLS may not survive it.
  EXPECT_DEATH(
      {
        at_server_.hook = [](Stream&, Event) { return true; };
        client_->Write("EHLO\r\n");
        Run();
        ServerStartsTls();
      },
      "check failed");
  EXPECT_DEATH(
      {
        ServerStartsTls();
        server_->Write("in clear");
      },
      "check failed");
  EXPECT_DEATH(
      {
        ServerStartsTls();
        ServerStartsTls();
      },
      "check failed");
}

}  // namespace
}  // namespace postern::test
