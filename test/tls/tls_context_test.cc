// tls_context_test: certificates by name and by client, ALPN, verification, resumption, policy.
// SPDX-License-Identifier: Apache-2.0
#include "lb/tls/tls_context.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/aead.h>
#include <openssl/ssl.h>

#include "lb/tls/tls_library.h"
#include "test/tls/tls_fixture.h"

namespace postern::tls {
namespace {

using test::KeyKind;
using ::testing::HasSubstr;

// A client of another make: BoringSSL by hand, over strings.
class ForeignClient {
 public:
  ForeignClient() : context_(SSL_CTX_new(TLS_method())) {
    SSL_CTX_set_custom_verify(context_.get(), SSL_VERIFY_PEER,
                              [](SSL*, uint8_t*) { return ssl_verify_ok; });
  }
  SSL_CTX* context() { return context_.get(); }
  SSL* ssl() { return ssl_.get(); }
  void Begin() {
    ssl_.reset(SSL_new(context_.get()));
    in_ = BIO_new(BIO_s_mem());
    out_ = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl_.get(), in_, out_);
    SSL_set_connect_state(ssl_.get());
  }
  // True when both sides are up. The server's error otherwise.
  bool Meet(const TlsServerContext& settings, std::string* server_error) {
    server = TlsEngine();
    EXPECT_TRUE(server.Start(buffers, {.role = io::TlsRole::kServer, .settings = &settings}));
    bool is_server_up = false;
    for (int round = 0; round < 10; ++round) {
      const int result = SSL_do_handshake(ssl_.get());
      const uint8_t* data = nullptr;
      size_t size = 0;
      BIO_mem_contents(out_, &data, &size);
      const std::string sent(reinterpret_cast<const char*>(data), size);
      BIO_reset(out_);
      if (!is_server_up) {
        server.Feed(sent);
        const TlsEngine::Status status = server.Handshake();
        is_server_up = status == TlsEngine::Status::kDone;
        BIO_write(in_, buffers.Output().data(), static_cast<int>(buffers.Output().size()));
        buffers.ClearOutput();
        if (status == TlsEngine::Status::kFailed) {
          *server_error = server.TakeError();
          return false;
        }
      }
      if (result == 1 && is_server_up) {
        facts = server.Facts();
        return true;
      }
    }
    return false;
  }
  bool IsEcdsa() {
    const uint16_t algorithm = SSL_get_peer_signature_algorithm(ssl_.get());
    return SSL_get_signature_algorithm_key_type(algorithm) == EVP_PKEY_EC;
  }

  // A handshake message under the keys of TLS 1.2 with AES-128-GCM (RFC 5288 3), as a client would
  // send one that renegotiates.
  std::string EncryptHandshakeMessage(std::string_view message) {
    std::vector<uint8_t> keys(SSL_get_key_block_len(ssl_.get()));
    EXPECT_EQ(SSL_generate_key_block(ssl_.get(), keys.data(), keys.size()), 1);
    const std::vector<uint8_t> key(keys.begin(), keys.begin() + 16);
    const std::string salt(keys.begin() + 32, keys.begin() + 36);
    const uint64_t sequence = SSL_get_write_sequence(ssl_.get());
    std::string number;
    for (int shift = 56; shift >= 0; shift -= 8) number += static_cast<char>(sequence >> shift);
    const std::string nonce = salt + number;
    const std::string size = {static_cast<char>(message.size() >> 8),
                              static_cast<char>(message.size())};
    const std::string header = "\x16\x03\x03";
    const std::string data = number + header + size;
    bssl::ScopedEVP_AEAD_CTX aead;
    EXPECT_EQ(
        EVP_AEAD_CTX_init(aead.get(), EVP_aead_aes_128_gcm(), key.data(), key.size(), 16, nullptr),
        1);
    std::vector<uint8_t> sealed(message.size() + 16);
    size_t sealed_bytes = 0;
    const auto bytes = [](std::string_view text) {
      return reinterpret_cast<const uint8_t*>(text.data());
    };
    EXPECT_EQ(
        EVP_AEAD_CTX_seal(aead.get(), sealed.data(), &sealed_bytes, sealed.size(), bytes(nonce),
                          nonce.size(), bytes(message), message.size(), bytes(data), data.size()),
        1);
    const size_t body = number.size() + sealed_bytes;
    return header + static_cast<char>(body >> 8) + static_cast<char>(body) + number +
           std::string(sealed.begin(), sealed.begin() + static_cast<ptrdiff_t>(sealed_bytes));
  }

  io::TlsFacts facts;
  TlsBuffers buffers;
  TlsEngine server;  // the other side, of the last Meet

 private:
  bssl::UniquePtr<SSL_CTX> context_;
  bssl::UniquePtr<SSL> ssl_;
  BIO* in_ = nullptr;
  BIO* out_ = nullptr;
};

class TlsContextTest : public TlsTest {};

TEST_F(TlsContextTest, AgreesOnTls13AndSaysSo) {
  const auto server = Server({Issue("a", {.dns = {"imap.example.com"}})});
  const auto client = Client("imap.example.com");
  const Meeting meeting = Meet(*server, *client, "imap.example.com");
  ASSERT_TRUE(meeting.is_up) << meeting.client_error << meeting.server_error;
  EXPECT_EQ(meeting.server.version, "TLSv1.3");
  EXPECT_THAT(meeting.server.cipher, ::testing::StartsWith("TLS_AES_"));
  EXPECT_EQ(meeting.server.group, HasMlkem() ? "X25519MLKEM768" : "X25519");
  EXPECT_EQ(meeting.server.server_name, "imap.example.com");
  EXPECT_EQ(meeting.client.group, meeting.server.group);
  EXPECT_FALSE(meeting.server.is_resumed);
}

TEST_F(TlsContextTest, SniIsToldInLowerCase) {
  const auto server = Server({Issue("a", {.dns = {"imap.example.com"}})});
  const auto client = Client("imap.example.com");
  const Meeting meeting = Meet(*server, *client, "IMAP.Example.COM");
  EXPECT_EQ(meeting.server.server_name, "imap.example.com");
}

TEST_F(TlsContextTest, AnAddressIsNotSentAsSni) {
  const auto server = Server({Issue("a", {.ips = {"10.0.0.1"}})});
  const auto client = Client("10.0.0.1");
  const Meeting meeting = Meet(*server, *client, "10.0.0.1");
  ASSERT_TRUE(meeting.is_up) << meeting.client_error;
  EXPECT_EQ(meeting.server.server_name, "");
}

TEST_F(TlsContextTest, ChoosesTheCertificateByName) {
  const auto server = Server({Issue("first", {.dns = {"first.example"}}),
                              Issue("wild", {.dns = {"*.wild.example"}}),
                              Issue("exact", {.dns = {"exact.wild.example"}})});
  const struct {
    const char* asked;
    const char* verified;
  } kCases[] = {
      {"first.example", "first.example"},
      {"a.wild.example", "a.wild.example"},
      {"exact.wild.example", "exact.wild.example"},
      {"unknown.example", "first.example"},   // the first is for all others
      {"a.b.wild.example", "first.example"},  // a wildcard is one label
      {"", "first.example"},
  };
  for (const auto& test : kCases) {
    SCOPED_TRACE(test.asked);
    const auto client = Client(test.verified);
    const Meeting meeting = Meet(*server, *client, test.asked);
    EXPECT_TRUE(meeting.is_up) << meeting.client_error;
  }
  // The exact name beats the wildcard: its certificate is no wildcard's.
  const auto client = Client("other.wild.example");
  EXPECT_TRUE(Meet(*server, *client, "exact.wild.example").is_rejected);
}

TEST_F(TlsContextTest, ChoosesTheKeyTypeByTheClient) {
  const auto server = Server({Issue("rsa", {.dns = {"a.example"}, .key = KeyKind::kRsa2048}),
                              Issue("ec", {.dns = {"a.example"}, .key = KeyKind::kP256})});
  const uint16_t rsa_only[] = {SSL_SIGN_RSA_PSS_RSAE_SHA256, SSL_SIGN_RSA_PKCS1_SHA256};
  for (const uint16_t version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    SCOPED_TRACE(version);
    std::string error;
    ForeignClient modern;
    SSL_CTX_set_max_proto_version(modern.context(), version);
    modern.Begin();
    SSL_set_tlsext_host_name(modern.ssl(), "a.example");
    ASSERT_TRUE(modern.Meet(*server, &error)) << error;
    EXPECT_TRUE(modern.IsEcdsa());

    ForeignClient old;
    SSL_CTX_set_max_proto_version(old.context(), version);
    SSL_CTX_set_verify_algorithm_prefs(old.context(), rsa_only, 2);
    old.Begin();  // without SNI: the default has both types too
    ASSERT_TRUE(old.Meet(*server, &error)) << error;
    EXPECT_FALSE(old.IsEcdsa());
  }
}

TEST_F(TlsContextTest, AClientWithRsaSuitesOnlyGetsRsaBeforeTls13) {
  const auto server = Server({Issue("ec", {.dns = {"a.example"}, .key = KeyKind::kP256}),
                              Issue("rsa", {.dns = {"a.example"}, .key = KeyKind::kRsa2048})});
  ForeignClient client;
  SSL_CTX_set_max_proto_version(client.context(), TLS1_2_VERSION);
  SSL_CTX_set_strict_cipher_list(client.context(), "ECDHE-RSA-AES128-GCM-SHA256");
  client.Begin();
  std::string error;
  ASSERT_TRUE(client.Meet(*server, &error)) << error;
  EXPECT_FALSE(client.IsEcdsa());
  EXPECT_EQ(client.facts.version, "TLSv1.2");
  EXPECT_EQ(client.facts.cipher, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
  EXPECT_EQ(client.facts.group, "X25519");  // hybrid groups are of TLS 1.3 alone
}

TEST_F(TlsContextTest, RefusesOldVersionsAndSuites) {
  const auto server = Server({Issue("a", {.dns = {"a.example"}, .key = KeyKind::kRsa2048})});
  std::string error;
  ForeignClient old;
  SSL_CTX_set_min_proto_version(old.context(), TLS1_VERSION);
  SSL_CTX_set_max_proto_version(old.context(), TLS1_1_VERSION);
  old.Begin();
  EXPECT_FALSE(old.Meet(*server, &error));
  EXPECT_EQ(error, "no TLS version in common");

  ForeignClient weak;
  SSL_CTX_set_max_proto_version(weak.context(), TLS1_2_VERSION);
  SSL_CTX_set_strict_cipher_list(weak.context(), "ECDHE-RSA-AES128-SHA:AES128-GCM-SHA256");
  weak.Begin();
  EXPECT_FALSE(weak.Meet(*server, &error));
  EXPECT_EQ(error, "no cipher suite in common");
}

TEST_F(TlsContextTest, RefusesToRenegotiate) {
  const auto settings = Server({Issue("a", {.dns = {"a.example"}, .key = KeyKind::kRsa2048})});
  ForeignClient client;
  SSL_CTX_set_max_proto_version(client.context(), TLS1_2_VERSION);
  SSL_CTX_set_strict_cipher_list(client.context(), "ECDHE-RSA-AES128-GCM-SHA256");
  client.Begin();
  std::string error;
  ASSERT_TRUE(client.Meet(*settings, &error)) << error;
  // A ClientHello in due form: what follows is refused because it comes, not for its contents.
  const std::string body = "\x03\x03" + std::string(32, 'r') + std::string(1, '\0') +
                           std::string("\x00\x02\xc0\x2f\x01\x00", 6);
  const std::string hello = std::string("\x01\x00\x00", 3) + static_cast<char>(body.size()) + body;
  const std::string record = client.EncryptHandshakeMessage(hello);
  client.server.Feed(record);
  base::ByteView plain;
  EXPECT_EQ(client.server.Read(&plain), TlsEngine::Status::kFailed);
  EXPECT_EQ(client.server.TakeError(), "the peer wanted to renegotiate");
  EXPECT_FALSE(client.buffers.Output().empty());  // the alert
}

TEST_F(TlsContextTest, MinVersion13RefusesTls12) {
  server_tls_.min_version = 0x0304;
  const auto server = Server({Issue("a", {.dns = {"a.example"}})});
  ForeignClient client;
  SSL_CTX_set_max_proto_version(client.context(), TLS1_2_VERSION);
  client.Begin();
  std::string error;
  EXPECT_FALSE(client.Meet(*server, &error));
  EXPECT_EQ(error, "no TLS version in common");
}

TEST_F(TlsContextTest, UsesTheGroupsOfTheConfigurationAndForgetsUnknownOnes) {
  server_tls_.groups = {"Nonsense", "P-384"};
  const auto server = Server({Issue("a", {.dns = {"a.example"}})});
  const Meeting meeting = Meet(*server, *Client("a.example"), "a.example");
  ASSERT_TRUE(meeting.is_up);
  EXPECT_EQ(meeting.server.group, "P-384");
}

TEST_F(TlsContextTest, NoKnownGroupIsAnError) {
  server_tls_.groups = {"Nonsense"};
  auto store = CertificateStore::Load({Issue("a", {.dns = {"a.example"}})});
  const auto context =
      TlsServerContext::Build(server_tls_, *store, ticket_keys_, conf::Protocol::kImap);
  ASSERT_FALSE(context.ok());
  EXPECT_THAT(context.error(), HasSubstr("groups"));
}

// --- ALPN -----------------------------------------------------------------------------------

std::string Wire(const std::vector<std::string>& names) {
  std::string wire;
  for (const std::string& name : names) {
    wire += static_cast<char>(name.size());
    wire += name;
  }
  return wire;
}

struct AlpnCase {
  conf::Protocol protocol;
  std::vector<std::string> offer;
  bool is_served;
  std::string selected;
};

TEST_F(TlsContextTest, SelectsOrRefusesByAlpn) {
  const std::vector<AlpnCase> cases = {
      {conf::Protocol::kImap, {"imap"}, true, "imap"},
      {conf::Protocol::kImap, {"http/1.1", "imap"}, true, "imap"},
      {conf::Protocol::kImap, {"http/1.1"}, false, ""},
      {conf::Protocol::kImap, {"pop3"}, false, ""},
      {conf::Protocol::kPop3, {"pop3"}, true, "pop3"},
      {conf::Protocol::kPop3, {"h2"}, false, ""},
      {conf::Protocol::kSieve, {"managesieve"}, true, "managesieve"},
      {conf::Protocol::kSmtp, {"smtp"}, true, ""},
      {conf::Protocol::kSmtp, {"h2", "http/1.1"}, false, ""},
      {conf::Protocol::kSmtp, {"h2", "smtp"}, true, ""},
      {conf::Protocol::kSmtp, {"\x0a\x0a", "h2"}, false, ""},
      {conf::Protocol::kSubmission, {"imap"}, false, ""},
      {conf::Protocol::kTcp, {"h2"}, true, ""},
  };
  const conf::Certificate files = Issue("a", {.dns = {"a.example"}});
  for (const AlpnCase& test : cases) {
    SCOPED_TRACE(std::string(conf::Name(test.protocol)) + " offered " + test.offer[0]);
    const auto server = Server({files}, test.protocol);
    ForeignClient client;
    const std::string wire = Wire(test.offer);
    SSL_CTX_set_alpn_protos(client.context(), reinterpret_cast<const uint8_t*>(wire.data()),
                            static_cast<unsigned>(wire.size()));
    client.Begin();
    std::string error;
    EXPECT_EQ(client.Meet(*server, &error), test.is_served) << error;
    if (!test.is_served) {
      EXPECT_THAT(error, HasSubstr("ALPN"));
    }
    const uint8_t* chosen = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(client.ssl(), &chosen, &size);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(chosen), size), test.selected);
  }
}

TEST_F(TlsContextTest, AClientWithoutAlpnIsServed) {
  const auto server = Server({Issue("a", {.dns = {"a.example"}})}, conf::Protocol::kSmtp);
  EXPECT_TRUE(Meet(*server, *Client("a.example"), "a.example").is_up);
}

// --- verification ---------------------------------------------------------------------------

class VerifyTest : public TlsTest {
 protected:
  // The verdict on a server with this certificate; empty: accepted.
  std::string Verdict(const conf::Certificate& files, const TlsClientContext& client,
                      const std::string& name) {
    const auto server = Server({files});
    const Meeting meeting = Meet(*server, client, name);
    EXPECT_NE(meeting.is_up, meeting.is_rejected) << meeting.client_error;
    return meeting.client_error;
  }
};

TEST_F(VerifyTest, AcceptsWhatIsRight) {
  const conf::Certificate files = Issue("a", {.dns = {"a.example", "*.b.example"}});
  EXPECT_EQ(Verdict(files, *Client("a.example"), "a.example"), "");
  EXPECT_EQ(Verdict(files, *Client("x.b.example"), "x.b.example"), "");
}

TEST_F(VerifyTest, SaysForWhomAWrongCertificateIs) {
  const conf::Certificate files = Issue("a", {.dns = {"a.example", "b.example"}});
  EXPECT_EQ(Verdict(files, *Client("c.example"), "c.example"),
            "name mismatch: wanted c.example, certificate is for a.example, b.example");
}

TEST_F(VerifyTest, VerifiesAddresses) {
  const conf::Certificate files = Issue("a", {.dns = {"a.example"}, .ips = {"10.0.0.1", "::1"}});
  EXPECT_EQ(Verdict(files, *Client("10.0.0.1"), "10.0.0.1"), "");
  EXPECT_EQ(Verdict(files, *Client("::1"), "::1"), "");
  EXPECT_EQ(Verdict(files, *Client("10.0.0.2"), "10.0.0.2"),
            "name mismatch: wanted 10.0.0.2, certificate is for a.example, 10.0.0.1, ::1");
}

TEST_F(VerifyTest, AnotherNameMayBeWantedThanTheHost) {
  const conf::Certificate files = Issue("a", {.dns = {"mail1.internal"}});
  conf::Verify verify;
  verify.name = "mail1.internal";
  EXPECT_EQ(Verdict(files, *Client("10.0.0.1", verify), "10.0.0.1"), "");
  EXPECT_NE(Verdict(files, *Client("10.0.0.1"), "10.0.0.1"), "");
}

TEST_F(VerifyTest, SaysSinceWhenACertificateIsExpired) {
  const conf::Certificate files = Issue("a", {.dns = {"a.example"},
                                              .not_before = -std::chrono::hours(48),
                                              .not_after = -std::chrono::hours(24)});
  EXPECT_THAT(Verdict(files, *Client("a.example"), "a.example"),
              ::testing::MatchesRegex("certificate has expired on [0-9]{4}-[0-9]{2}-[0-9]{2}"));
}

TEST_F(VerifyTest, TheInjectedClockDecidesAboutDates) {
  const conf::Certificate files =
      Issue("a", {.dns = {"a.example"}, .not_after = std::chrono::hours(24 * 10)});
  const auto client = Client("a.example", {}, SessionReuse::kNo);
  EXPECT_EQ(Verdict(files, *client, "a.example"), "");
  clock_.ahead = std::chrono::hours(24 * 11);
  EXPECT_THAT(Verdict(files, *client, "a.example"), HasSubstr("has expired on"));
  clock_.ahead = -std::chrono::hours(24 * 2);
  EXPECT_THAT(Verdict(files, *client, "a.example"), HasSubstr("is not valid before"));
}

TEST_F(VerifyTest, RefusesSelfSignedAndForeignIssuers) {
  const conf::Certificate own = Files("self", test::SelfSigned({.dns = {"a.example"}}));
  EXPECT_EQ(Verdict(own, *Client("a.example"), "a.example"),
            "certificate is self-signed and not trusted");
  const test::TestCa stranger("Strange\nCA");
  const conf::Certificate foreign = Files("foreign", stranger.Issue({.dns = {"a.example"}}));
  EXPECT_EQ(Verdict(foreign, *Client("a.example"), "a.example"),
            "certificate's issuer is not known: Strange\\x0aCA");
}

TEST_F(VerifyTest, AcceptsTheVeryCertificateThatTheCaFileHolds) {
  const test::PemPair pair = test::SelfSigned({.dns = {"a.example"}});
  conf::Verify verify;
  verify.ca = dir_.Write("pinned.pem", pair.cert);
  EXPECT_EQ(Verdict(Files("self", pair), *Client("a.example", verify), "a.example"), "");
}

TEST_F(VerifyTest, OffAcceptsAnything) {
  const conf::Certificate own = Files("self", test::SelfSigned({.dns = {"a.example"}}));
  conf::Verify verify;
  verify.off = true;
  EXPECT_EQ(Verdict(own, *Client("b.example", verify), "b.example"), "");
}

TEST_F(VerifyTest, RemembersUntilWhenTheBackendsCertificateIsValid) {
  const conf::Certificate files =
      Issue("a", {.dns = {"a.example"}, .not_after = std::chrono::hours(24 * 10)});
  const auto client = Client("a.example");
  EXPECT_FALSE(client->peer_not_after().has_value());
  EXPECT_EQ(Verdict(files, *client, "a.example"), "");
  ASSERT_TRUE(client->peer_not_after().has_value());
  const auto left = *client->peer_not_after() - clock_.WallNow();
  EXPECT_LE(left, std::chrono::hours(24 * 10));
  EXPECT_GT(left, std::chrono::hours(24 * 10 - 1));
}

TEST_F(VerifyTest, ShowsItsOwnCertificateIfThereIsOne) {
  const conf::Certificate own = Issue("client", {.common_name = "postern"});
  conf::Verify verify;
  verify.cert = own.cert;
  verify.key = own.key;
  // A server of another make that asks for one.
  const conf::Certificate files = Issue("a", {.dns = {"a.example"}});
  bssl::UniquePtr<SSL_CTX> context(SSL_CTX_new(TLS_method()));
  ASSERT_EQ(SSL_CTX_use_certificate_chain_file(context.get(), files.cert.c_str()), 1);
  ASSERT_EQ(SSL_CTX_use_PrivateKey_file(context.get(), files.key.c_str(), SSL_FILETYPE_PEM), 1);
  SSL_CTX_set_custom_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                            [](SSL*, uint8_t*) { return ssl_verify_ok; });
  for (const bool has_certificate : {true, false}) {
    bssl::UniquePtr<SSL> ssl(SSL_new(context.get()));
    BIO* in = BIO_new(BIO_s_mem());
    BIO* out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl.get(), in, out);
    SSL_set_accept_state(ssl.get());
    const auto client = Client("a.example", has_certificate ? verify : conf::Verify{});
    TlsEngine engine;
    ASSERT_TRUE(engine.Start(
        buffers_,
        {.role = io::TlsRole::kClient, .settings = client.get(), .server_name = "a.example"}));
    int result = 0;
    for (int round = 0; round < 5 && result != 1; ++round) {
      const uint8_t* data = nullptr;
      size_t size = 0;
      BIO_mem_contents(out, &data, &size);
      const std::string sent(reinterpret_cast<const char*>(data), size);
      BIO_reset(out);
      engine.Feed(sent);
      if (round < 2) (void)engine.Handshake();
      BIO_write(in, buffers_.Output().data(), static_cast<int>(buffers_.Output().size()));
      buffers_.ClearOutput();
      result = SSL_do_handshake(ssl.get());
    }
    EXPECT_EQ(result == 1, has_certificate);
  }
}

// --- resumption -----------------------------------------------------------------------------

class ResumeTest : public TlsTest {
 protected:
  void SetUp() override { files_ = Issue("a", {.dns = {"a.example"}}); }
  bool IsResumed(const TlsServerContext& server, const TlsClientContext& client) {
    const Meeting meeting = Meet(server, client, "a.example");
    EXPECT_TRUE(meeting.is_up) << meeting.client_error << meeting.server_error;
    EXPECT_EQ(meeting.client.is_resumed, meeting.server.is_resumed);
    return meeting.server.is_resumed;
  }
  conf::Certificate files_;
};

TEST_F(ResumeTest, TicketsAreGoodForAnotherContextWithTheSameKeys) {
  const auto client = Client("a.example");
  {
    const auto before = Server({files_});
    EXPECT_FALSE(IsResumed(*before, *client));
  }
  const auto after = Server({files_});  // another worker, or after a reload
  EXPECT_TRUE(IsResumed(*after, *client));
  EXPECT_TRUE(IsResumed(*after, *client));
}

TEST_F(ResumeTest, AlsoInTls12) {
  // The server's side decides: it speaks no more than the client's context offers.
  const auto server = Server({files_});
  std::string error;
  ForeignClient client;
  SSL_CTX_set_max_proto_version(client.context(), TLS1_2_VERSION);
  client.Begin();
  ASSERT_TRUE(client.Meet(*server, &error)) << error;
  bssl::UniquePtr<SSL_SESSION> session = bssl::UpRef(SSL_get_session(client.ssl()));
  client.Begin();
  SSL_set_session(client.ssl(), session.get());
  ASSERT_TRUE(client.Meet(*server, &error)) << error;
  EXPECT_TRUE(client.facts.is_resumed);
  EXPECT_EQ(client.facts.group, "");  // no key was exchanged
}

TEST_F(ResumeTest, OldKeysOpenAfterOneRotationAndNotAfterTwo) {
  const auto server = Server({files_});
  const auto once = Client("a.example");
  const auto twice = Client("a.example");
  EXPECT_FALSE(IsResumed(*server, *once));
  EXPECT_FALSE(IsResumed(*server, *twice));
  ticket_keys_->Rotate();
  EXPECT_TRUE(IsResumed(*server, *once));
  ticket_keys_->Rotate();
  EXPECT_FALSE(IsResumed(*server, *twice));
}

TEST_F(ResumeTest, TicketsOfOneProtocolAreNothingToAnother) {
  const auto imap = Server({files_}, conf::Protocol::kImap);
  const auto pop3 = Server({files_}, conf::Protocol::kPop3);
  const auto client = Client("a.example");
  EXPECT_FALSE(IsResumed(*imap, *client));
  EXPECT_FALSE(IsResumed(*pop3, *client));
}

TEST_F(ResumeTest, AProbeNeverResumes) {
  const auto server = Server({files_});
  const auto client = Client("a.example", {}, SessionReuse::kNo);
  EXPECT_FALSE(IsResumed(*server, *client));
  EXPECT_FALSE(IsResumed(*server, *client));
}

TEST_F(ResumeTest, AVerdictDoesNotOutliveTheCertificate) {
  files_ = Issue("short", {.dns = {"a.example"}, .not_after = std::chrono::minutes(10)});
  const auto server = Server({files_});
  const auto client = Client("a.example");
  EXPECT_FALSE(IsResumed(*server, *client));
  clock_.ahead = std::chrono::minutes(11);
  const Meeting meeting = Meet(*server, *client, "a.example");
  EXPECT_TRUE(meeting.is_rejected);
}

TEST_F(ResumeTest, ASessionMayOutliveItsSettings) {
  auto server = Server({files_});
  auto client = Client("a.example");
  EXPECT_FALSE(IsResumed(*server, *client));
  server.reset();
  client.reset();
  // Data still goes both ways, and whatever the library calls back finds its state.
  ASSERT_TRUE(server_.Write("after the reload"));
  std::string cipher(buffers_.Output());
  buffers_.ClearOutput();
  client_.Feed(cipher);
  base::ByteView plain;
  EXPECT_EQ(client_.Read(&plain), TlsEngine::Status::kOk);
  EXPECT_EQ(plain, "after the reload");
}

}  // namespace
}  // namespace postern::tls
