// ticket_keys_test: key files and rotation.
// SPDX-License-Identifier: Apache-2.0
#include "lb/tls/ticket_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "lb/base/base64.h"
#include "lb/tls/cert_info.h"
#include "test/support/tls/certificates.h"

namespace postern::tls {
namespace {

using ::testing::HasSubstr;

std::string Line(char byte) {
  return base::Base64Encode(std::string(80, byte)) + "\n";
}

class TicketKeysTest : public ::testing::Test {
 protected:
  test::TempDir dir_;
};

TEST_F(TicketKeysTest, ReadsOneKeyALineInOrder) {
  const auto set =
      TicketKeys::ReadFile(dir_.Write("keys", "# of today\n" + Line('a') + "\n" + Line('b')));
  ASSERT_TRUE(set.ok()) << set.error();
  ASSERT_EQ((*set)->keys.size(), 2u);
  EXPECT_EQ((*set)->keys[0].name[0], 'a');
  EXPECT_EQ((*set)->keys[1].aes[31], 'b');
}

TEST_F(TicketKeysTest, SaysWhichLineIsWrong) {
  const struct {
    std::string text;
    const char* error;
  } kCases[] = {
      {Line('a') + "nonsense\n", "line 2 is not a base64 key of 80 bytes"},
      {base::Base64Encode(std::string(48, 'x')), "line 1 is not a base64 key of 80 bytes"},
      {"# nothing\n\n", "holds no key"},
  };
  for (const auto& test : kCases) {
    const std::string path = dir_.Write("keys", test.text);
    const std::optional<std::string> error = CheckTicketKeys(path);
    ASSERT_TRUE(error.has_value());
    EXPECT_THAT(*error, HasSubstr(test.error));
    EXPECT_THAT(*error, HasSubstr(path));
  }
  EXPECT_THAT(CheckTicketKeys(dir_.path() + "/none").value_or(""), HasSubstr("No such file"));
  EXPECT_FALSE(CheckTicketKeys(dir_.Write("keys", Line('a'))).has_value());
}

TEST_F(TicketKeysTest, RotationKeepsTheNewestOldKey) {
  TicketKeys keys;
  const auto first = keys.Current();
  ASSERT_EQ(first->keys.size(), 1u);
  keys.Rotate();
  const auto second = keys.Current();
  ASSERT_EQ(second->keys.size(), 2u);
  EXPECT_EQ(second->keys[1].name, first->keys[0].name);
  EXPECT_NE(second->keys[0].name, first->keys[0].name);
  keys.Rotate();
  EXPECT_EQ(keys.Current()->keys.size(), 2u);
}

TEST_F(TicketKeysTest, MayBeReplacedWhileOthersUseThem) {
  TicketKeys keys;
  std::atomic<bool> is_over{false};
  std::thread reader([&] {
    while (!is_over) EXPECT_FALSE(keys.Current()->keys.empty());
  });
  for (int i = 0; i < 1000; ++i) keys.Rotate();
  is_over = true;
  reader.join();
}

}  // namespace
}  // namespace postern::tls
