// cert_info_test: what is said of files before they are used.
// SPDX-License-Identifier: Apache-2.0
#include "lb/tls/cert_info.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "lb/tls/tls_library.h"
#include "test/support/tls/certificates.h"
#include "test/tls/tls_fixture.h"

namespace postern::tls {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Optional;

class CertInfoTest : public ::testing::Test {
 protected:
  std::optional<std::string> Check(const std::string& cert, const std::string& key) {
    return CheckPair(dir_.Write("cert", cert), dir_.Write("key", key));
  }
  std::optional<std::string> CheckDates(const test::PemPair& pair) {
    return CheckValidity(dir_.Write("cert", pair.cert), clock_);
  }
  test::TempDir dir_;
  FixedClock clock_;
  test::TestCa ca_;
  test::PemPair good_ = ca_.Issue({.dns = {"a.example"}});
};

TEST_F(CertInfoTest, AGoodPairIsGood) {
  for (const test::KeyKind kind :
       {test::KeyKind::kP256, test::KeyKind::kP384, test::KeyKind::kRsa2048}) {
    const test::PemPair pair = ca_.Issue({.dns = {"a.example"}, .key = kind});
    EXPECT_EQ(Check(pair.cert, pair.key), std::nullopt);
    EXPECT_EQ(Check(pair.cert + ca_.pem(), pair.key), std::nullopt);
    EXPECT_EQ(Check(pair.key + pair.cert, pair.key + pair.cert), std::nullopt);  // one file
  }
}

TEST_F(CertInfoTest, SaysWhatIsWrongWithAPair) {
  const test::PemPair other = ca_.Issue({.dns = {"b.example"}});
  const test::PemPair odd = ca_.Issue({.key = test::KeyKind::kEd25519});
  std::string damaged = good_.cert;
  damaged[100] = damaged[100] == 'A' ? 'B' : 'A';
  damaged[101] = '!';
  const struct {
    std::string cert;
    std::string key;
    const char* error;
  } kCases[] = {
      {"hello", good_.key, "holds no certificate in PEM form"},
      {"", good_.key, "holds no certificate in PEM form"},
      {damaged, good_.key, "certificate 1 in the file is damaged"},
      {good_.cert + damaged, good_.key, "certificate 2 in the file is damaged"},
      {good_.cert, "hello", "holds no private key in PEM form"},
      {good_.cert, good_.cert, "holds no private key in PEM form"},
      {good_.cert, test::Encrypted(good_.key, "pass"), "the key is encrypted"},
      {good_.cert, other.key, "is not the key of"},
      {ca_.pem() + good_.cert, good_.key, "the server's own certificate must come first"},
      {odd.cert, odd.key, "only RSA, P-256, P-384 and P-521 keys"},
  };
  for (const auto& test : kCases) {
    SCOPED_TRACE(test.error);
    EXPECT_THAT(Check(test.cert, test.key), Optional(HasSubstr(test.error)));
  }
}

TEST_F(CertInfoTest, SaysWhatCannotBeRead) {
  const std::string key = dir_.Write("key", good_.key);
  EXPECT_THAT(CheckPair(dir_.path() + "/none", key),
              Optional(MatchesRegex("cannot read .*/none: No such file or directory")));
  EXPECT_THAT(CheckPair(dir_.path(), key), Optional(HasSubstr("is not a file")));
}

TEST_F(CertInfoTest, JudgesTheDates) {
  EXPECT_EQ(CheckDates(good_), std::nullopt);
  clock_.ahead = std::chrono::hours(24 * 31);
  EXPECT_THAT(CheckDates(good_),
              Optional(MatchesRegex(".*has expired on [0-9]{4}-[0-9]{2}-[0-9]{2}")));
  clock_.ahead = -std::chrono::hours(24 * 2);
  EXPECT_THAT(CheckDates(good_),
              Optional(MatchesRegex(".*is not valid before [0-9]{4}-[0-9]{2}-[0-9]{2}")));
}

TEST_F(CertInfoTest, TellsNamesAndDates) {
  const test::PemPair pair =
      ca_.Issue({.dns = {"A.example", "*.b.example"}, .ips = {"10.0.0.1", "2001:db8::1"}});
  const auto info = ReadCertificateInfo(dir_.Write("cert", pair.cert));
  ASSERT_TRUE(info.ok()) << info.error();
  EXPECT_THAT(info->names, ElementsAre("a.example", "*.b.example", "10.0.0.1", "2001:db8::1"));
  const auto now = clock_.WallNow();
  EXPECT_LT(info->not_before, now - std::chrono::hours(23));
  EXPECT_GT(info->not_before, now - std::chrono::hours(25));
  EXPECT_GT(info->not_after, now + std::chrono::hours(24 * 29));
}

TEST_F(CertInfoTest, ACommonNameCountsWhereThereIsNoOther) {
  const test::PemPair pair = ca_.Issue({.common_name = "Old.Example"});
  const auto info = ReadCertificateInfo(dir_.Write("cert", pair.cert));
  ASSERT_TRUE(info.ok());
  EXPECT_THAT(info->names, ElementsAre("old.example"));
}

TEST_F(CertInfoTest, ADateBeyondTheClockIsNeverInThePast) {
  const test::PemPair pair =
      ca_.Issue({.dns = {"a.example"}, .not_after = std::chrono::hours(24 * 365 * 2000L)});
  EXPECT_EQ(CheckDates(pair), std::nullopt);
}

TEST_F(CertInfoTest, ChecksCaFiles) {
  EXPECT_EQ(CheckCaFile(dir_.Write("ca", ca_.pem() + ca_.pem())), std::nullopt);
  EXPECT_THAT(CheckCaFile(dir_.Write("ca", "hello")), Optional(HasSubstr("holds no certificate")));
  EXPECT_THAT(CheckCaFile(dir_.path() + "/none"), Optional(HasSubstr("cannot read")));
}

TEST_F(CertInfoTest, TrustStoresAreSharedByPath) {
  TrustStores stores;
  const std::string path = dir_.Write("ca", ca_.pem());
  const auto first = stores.Get(path);
  const auto second = stores.Get(path);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(*first, *second);
  EXPECT_FALSE(stores.Get(dir_.path() + "/none").ok());
}

TEST(TlsLibraryTest, NamesItselfAndItsGroups) {
  EXPECT_THAT(LibraryName(), ::testing::StartsWith("BoringSSL API "));
  EXPECT_TRUE(KnowsGroup("X25519"));
  EXPECT_THAT(GroupsInUse({"P-384", "X448", "X25519"}), ElementsAre("P-384", "X25519"));
  EXPECT_THAT(GroupsInUse({}), ::testing::Contains("X25519"));
  EXPECT_TRUE(KnowsGroup("P-256"));
  EXPECT_EQ(KnowsGroup("X25519MLKEM768"), HasMlkem());
  EXPECT_FALSE(KnowsGroup("CECPQ2"));
  EXPECT_FALSE(KnowsGroup("P-224"));
  EXPECT_FALSE(KnowsGroup("X25519:P-256"));
  EXPECT_FALSE(KnowsGroup("nonsense"));
  EXPECT_FALSE(KnowsGroup(""));
}

}  // namespace
}  // namespace postern::tls
