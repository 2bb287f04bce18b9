// unix_dial_test: streams to local sockets.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "test/net/loop_fixture.h"

namespace postern::net {
namespace {

using Event = Stream::Event;

class UnixDialTest : public LoopTest {
 protected:
  UnixDialTest() {
    std::string folder = testing::TempDir() + "unix-dial-XXXXXX";
    folder_ = ::mkdtemp(folder.data());
    path_ = folder_ + "/service";
  }
  ~UnixDialTest() override {
    ::unlink(path_.c_str());
    ::rmdir(folder_.c_str());
  }
  // A socket that listens there, blocking.
  void Listen() {
    listener_ = OwnedFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    ASSERT_LT(path_.size(), sizeof address.sun_path);
    std::memcpy(address.sun_path, path_.c_str(), path_.size() + 1);
    ASSERT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::listen(listener_.get(), 1), 0);
  }
  std::unique_ptr<Stream> Dial() {
    io::DialOptions dial;
    dial.unix_path = path_;
    // What has no meaning for a local socket does no harm.
    dial.source = base::IpAddress::V4({127, 0, 0, 1});
    return TcpDialer(loop_).Connect(dial, seen_);
  }

  std::string folder_, path_;
  OwnedFd listener_;
  Recorder seen_;
};

TEST_F(UnixDialTest, CarriesBytesBothWays) {
  Listen();
  const auto stream = Dial();
  EXPECT_TRUE(seen_.events.empty());
  Until([&] { return seen_.Has(Event::kConnected); });
  stream->Write("question");
  const OwnedFd peer(::accept(listener_.get(), nullptr, nullptr));
  ASSERT_TRUE(peer.valid());
  char buffer[16];
  ASSERT_EQ(::recv(peer.get(), buffer, sizeof buffer, 0), 8);
  EXPECT_EQ(std::string(buffer, 8), "question");
  ASSERT_EQ(::send(peer.get(), "answer", 6, 0), 6);
  ASSERT_EQ(::shutdown(peer.get(), SHUT_WR), 0);
  Until([&] { return seen_.Has(Event::kEnd); });
  EXPECT_EQ(seen_.received, "answer");
  EXPECT_EQ(stream->end(), StreamEnd::kEof);
}

TEST_F(UnixDialTest, NobodyThereRefusesLater) {
  const auto stream = Dial();
  EXPECT_TRUE(seen_.events.empty());
  Until([&] { return seen_.Has(Event::kEnd); });
  EXPECT_EQ(stream->end(), StreamEnd::kRefused);
}

TEST_F(UnixDialTest, APathThatIsTooLongRefuses) {
  Listen();
  io::DialOptions dial;
  dial.unix_path = path_ + std::string(200, 'x');
  const auto stream = TcpDialer(loop_).Connect(dial, seen_);
  Until([&] { return seen_.Has(Event::kEnd); });
  EXPECT_EQ(stream->end(), StreamEnd::kRefused);
}

}  // namespace
}  // namespace postern::net
