// smtp_promise_test: what a session was told in EHLO holds as long as it lives, whatever becomes of
// the servers: an endpoint that has it, or a refusal.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "test/support/smtp_world.h"

namespace postern::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

struct Promise {
  std::string keyword;  // of EHLO
  std::string mail;     // what MAIL says that needs it
  std::string rcpt;     // likewise
  std::string refusal;  // where no server has it: for now, or of a message that cannot be changed
};
const std::vector<Promise> kPromises = {
    {"8BITMIME", " BODY=8BITMIME", "", "554 5.6.3"},
    {"SMTPUTF8", " SMTPUTF8", "", "554 5.6.7"},
    {"DSN", " RET=HDRS", "", "451 4.4.1"},
    {"DSN", "", " NOTIFY=NEVER", "451 4.4.1"},
    {"SIZE 10240000", " SIZE=5000", "", "451 4.4.1"},
};

// Servers that have all; those that are named lack the keyword, or take 1000 bytes at most.
void Prepare(SmtpWorld& world, const Promise& promise, const std::vector<int>& lacking) {
  const std::vector<std::string> all = {"PIPELINING", "SIZE 10240000", "8BITMIME", "SMTPUTF8",
                                        "DSN"};
  world.capabilities = all;
  for (int backend = 1; backend <= 2; ++backend) world.server(backend).keywords = all;
  for (const int backend : lacking) {
    std::vector<std::string>& its = world.server(backend).keywords;
    std::erase(its, promise.keyword);
    if (promise.keyword.starts_with("SIZE")) its.emplace_back("SIZE 1000");
  }
}

std::string Recipient(SmtpWorld& world, const Promise& promise) {
  EXPECT_THAT(world.Ask("MAIL FROM:<a@x.example>" + promise.mail), StartsWith("250 "));
  return world.Ask("RCPT TO:<b@y.example>" + promise.rcpt);
}

TEST(SmtpPromiseTest, IsKeptByTheEndpointThatHasIt) {
  for (const Promise& promise : kPromises) {
    SmtpWorld world;
    Prepare(world, promise, {1});
    world.Hello();
    EXPECT_THAT(Recipient(world, promise), StartsWith("250 "));
    EXPECT_THAT(world.Ask("DATA"), StartsWith("354"));
    EXPECT_THAT(world.Ask("."), StartsWith("250"));
    EXPECT_EQ(world.server(1).messages.size(), 0U) << promise.keyword;
    EXPECT_EQ(world.server(2).messages.size(), 1U) << promise.keyword;
  }
}

TEST(SmtpPromiseTest, ThatNobodyCanKeepIsRefused) {
  for (const Promise& promise : kPromises) {
    SmtpWorld world;
    Prepare(world, promise, {1, 2});
    world.Hello();
    EXPECT_THAT(Recipient(world, promise), StartsWith(promise.refusal)) << promise.keyword;
    EXPECT_THAT(world.Ask("RSET"), StartsWith("250"));
    // What asks for nothing is taken.
    EXPECT_EQ(world.Deliver(), "250 250 354 250");
    EXPECT_EQ(world.server(1).messages.size(), 1U);
  }
}

// The leg that is open says nothing about what the next message needs.
TEST(SmtpPromiseTest, IsKeptOverALegThatLacksIt) {
  for (const Promise& promise : kPromises) {
    SmtpWorld world;
    Prepare(world, promise, {1});
    world.Hello();
    EXPECT_EQ(world.Deliver(), "250 250 354 250");
    EXPECT_EQ(world.server(1).messages.size(), 1U);
    EXPECT_THAT(Recipient(world, promise), StartsWith("250 "));
    EXPECT_EQ(world.server(2).num_connections, 1) << promise.keyword;
  }
}

TEST(SmtpPromiseTest, WhatWasNotPromisedIsNotTakenWhateverTheServersHave) {
  SmtpWorld world;
  Prepare(world, {"DSN", "", "", ""}, {});
  world.capabilities = {"PIPELINING", "SIZE 1000"};
  world.Begin();
  EXPECT_THAT(world.Ask("EHLO client.example"),
              AllOf(HasSubstr("SIZE 1000"), Not(HasSubstr("DSN")), Not(HasSubstr("8BITMIME"))));
  EXPECT_THAT(world.Ask("MAIL FROM:<a@x.example> RET=HDRS"), StartsWith("555 "));
  EXPECT_THAT(world.Ask("MAIL FROM:<a@x.example> BODY=8BITMIME"), StartsWith("555 "));
  EXPECT_THAT(world.Ask("MAIL FROM:<a@x.example> SIZE=1001"), StartsWith("552 "));
  EXPECT_EQ(world.server(1).num_connections, 0);
}

}  // namespace
}  // namespace postern::test
