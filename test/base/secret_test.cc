// secret_test: the bytes are gone when the secret is, and copies are copies.
// SPDX-License-Identifier: Apache-2.0
#include "lb/base/secret.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace postern::base {
namespace {

static_assert(!std::is_convertible_v<std::string, Secret>);
static_assert(!std::is_convertible_v<Secret, std::string>);
static_assert(!std::is_convertible_v<Secret, std::string_view>);
static_assert(std::is_nothrow_move_constructible_v<Secret>);

// Long enough to be seen behind whatever the allocator writes into a free block.
const std::string kPassword = "correct horse battery staple, and then some";

template <typename T>
concept Streamable = requires(std::ostream& out, const T& value) {
  out << value;
};
static_assert(!Streamable<Secret>);

// Where a secret's bytes were. Small ones lie in pages that stay mapped, so it may be looked at.
class Place {
 public:
  explicit Place(const Secret& secret)
      : data_(secret.Reveal().data()), size_bytes_(secret.size()) {}
  [[nodiscard]] bool HasAnyOf(std::string_view word) const {
    const std::string_view bytes(data_, size_bytes_);
    return bytes.find(word) != std::string_view::npos;
  }

 private:
  const char* data_;
  size_t size_bytes_;
};

TEST(SecretTest, HoldsItsBytes) {
  const Secret secret(kPassword);
  EXPECT_EQ(secret.Reveal(), kPassword);
  EXPECT_EQ(secret.size(), kPassword.size());
  EXPECT_FALSE(secret.empty());
  EXPECT_NE(static_cast<const void*>(secret.Reveal().data()), kPassword.data());
}

TEST(SecretTest, EmptyOnes) {
  const Secret none;
  const Secret empty("");
  EXPECT_TRUE(none.empty());
  EXPECT_TRUE(empty.empty());
  EXPECT_EQ(none.Reveal(), "");
  EXPECT_EQ(none, empty);
  Secret copy(none);
  copy = empty;
  copy = Secret();
  copy.Wipe();
  EXPECT_TRUE(copy.empty());
}

TEST(SecretTest, HoldsAnyBytesOfAnySize) {
  for (const size_t size :
       {1u, 2u, 8u, 63u, 64u, 65u, 255u, 256u, 257u, 4095u, 4096u, 4097u, 100000u}) {
    std::string bytes(size, '\0');
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 7);
    const Secret secret(bytes);
    const Secret copy(secret);
    EXPECT_EQ(secret.Reveal(), bytes);
    EXPECT_EQ(copy, secret);
  }
}

TEST(SecretTest, WipeClears) {
  Secret secret(kPassword);
  const Place place(secret);
  ASSERT_TRUE(place.HasAnyOf("staple"));
  secret.Wipe();
  EXPECT_TRUE(secret.empty());
  EXPECT_EQ(secret.Reveal(), "");
  EXPECT_FALSE(place.HasAnyOf("staple"));
  EXPECT_FALSE(place.HasAnyOf("then some"));
}

TEST(SecretTest, DestructionClears) {
  std::optional<Secret> secret(std::in_place, kPassword);
  const Place place(*secret);
  secret.reset();
  EXPECT_FALSE(place.HasAnyOf("staple"));
}

TEST(SecretTest, AssignmentClearsWhatWasThere) {
  Secret copied(kPassword);
  Secret moved(kPassword);
  const Place of_copied(copied);
  const Place of_moved(moved);
  const Secret other("x");
  copied = other;
  moved = Secret("y");
  EXPECT_EQ(copied.Reveal(), "x");
  EXPECT_EQ(moved.Reveal(), "y");
  EXPECT_FALSE(of_copied.HasAnyOf("staple"));
  EXPECT_FALSE(of_moved.HasAnyOf("staple"));
}

TEST(SecretTest, CopiesAreIndependent) {
  Secret first(kPassword);
  Secret second(first);
  EXPECT_NE(first.Reveal().data(), second.Reveal().data());
  first.Wipe();
  EXPECT_EQ(second.Reveal(), kPassword);
}

TEST(SecretTest, MovesLeaveNothing) {
  Secret first(kPassword);
  const char* const data = first.Reveal().data();
  Secret second(std::move(first));
  EXPECT_EQ(second.Reveal().data(), data);
  EXPECT_TRUE(first.empty());  // NOLINT: that is the claim
  Secret third("old");
  third = std::move(second);
  EXPECT_EQ(third.Reveal(), kPassword);
  EXPECT_TRUE(second.empty());  // NOLINT: that is the claim
}

TEST(SecretTest, SelfAssignmentKeepsTheBytes) {
  Secret secret(kPassword);
  Secret& same = secret;
  secret = same;
  EXPECT_EQ(secret.Reveal(), kPassword);
  secret = std::move(same);
  EXPECT_EQ(secret.Reveal(), kPassword);
}

TEST(SecretTest, MayBeMadeFromItsOwnPart) {
  Secret secret(kPassword);
  secret = Secret(secret.Reveal().substr(8, 5));
  EXPECT_EQ(secret.Reveal(), "horse");
}

TEST(SecretTest, Compares) {
  const Secret secret(kPassword);
  EXPECT_EQ(secret, Secret(kPassword));
  EXPECT_FALSE(secret == Secret(kPassword.substr(1)));
  EXPECT_FALSE(secret == Secret());
  for (size_t i = 0; i < kPassword.size(); ++i) {
    std::string other = kPassword;
    other[i] = static_cast<char>(other[i] ^ 0x80);
    EXPECT_FALSE(secret == Secret(other)) << i;
  }
}

TEST(SecretTest, ManyAtOnceDoNotOverlap) {
  std::vector<Secret> secrets;
  for (int i = 0; i < 2000; ++i) {
    secrets.emplace_back(
        std::string(static_cast<size_t>(i % 300), static_cast<char>('a' + i % 26)));
  }
  for (int i = 0; i < 2000; i += 2) secrets[static_cast<size_t>(i)].Wipe();
  for (int i = 1; i < 2000; i += 2) {
    const std::string expected(static_cast<size_t>(i % 300), static_cast<char>('a' + i % 26));
    ASSERT_EQ(secrets[static_cast<size_t>(i)].Reveal(), expected);
  }
}

TEST(SecretTest, MayDieOnAnotherThread) {
  std::vector<Secret> secrets(200, Secret(kPassword));
  std::thread other([moved = std::move(secrets)]() mutable {
    moved.clear();
    moved.assign(100, Secret("made there"));
  });
  other.join();
  const Secret again(kPassword);
  EXPECT_EQ(again.Reveal(), kPassword);
}

TEST(WipeTest, BytesAndStrings) {
  char bytes[8] = "abcdefg";
  WipeBytes(bytes, 3);
  EXPECT_EQ(std::string_view(bytes, 8), std::string_view("\0\0\0defg\0", 8));
  WipeBytes(nullptr, 0);

  std::string text = kPassword + kPassword;
  text.resize(10);  // the rest is still there, behind the end
  const char* const data = text.data();
  const size_t capacity = text.capacity();
  ASSERT_GE(capacity, 2 * kPassword.size());
  WipeString(text);
  EXPECT_TRUE(text.empty());
  // The block still belongs to the string, so it may be looked at.
  ASSERT_EQ(text.data(), data);
  EXPECT_EQ(std::string_view(data, capacity).find("staple"), std::string_view::npos);
  std::string none;
  WipeString(none);
  EXPECT_TRUE(none.empty());
}

}  // namespace
}  // namespace postern::base
