// tcp_listener_test: accepting on real loopback sockets, plenty and shortage.
// SPDX-License-Identifier: Apache-2.0
#include "lb/net/tcp_listener.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "test/net/loop_fixture.h"

namespace postern::net {
namespace {

OwnedFd Connect(const base::SocketAddress& address) {
  OwnedFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage{};
  const unsigned size = address.ToSockaddr(&storage);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), size) != 0) return OwnedFd();
  return fd;
}

class TcpListenerTest : public LoopTest {
 protected:
  std::unique_ptr<TcpListener> Listen(OwnedFd fd) {
    return std::make_unique<TcpListener>(loop_, std::move(fd),
                                         [this](OwnedFd accepted, const base::SocketAddress& peer) {
                                           accepted_.push_back(std::move(accepted));
                                           peers_.push_back(peer);
                                         });
  }
  std::unique_ptr<TcpListener> Listen() {
    auto sockets = BindAll(Loopback(), 1);
    EXPECT_TRUE(sockets.ok());
    return Listen(std::move(sockets.value()[0]));
  }

  std::vector<OwnedFd> accepted_;
  std::vector<base::SocketAddress> peers_;
};

TEST_F(TcpListenerTest, TellsTheRealPortAndThePeer) {
  const auto listener = Listen();
  EXPECT_TRUE(listener->is_listening());
  EXPECT_NE(listener->address().port, 0);
  const OwnedFd client = Connect(listener->address());
  Until([&] { return accepted_.size() == 1; });
  EXPECT_EQ(peers_[0], LocalAddressOf(client.get()));
}

TEST_F(TcpListenerTest, WhoConnectsBeforeTheWorkerListensIsServed) {
  auto sockets = BindAll(Loopback(), 1);
  ASSERT_TRUE(sockets.ok());
  const base::SocketAddress address = LocalAddressOf(sockets.value()[0].get());
  EXPECT_FALSE(Connect(address).valid());
  ASSERT_TRUE(ListenAll(sockets.value()));
  const OwnedFd client = Connect(address);
  EXPECT_TRUE(client.valid());
  const auto listener = Listen(std::move(sockets.value()[0]));
  Until([&] { return accepted_.size() == 1; });
  EXPECT_EQ(peers_[0], LocalAddressOf(client.get()));
}

TEST_F(TcpListenerTest, AcceptsManyInOneWakeup) {
  const auto listener = Listen();
  std::vector<OwnedFd> clients;
  for (int i = 0; i < 50; ++i) clients.push_back(Connect(listener->address()));
  loop_.RunOnce();
  EXPECT_EQ(accepted_.size(), 50u);
}

TEST_F(TcpListenerTest, SeveralWorkersShareAPortThatTheSystemChose) {
  auto sockets = BindAll(Loopback(), 4);
  ASSERT_TRUE(sockets.ok()) << sockets.error();
  std::vector<std::unique_ptr<TcpListener>> listeners;
  for (OwnedFd& fd : sockets.value()) listeners.push_back(Listen(std::move(fd)));
  for (const auto& listener : listeners) {
    EXPECT_TRUE(listener->is_listening());
    EXPECT_EQ(listener->address(), listeners[0]->address());
  }
  std::vector<OwnedFd> clients;
  for (int i = 0; i < 64; ++i) clients.push_back(Connect(listeners[0]->address()));
  Until([&] { return accepted_.size() == 64; });
}

TEST_F(TcpListenerTest, AnAddressInUseIsAnErrorThatNamesIt) {
  const auto listener = Listen();
  // Another process would not share the port; neither does a socket without SO_REUSEPORT.
  const OwnedFd other(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage{};
  unsigned size = Loopback().ToSockaddr(&storage);
  ASSERT_EQ(::bind(other.get(), reinterpret_cast<sockaddr*>(&storage), size), 0);
  ASSERT_EQ(::listen(other.get(), 1), 0);
  const base::SocketAddress taken = LocalAddressOf(other.get());
  const auto sockets = BindAll(taken, 2);
  ASSERT_FALSE(sockets.ok());
  EXPECT_THAT(sockets.error(), ::testing::HasSubstr(taken.ToString()));
}

TEST_F(TcpListenerTest, APortOfOursIsSharedOnlyWhereThatIsMeant) {
  const auto listener = Listen();
  const auto alone = BindAll(listener->address(), 2);
  ASSERT_FALSE(alone.ok());
  EXPECT_THAT(alone.error(), ::testing::HasSubstr("Address already in use"));
  EXPECT_TRUE(BindAll(listener->address(), 2, PortUse::kBeside).ok());
}

TEST_F(TcpListenerTest, WhileItIsPausedConnectionsWait) {
  const auto listener = Listen();
  listener->Pause();
  const OwnedFd client = Connect(listener->address());
  EXPECT_TRUE(client.valid());
  Settle();
  EXPECT_TRUE(accepted_.empty());
  listener->Resume();
  Until([&] { return accepted_.size() == 1; });
}

TEST_F(TcpListenerTest, DrainTakesWhatHasConnectedAlready) {
  const auto listener = Listen();
  std::vector<OwnedFd> clients;
  for (int i = 0; i < 100; ++i) clients.push_back(Connect(listener->address()));
  listener->DrainAccepts();
  listener->Close();
  EXPECT_EQ(accepted_.size(), 100u);
  EXPECT_FALSE(Connect(peers_.empty() ? Loopback(1) : LocalAddressOf(accepted_[0].get())).valid());
}

TEST_F(TcpListenerTest, AdoptsASocketThatListensAlready) {
  auto sockets = BindAll(Loopback(), 1);
  ASSERT_TRUE(sockets.ok());
  OwnedFd fd = std::move(sockets.value()[0]);
  ASSERT_EQ(::listen(fd.get(), 10), 0);
  const OwnedFd client = Connect(LocalAddressOf(fd.get()));  // of the time before
  const auto listener = Listen(std::move(fd));
  Until([&] { return accepted_.size() == 1; });
}

TEST_F(TcpListenerTest, AnotherThatListensFirstIsTold) {
  // Two may be bound to one address, as long as neither listens.
  auto first = BindAll(Loopback(), 1);
  ASSERT_TRUE(first) << first.error();
  const base::SocketAddress address = LocalAddressOf(first.value()[0].get());
  const int off = 0;
  ASSERT_EQ(::setsockopt(first.value()[0].get(), SOL_SOCKET, SO_REUSEPORT, &off, sizeof off), 0);
  const auto second = BindAll(address, 1);
  ASSERT_TRUE(second) << second.error();
  ASSERT_TRUE(ListenAll(first.value()));
  const auto listens = ListenAll(second.value());
  ASSERT_FALSE(listens);
  EXPECT_EQ(listens.error(), "cannot listen on " + address.ToString() + ": Address already in use");
}

class ShortageTest : public TcpListenerTest {
 protected:
  void SetUp() override { ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &old_), 0); }
  void TearDown() override { ::setrlimit(RLIMIT_NOFILE, &old_); }
  // No descriptor more than there are.
  void Exhaust() {
    const int next = ::dup(0);
    ::close(next);
    rlimit tight = old_;
    tight.rlim_cur = static_cast<rlim_t>(next);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  }
  void Relieve() { ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &old_), 0); }

  rlimit old_{};
};

TEST_F(ShortageTest, RestsWithoutSpinningAndGoesOnByItself) {
  const auto listener = Listen();
  std::vector<bool> reports;
  listener->SetOnShortage([&](bool is_short) { reports.push_back(is_short); });
  const OwnedFd client = Connect(listener->address());
  Exhaust();
  loop_.RunOnce();
  EXPECT_TRUE(accepted_.empty());
  ASSERT_EQ(reports, std::vector<bool>{true});
  // The socket is readable still, and yet nothing but the timer wakes the loop.
  int num_rounds = 0;
  loop_.Post([&] { ++num_rounds; });
  loop_.RunOnce();
  EXPECT_EQ(num_rounds, 1);
  EXPECT_EQ(reports.size(), 1u);
  Relieve();
  Until([&] { return accepted_.size() == 1; });
  EXPECT_EQ(reports, (std::vector<bool>{true, false}));
}

TEST_F(ShortageTest, GivesADescriptorToTheSessionsThatRun) {
  const auto listener = Listen();
  const OwnedFd client = Connect(listener->address());
  Exhaust();
  EXPECT_LT(::dup(0), 0);
  loop_.RunOnce();
  const OwnedFd for_a_session(::dup(0));
  EXPECT_TRUE(for_a_session.valid());
  Relieve();
  Until([&] { return accepted_.size() == 1; });
}

}  // namespace
}  // namespace postern::net
