// tls_engine_test: bytes to bytes: slices, coalescing, half close, broken records.
// SPDX-License-Identifier: Apache-2.0
#include "lb/tls/tls_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test/tls/tls_fixture.h"

namespace postern::tls {
namespace {

class TlsEngineTest : public TlsTest {
 protected:
  void SetUp() override {
    server_settings_ = Server({Issue("a", {.dns = {"a.example"}})});
    client_settings_ = Client("a.example");
    const Meeting meeting = Meet(*server_settings_, *client_settings_, "a.example");
    ASSERT_TRUE(meeting.is_up) << meeting.client_error << meeting.server_error;
  }
  std::string TakeOutput() {
    std::string out(buffers_.Output());
    buffers_.ClearOutput();
    return out;
  }
  std::string Encrypt(TlsEngine& engine, std::string_view plain) {
    EXPECT_TRUE(engine.Write(plain));
    return TakeOutput();
  }
  std::string Decrypt(TlsEngine& engine, std::string_view cipher,
                      TlsEngine::Status wanted = TlsEngine::Status::kOk) {
    engine.Feed(cipher);
    base::ByteView plain;
    EXPECT_EQ(engine.Read(&plain), wanted);
    return std::string(plain);
  }

  std::unique_ptr<TlsServerContext> server_settings_;
  std::unique_ptr<TlsClientContext> client_settings_;
};

TEST_F(TlsEngineTest, ManyRecordsMakeOneOutputAndOneSlice) {
  const std::string text(200 << 10, 'x');
  const std::string cipher = Encrypt(client_, text);
  EXPECT_GT(cipher.size(), text.size());
  EXPECT_LT(cipher.size(), text.size() + 13 * 40);  // 13 records' overhead
  EXPECT_EQ(Decrypt(server_, cipher), text);
}

TEST_F(TlsEngineTest, AnyCutOfTheCiphertextGivesTheSameText) {
  const std::string text = "* OK ready\r\na LOGIN b c\r\n";
  std::string cipher = Encrypt(client_, text);
  cipher += Encrypt(client_, text);
  std::string got;
  for (const char byte : cipher) got += Decrypt(server_, std::string_view(&byte, 1));
  EXPECT_EQ(got, text + text);
}

TEST_F(TlsEngineTest, AHandshakeByteByByteWorksToo) {
  TlsEngine server;
  TlsEngine client;
  ASSERT_TRUE(
      server.Start(buffers_, {.role = io::TlsRole::kServer, .settings = server_settings_.get()}));
  ASSERT_TRUE(client.Start(buffers_, {.role = io::TlsRole::kClient,
                                      .settings = client_settings_.get(),
                                      .server_name = "a.example"}));
  bool client_up = false;
  bool server_up = false;
  bool ignored = false;
  std::string error;
  std::string to_server;
  std::string to_client;
  ASSERT_TRUE(Turn(client, to_client, to_server, client_up, error, ignored)) << error;
  for (int round = 0; round < 4; ++round) {
    for (const char byte : std::exchange(to_server, {})) {
      std::string one(1, byte);
      ASSERT_TRUE(Turn(server, one, to_client, server_up, error, ignored)) << error;
    }
    for (const char byte : std::exchange(to_client, {})) {
      std::string one(1, byte);
      ASSERT_TRUE(Turn(client, one, to_server, client_up, error, ignored)) << error;
    }
  }
  EXPECT_TRUE(client_up && server_up);
}

TEST_F(TlsEngineTest, DataRightBehindTheHandshakeIsRead) {
  TlsEngine server;
  TlsEngine client;
  ASSERT_TRUE(
      server.Start(buffers_, {.role = io::TlsRole::kServer, .settings = server_settings_.get()}));
  ASSERT_TRUE(client.Start(buffers_, {.role = io::TlsRole::kClient,
                                      .settings = client_settings_.get(),
                                      .server_name = "a.example"}));
  bool client_up = false;
  bool server_up = false;
  bool ignored = false;
  std::string error;
  std::string to_server;
  std::string to_client;
  ASSERT_TRUE(Turn(client, to_client, to_server, client_up, error, ignored)) << error;
  ASSERT_TRUE(Turn(server, to_server, to_client, server_up, error, ignored)) << error;
  ASSERT_TRUE(Turn(client, to_client, to_server, client_up, error, ignored)) << error;
  ASSERT_TRUE(client_up && !server_up);
  received_.clear();
  to_server += Encrypt(client, "a LOGIN b c\r\n");
  ASSERT_TRUE(Turn(server, to_server, to_client, server_up, error, ignored)) << error;
  EXPECT_TRUE(server_up);
  EXPECT_EQ(received_, "a LOGIN b c\r\n");
}

TEST_F(TlsEngineTest, CloseNotifyEndsOneDirectionOnly) {
  std::string cipher = Encrypt(client_, "QUIT\r\n");
  client_.Shutdown();
  cipher += TakeOutput();
  EXPECT_EQ(Decrypt(server_, cipher, TlsEngine::Status::kDone), "QUIT\r\n");
  EXPECT_EQ(Decrypt(client_, Encrypt(server_, "221 bye\r\n")), "221 bye\r\n");
}

TEST_F(TlsEngineTest, NothingBehindCloseNotifyIsRead) {
  client_.Shutdown();
  std::string cipher = TakeOutput();
  cipher += "MAIL FROM:<evil@x.example>\r\n";
  EXPECT_EQ(Decrypt(server_, cipher, TlsEngine::Status::kDone), "");
}

TEST_F(TlsEngineTest, ABrokenRecordFailsWithAnAlertAfterWhatWasGood) {
  std::string cipher = Encrypt(client_, "good\r\n");
  std::string broken = Encrypt(client_, "bad\r\n");
  broken.back() = static_cast<char>(broken.back() ^ 1);
  EXPECT_EQ(Decrypt(server_, cipher + broken, TlsEngine::Status::kFailed), "good\r\n");
  EXPECT_FALSE(TakeOutput().empty());  // the alert
  EXPECT_THAT(server_.TakeError(), ::testing::HasSubstr("bad record mac"));
}

TEST_F(TlsEngineTest, SaysWhatSpeaksNoTls) {
  const struct {
    const char* sent;
    const char* error;
  } kCases[] = {{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "the peer speaks HTTP"},
                {"MAIL FROM:<evil@x.example>\r\n", "the peer does not speak TLS"},
                {"a1 LOGIN eve secret\r\n", "the peer does not speak TLS"}};
  for (const auto& test : kCases) {
    TlsEngine server;
    ASSERT_TRUE(
        server.Start(buffers_, {.role = io::TlsRole::kServer, .settings = server_settings_.get()}));
    server.Feed(test.sent);
    EXPECT_EQ(server.Handshake(), TlsEngine::Status::kFailed);
    EXPECT_EQ(server.TakeError(), test.error);
    buffers_.ClearOutput();
  }
}

TEST_F(TlsEngineTest, EnginesShareTheBuffersOfTheirWorker) {
  const std::string first = Encrypt(client_, "one");
  const std::string second = Encrypt(server_, "two");
  EXPECT_EQ(Decrypt(server_, first), "one");
  EXPECT_EQ(Decrypt(client_, second), "two");
}

}  // namespace
}  // namespace postern::tls
