// showq_test: messages counted in what Postfix's showq says.
// SPDX-License-Identifier: Apache-2.0
#include "health/showq.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace postern::health {
namespace {

using Status = Showq::Status;
using namespace std::string_literals;  // NOLINT: literals only

const std::string kHello = "protocol\0mail_queue_list_protocol\0\0"s;

std::string Attribute(std::string_view name, std::string_view value) {
  return std::string(name) + '\0' + std::string(value) + '\0';
}
std::string Message(std::string_view queue, std::string_view why = "") {
  return Attribute("queue_name", queue) + Attribute("queue_id", "4Zx0Qk1n6Xz1yZ") +
         Attribute("time", "1795500000") + Attribute("size", "321") +
         Attribute("forced_expire", "0") + Attribute("sender", "a@example.com") +
         Attribute("original_recipient", "b@example.net") +
         Attribute("recipient", "b@example.net") + Attribute("reason", why) + '\0';
}
const std::string kEnd(1, '\0');

struct Outcome {
  Status status;
  uint64_t count;
  std::string error;
  bool operator==(const Outcome&) const = default;
};

// The same whole and byte by byte.
Outcome Read(std::string_view bytes,
             const std::vector<std::string>& queues = {"incoming", "active"}) {
  Showq whole(queues), cut(queues);
  whole.Feed(bytes);
  for (const char& byte : bytes) cut.Feed({&byte, 1});
  const Outcome outcome{whole.status(), whole.count(), whole.error()};
  EXPECT_EQ(cut.status(), outcome.status);
  EXPECT_EQ(cut.count(), outcome.count);
  return outcome;
}

TEST(ShowqTest, AnEmptyQueueIsNought) {
  EXPECT_EQ(Read(kHello + kEnd), (Outcome{Status::kDone, 0, ""}));
}

TEST(ShowqTest, PostfixBefore36DoesNotNameTheProtocol) {
  EXPECT_EQ(Read(kEnd), (Outcome{Status::kDone, 0, ""}));
  EXPECT_EQ(Read(Message("active") + kEnd), (Outcome{Status::kDone, 1, ""}));
}

TEST(ShowqTest, CountsTheQueuesThatAreWanted) {
  const std::string list = kHello + Message("maildrop") + Message("active") + Message("active") +
                           Message("incoming") + Message("deferred", "timed out") +
                           Message("hold") + Message("hold") + kEnd;
  const auto count = [&list](const std::vector<std::string>& queues) {
    const Outcome outcome = Read(list, queues);
    EXPECT_EQ(outcome.status, Status::kDone);
    return outcome.count;
  };
  EXPECT_EQ(count({"incoming", "active"}), 3u);
  EXPECT_EQ(count({"active"}), 2u);
  EXPECT_EQ(count({"incoming"}), 1u);
  EXPECT_EQ(count({"maildrop"}), 1u);
  EXPECT_EQ(count({"deferred"}), 1u);
  EXPECT_EQ(count({"hold"}), 2u);
  EXPECT_EQ(count({"incoming", "active", "deferred", "hold", "maildrop"}), 7u);
}

TEST(ShowqTest, WhatCannotMatterAnyMoreIsNotWaitedFor) {
  // The list is not at its end: a million deferred messages may follow.
  EXPECT_EQ(Read(kHello + Message("active") + Message("deferred")),
            (Outcome{Status::kDone, 1, ""}));
  EXPECT_EQ(Read(kHello + Message("active") + Message("incoming")).status, Status::kMore);
}

TEST(ShowqTest, AMessageMayHaveManyRecipientsAndAttributesOfLaterVersions) {
  std::string message = Message("active");
  message.pop_back();
  for (int i = 0; i < 100; ++i)
    message += Attribute("original_recipient", "") + Attribute("recipient", "c@example.net") +
               Attribute("queue_name", "hold") + Attribute("log_class", "defer");
  EXPECT_EQ(Read(kHello + message + kEnd + kEnd), (Outcome{Status::kDone, 1, ""}));
}

TEST(ShowqTest, AQueueThatIsNotKnownIsNotWanted) {
  EXPECT_EQ(Read(kHello + Message("deferring") + Message("active") + kEnd),
            (Outcome{Status::kDone, 1, ""}));
}

TEST(ShowqTest, CutOffIsNotDone) {
  const std::string list = kHello + Message("active") + Message("incoming");
  for (size_t size = 0; size < list.size(); ++size)
    ASSERT_EQ(Read(std::string_view(list).substr(0, size)).status, Status::kMore) << size;
}

TEST(ShowqTest, OthersAreToldApart) {
  EXPECT_EQ(Read("Mail queue is empty\n").error,
            "this is not Postfix's showq: Mail queue is empty\\x0a");
  EXPECT_EQ(Read("220 mail ESMTP\r\n").status, Status::kBroken);
  EXPECT_EQ(Read("protocol\0delivery_request_protocol\0\0"s).error,
            "it speaks another protocol: delivery_request_protocol");
  EXPECT_EQ(Read("status\0000\0\0"s).error, "this is not Postfix's showq: it begins with status");
  EXPECT_EQ(Read(kHello + "queue_id\0ABC\0"s).status, Status::kBroken);
}

TEST(ShowqTest, ATokenWithoutEndIsBroken) {
  Showq showq({"active"});
  const std::string piece(10000, 'x');
  int num_pieces = 0;
  while (showq.Feed(piece) == Status::kMore) ASSERT_LT(++num_pieces, 100);
  EXPECT_EQ(showq.error(), "no end of an attribute");
}

TEST(ShowqTest, AfterTheEndNothingChanges) {
  Showq showq({"active"});
  showq.Feed(kHello + Message("active") + kEnd + Message("active"));
  EXPECT_EQ(showq.status(), Status::kDone);
  showq.Feed(Message("active"));
  EXPECT_EQ(showq.count(), 1u);
}

}  // namespace
}  // namespace postern::health
