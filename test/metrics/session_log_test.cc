// session_log_test: lines of sessions and transactions.
// SPDX-License-Identifier: Apache-2.0
#include "metrics/session_log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace postern::metrics {
namespace {

class SessionLogTest : public testing::Test {
 protected:
  SessionLogTest()
      : path_(std::filesystem::temp_directory_path() /
              ("session_log_test." + std::to_string(getpid()))) {}
  ~SessionLogTest() override {
    std::filesystem::remove(path_);
    std::filesystem::remove(path_.string() + ".1");
  }
  static std::string Read(const std::filesystem::path& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
  std::filesystem::path path_;
  SessionLog log_;
};

SessionAccount MakeAccount() {
  SessionAccount account;
  account.session = 0xabc;
  account.listener = "imaps";
  account.client = *base::SocketAddress::Parse("192.0.2.1:4000");
  account.user = "al\"ice\r\n";
  account.phases_ms[static_cast<size_t>(base::Phase::kLogin)] = 12.5;
  account.cause = {base::SessionResult::kClientQuit, base::Side::kFront, base::Phase::kRelay, ""};
  return account;
}

TEST_F(SessionLogTest, OneLineASessionWithPeersTextEscaped) {
  ASSERT_EQ(log_.Open(path_, base::log::Format::kJson), "");
  SessionLogWriter writer(log_);
  writer.OnSession(MakeAccount());
  writer.Flush();
  EXPECT_EQ(Read(path_),
            R"({"time":"1970-01-01T00:00:00.000Z","event":"session","session":"0000000000000abc",)"
            R"("transaction":0,"listener":"imaps","protocol":"imap","client":"192.0.2.1:4000",)"
            R"("user":"al\"ice\u000d\u000a","tls_version":"","tls_cipher":"","tls_group":"",)"
            R"("backend":"","why":"","phases_ms":{"login":12.500},"bytes_in":0,"bytes_out":0,)"
            R"("commands":0,"result":"client_quit","phase":"relay","side":"front"})"
            "\n");
}

TransactionAccount MakeTransaction() {
  TransactionAccount account;
  account.session = 0xabc;
  account.transaction = 2;
  account.listener = "mx";
  account.client = *base::SocketAddress::Parse("192.0.2.1:4000");
  account.tls_version = "TLSv1.3";
  account.tls_cipher = "TLS_AES_128_GCM_SHA256";
  account.tls_group = "X25519";
  account.backend = "mail1";
  account.to = {"a@example.com", "b@example.com"};
  account.size = 7;
  account.reply = "250 2.0.0 Ok: queued as Q1";
  account.queue_id = "Q1";
  account.phases_ms[static_cast<size_t>(base::Phase::kConnect)] = 1.25;
  account.phases_ms[static_cast<size_t>(base::Phase::kMail)] = 0.5;
  account.bytes_in = 100;
  account.bytes_out = 50;
  account.commands = 4;
  account.cause = {base::SessionResult::kClientQuit, base::Side::kNone, base::Phase::kData, ""};
  return account;
}

TEST_F(SessionLogTest, OneLineATransaction) {
  ASSERT_EQ(log_.Open(path_, base::log::Format::kJson), "");
  SessionLogWriter writer(log_);
  writer.OnTransaction(MakeTransaction());
  writer.Flush();
  EXPECT_EQ(Read(path_),
            R"({"time":"1970-01-01T00:00:00.000Z","event":"transaction",)"
            R"("session":"0000000000000abc","transaction":2,"listener":"mx","protocol":"smtp",)"
            R"("client":"192.0.2.1:4000","user":"","tls_version":"TLSv1.3",)"
            R"("tls_cipher":"TLS_AES_128_GCM_SHA256","tls_group":"X25519","backend":"mail1",)"
            R"("why":"","from":"<>","to":["a@example.com","b@example.com"],"size":7,)"
            R"("reply":"250 2.0.0 Ok: queued as Q1","queue_id":"Q1",)"
            R"("phases_ms":{"connect":1.250,"mail":0.500},"bytes_in":100,"bytes_out":50,)"
            R"("commands":4,"result":"client_quit","phase":"data","side":"none"})"
            "\n");
}

TEST_F(SessionLogTest, NamesThoseWhomLmtpRefused) {
  ASSERT_EQ(log_.Open(path_, base::log::Format::kJson), "");
  SessionLogWriter writer(log_);
  TransactionAccount account = MakeTransaction();
  account.refused = {"b@example.com"};
  writer.OnTransaction(account);
  writer.Flush();
  EXPECT_THAT(Read(path_), testing::HasSubstr(R"(],"refused":["b@example.com"],"size":7)"));
}

TEST_F(SessionLogTest, LogfmtHasNothingNested) {
  ASSERT_EQ(log_.Open(path_, base::log::Format::kLogfmt), "");
  SessionLogWriter writer(log_);
  writer.OnTransaction(MakeTransaction());
  writer.Flush();
  EXPECT_EQ(Read(path_),
            R"(time="1970-01-01T00:00:00.000Z" event="transaction" session="0000000000000abc")"
            R"( transaction=2 listener="mx" protocol="smtp" client="192.0.2.1:4000" user="")"
            R"( tls_version="TLSv1.3" tls_cipher="TLS_AES_128_GCM_SHA256" tls_group="X25519")"
            R"( backend="mail1" why="" from="<>" to="a@example.com,b@example.com" size=7)"
            R"( reply="250 2.0.0 Ok: queued as Q1" queue_id="Q1" phases_ms.connect=1.250)"
            R"( phases_ms.mail=0.500 bytes_in=100 bytes_out=50 commands=4 result="client_quit")"
            R"( phase="data" side="none")"
            "\n");
}

TEST_F(SessionLogTest, ReopenFollowsARotation) {
  ASSERT_EQ(log_.Open(path_, base::log::Format::kLogfmt), "");
  SessionLogWriter writer(log_);
  writer.OnSession(MakeAccount());
  writer.Flush();
  std::filesystem::rename(path_, path_.string() + ".1");
  ASSERT_EQ(log_.Reopen(), "");
  writer.OnSession(MakeAccount());
  writer.Flush();
  EXPECT_EQ(Read(path_), Read(path_.string() + ".1"));
}

TEST_F(SessionLogTest, AnUnwritablePathIsAnErrorAndKeepsTheOld) {
  ASSERT_EQ(log_.Open(path_, base::log::Format::kJson), "");
  EXPECT_NE(log_.Open("/nonexistent/folder/log", base::log::Format::kJson), "");
  SessionLogWriter writer(log_);
  writer.OnSession(MakeAccount());
  writer.Flush();
  EXPECT_FALSE(Read(path_).empty());
}

TEST_F(SessionLogTest, AFullPipeLosesLinesAndNeverBlocks) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  const int reader = open(path_.c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  ASSERT_EQ(log_.Open(path_, base::log::Format::kJson), "");
  SessionLogWriter writer(log_);
  for (int i = 0; i < 2000; ++i) {
    writer.OnSession(MakeAccount());
    writer.Flush();
  }
  EXPECT_GT(log_.num_dropped(), 0U);
  EXPECT_LT(log_.num_dropped(), 2000U);
  close(reader);
}

TEST_F(SessionLogTest, TheFirstLineThatWaitsAsksForAFlush) {
  ASSERT_EQ(log_.Open(path_, base::log::Format::kJson), "");
  int num_asked = 0;
  SessionLogWriter writer(log_, [&] { ++num_asked; });
  writer.OnTransaction(TransactionAccount());
  writer.OnSession(MakeAccount());
  EXPECT_EQ(num_asked, 1);
  writer.Flush();
  writer.OnTransaction(TransactionAccount());
  EXPECT_EQ(num_asked, 2);
}

TEST_F(SessionLogTest, OffWritesNothing) {
  ASSERT_EQ(log_.Open("off", base::log::Format::kJson), "");
  EXPECT_TRUE(log_.is_off());
}

}  // namespace
}  // namespace postern::metrics
