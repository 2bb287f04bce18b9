// exclusive_session_test: in an exclusive pool a user is on one member at a time.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "test/support/mail_world.h"

namespace postern::test {
namespace {

using conf::Protocol;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;
using Fault = ScriptedBackend::Fault;

class ExclusiveTest : public testing::Test {
 protected:
  ExclusiveTest() { world_.config.pools[0].storage = conf::Storage::kExclusive; }
  void Begin() {
    world_.Begin();
    ASSERT_THAT(world_.Read(), StartsWith("* OK "));
  }
  // As another session of alice's holds her.
  void HoldAt(const std::string& backend) {
    other_ = world_.held_users.Take("p", "alice", backend);
  }
  std::string Holder() { return world_.held_users.HolderOf("p", "alice"); }

  MailWorld world_{Protocol::kImap};
  std::unique_ptr<balance::Pins::Pin> other_;
};

TEST_F(ExclusiveTest, ASessionHoldsItsUserToItsEnd) {
  Begin();
  EXPECT_THAT(world_.LogIn(), HasSubstr(" OK "));
  EXPECT_EQ(Holder(), "b1");
  (void)world_.Ask("c LOGOUT");
  world_.Settle();
  EXPECT_EQ(Holder(), "");
}

TEST_F(ExclusiveTest, TheNextSessionGoesWhereTheUserIs) {
  HoldAt("b2");
  Begin();
  EXPECT_THAT(world_.LogIn(), HasSubstr(" OK "));
  EXPECT_THAT(world_.b1->logins, IsEmpty());
  EXPECT_THAT(world_.b2->logins, ElementsAre("alice"));
  world_.ResetClient();
  world_.Settle();
  EXPECT_EQ(Holder(), "b2");  // the other one is still there
}

TEST_F(ExclusiveTest, OthersGoAnywhere) {
  HoldAt("b2");
  Begin();
  EXPECT_THAT(world_.LogIn("bob", "hunter2"), HasSubstr(" OK "));
  EXPECT_THAT(world_.b1->logins, ElementsAre("bob"));
}

TEST_F(ExclusiveTest, AMemberThatRefusesButIsNotDownKeepsItsUsers) {
  HoldAt("b2");
  world_.b2->fault = Fault::kBusy;
  Begin();
  EXPECT_THAT(world_.LogIn(), HasSubstr("[UNAVAILABLE]"));
  EXPECT_THAT(world_.b1->logins, IsEmpty());
}

TEST_F(ExclusiveTest, AMemberThatIsDownHoldsNobody) {
  HoldAt("b2");
  Begin();
  const_cast<balance::EndpointState&>(world_.state(1)).health = balance::Health::kDown;
  EXPECT_THAT(world_.LogIn(), HasSubstr(" OK "));
  EXPECT_THAT(world_.b1->logins, ElementsAre("alice"));
  EXPECT_EQ(Holder(), "b1");
  other_.reset();
  EXPECT_EQ(Holder(), "b1");
}

TEST_F(ExclusiveTest, ADrainingMemberKeepsThoseItHas) {
  HoldAt("b2");
  Begin();
  const_cast<balance::EndpointState&>(world_.state(1)).admin = balance::AdminState::kDrain;
  EXPECT_THAT(world_.LogIn(), HasSubstr(" OK "));
  EXPECT_THAT(world_.b2->logins, ElementsAre("alice"));
}

TEST_F(ExclusiveTest, WhoIsNowhereGoesOnToTheNextMember) {
  world_.b1->fault = Fault::kBusy;
  Begin();
  EXPECT_THAT(world_.LogIn(), HasSubstr(" OK "));
  EXPECT_EQ(Holder(), "b2");
}

TEST_F(ExclusiveTest, ALoginThatWasSentIsTriedNowhereElse) {
  world_.b1->fault = Fault::kHang;
  world_.b1->fault_at = 1;  // the login's answer
  Begin();
  (void)world_.Ask("a LOGIN alice secret");
  world_.Wait(seconds(25));
  EXPECT_THAT(world_.Read(), HasSubstr("[UNAVAILABLE]"));
  EXPECT_THAT(world_.b2->logins, IsEmpty());
  EXPECT_EQ(Holder(), "");
}

TEST_F(ExclusiveTest, ARefusedLoginHoldsNobody) {
  Begin();
  (void)world_.Ask("a LOGIN alice wrong");
  world_.Wait(seconds(3));
  EXPECT_THAT(world_.Read(), HasSubstr("AUTHENTICATIONFAILED"));
  EXPECT_EQ(Holder(), "");
}

}  // namespace
}  // namespace postern::test
