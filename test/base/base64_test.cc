// base64_test: the vectors of RFC 4648 10, and everything that is nearly base64.
// SPDX-License-Identifier: Apache-2.0
#include "lb/base/base64.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "lb/base/rng.h"

namespace postern::base {
namespace {

using std::string_view_literals::operator""sv;

TEST(Base64Test, KnownTexts) {
  struct {
    std::string_view bytes, text;
  } const kRows[] = {
      {"", ""},
      {"f", "Zg=="},
      {"fo", "Zm8="},
      {"foo", "Zm9v"},
      {"foob", "Zm9vYg=="},
      {"fooba", "Zm9vYmE="},
      {"foobar", "Zm9vYmFy"},
      {"\0alice\0secret"sv, "AGFsaWNlAHNlY3JldA=="},
      {"\xff\xff\xff"sv, "////"},
      {"\xfb\xef\xbe"sv, "++++"},
      {"\0\0\0"sv, "AAAA"},
      {"\0"sv, "AA=="},
      {"\xff"sv, "/w=="},
  };
  for (const auto& row : kRows) {
    EXPECT_EQ(Base64Encode(row.bytes), row.text);
    EXPECT_EQ(Base64Decode(row.text), std::string(row.bytes)) << row.text;
  }
}

TEST(Base64Test, RefusesWhatItWouldNotHaveMade) {
  const std::string_view kRows[] = {
      // Wrong sizes and padding.
      "Z",
      "Zg",
      "Zg=",
      "Zm9",
      "Zm9vY",
      "=",
      "==",
      "===",
      "====",
      "Z===",
      "=Zg=",
      "Zg==Zg==",
      "Zg==Zm9v",
      "Zm=v",
      "Zm9v=",
      "Zm9v====",
      "Z=g=",
      // Bits behind the last byte.
      "Zh==",
      "Zn==",
      "Zv==",
      "Zx==",
      "Zm9=",
      "Zm+=",
      "Zm/=",
      // Other characters.
      " Zg==",
      "Zg== ",
      "Zg==\r\n",
      "Zm9v\r\nYmFy",
      "Zm9v\nYmF",
      "Zm-v",
      "Zm_v",
      "Zm.v",
      "Zm9\0"sv,
      "\0\0\0\0"sv,
      "Zm9\xc3"sv,
      "*",
      "****",
  };
  for (const auto row : kRows) EXPECT_FALSE(Base64Decode(row)) << row;
}

// Every text of four characters of the alphabet with padding is either exact or refused.
TEST(Base64Test, PaddedTextsAreOneToOne) {
  const std::string_view alphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  int num_accepted = 0;
  for (const char a : alphabet) {
    for (const char b : alphabet) {
      const std::string text = {a, b, '=', '='};
      const auto bytes = Base64Decode(text);
      if (!bytes) continue;
      ++num_accepted;
      ASSERT_EQ(Base64Encode(*bytes), text);
    }
  }
  EXPECT_EQ(num_accepted, 256);
}

TEST(Base64Test, EveryByteInEveryPlace) {
  for (int value = 0; value < 256; ++value) {
    for (size_t place = 0; place < 3; ++place) {
      for (size_t size = place + 1; size <= 3; ++size) {
        std::string bytes(size, 'x');
        bytes[place] = static_cast<char>(value);
        ASSERT_EQ(Base64Decode(Base64Encode(bytes)), bytes) << value;
      }
    }
  }
}

TEST(Base64Test, RoundTripsAndAcceptsNothingElse) {
  SeededRng rng(3);
  for (int i = 0; i < 2000; ++i) {
    std::string bytes(rng.Below(50), '\0');
    for (char& c : bytes) c = static_cast<char>(rng.Below(256));
    std::string text = Base64Encode(bytes);
    ASSERT_EQ(Base64Decode(text), bytes);
    if (text.empty()) continue;
    text[rng.Below(text.size())] = static_cast<char>(rng.Below(256));
    const auto other = Base64Decode(text);
    if (other) {
      ASSERT_EQ(Base64Encode(*other), text);
    }
  }
}

}  // namespace
}  // namespace postern::base
