// spool_thread_test: real files, written and read by the real thread.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/spool_thread.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

#include "lb/base/log.h"
#include "lb/net/event_loop.h"
#include "test/support/sim_loop.h"

namespace postern::daemon {
namespace {

// Ends the loop's run with each answer that a test waits for.
class Ear final : public io::SpoolFile::Observer {
 public:
  explicit Ear(net::EventLoop& loop) : loop_(loop) {}
  void WaitStored(uint64_t total) {
    while (stored < total && !fault) loop_.Run();
  }
  std::string WaitRead() {
    while (!read && !fault) loop_.Run();
    return read ? *std::exchange(read, std::nullopt) : "";
  }
  void WaitFault() {
    while (!fault) loop_.Run();
  }
  uint64_t stored = 0;
  std::optional<std::string> read;
  std::optional<io::SpoolFault> fault;

 private:
  void OnSpoolStored(uint64_t total_bytes) override {
    EXPECT_GT(total_bytes, stored);
    stored = total_bytes;
    loop_.Stop();
  }
  void OnSpoolRead(base::ByteView bytes) override {
    read = std::string(bytes);
    loop_.Stop();
  }
  void OnSpoolFailed(io::SpoolFault why) override {
    EXPECT_FALSE(fault) << "told twice";
    fault = why;
    loop_.Stop();
  }
  net::EventLoop& loop_;
};

class SpoolThreadTest : public testing::Test {
 protected:
  SpoolThreadTest() {
    base::log::Configure(base::log::Level::kError, base::log::Format::kJson);
    std::string path = std::filesystem::temp_directory_path() / "postern-spool-XXXXXX";
    dir_ = ::mkdtemp(path.data());
    spool_.Configure(dir_, 100 << 20);
    thread_.Start();
  }
  ~SpoolThreadTest() override {
    thread_.Stop();
    EXPECT_TRUE(std::filesystem::is_empty(dir_)) << "a file was left behind";
    std::filesystem::remove_all(dir_);
  }

  std::string dir_;
  net::EventLoop loop_;
  SpoolThread thread_;
  WorkerSpool spool_{thread_, loop_};
  Ear ear_{loop_};
};

TEST_F(SpoolThreadTest, GivesBackWhatItWasGiven) {
  const auto file = spool_.Open(ear_);
  std::string all;
  for (int i = 0; i < 20000; ++i) {
    const std::string piece = "piece " + std::to_string(i) + "\n";
    file->Append(piece);
    all += piece;
  }
  file->Read(0, all.size());
  EXPECT_EQ(ear_.WaitRead(), all);
  EXPECT_EQ(ear_.stored, all.size());
  file->Append("behind");
  ear_.WaitStored(all.size() + 6);
  file->Read(all.size() - 2, 100);
  EXPECT_EQ(ear_.WaitRead(), "9\nbehind");
}

TEST_F(SpoolThreadTest, ReadsWhatIsNotWrittenYet) {
  const auto file = spool_.Open(ear_);
  file->Append("first");
  file->Read(1, 3);
  EXPECT_EQ(ear_.WaitRead(), "irs");
}

// Nobody else can open them, and nothing is left of them.
TEST_F(SpoolThreadTest, FilesHaveNoNameAndAreTheOwnersAlone) {
  for (const auto make : {&OpenNameless, &MakeAndUnlink}) {
    const auto fd = make(dir_);
    ASSERT_TRUE(fd) << fd.error();
    struct stat facts {};
    ASSERT_EQ(::fstat(fd->get(), &facts), 0);
    EXPECT_EQ(facts.st_nlink, 0U);
    EXPECT_EQ(facts.st_mode & 07777, 0600U);
    EXPECT_TRUE(std::filesystem::is_empty(dir_));
  }
}

TEST_F(SpoolThreadTest, CountsWhatIsHeldUntilItIsClosed) {
  Ear other(loop_);
  auto file = spool_.Open(ear_);
  file->Append(std::string(1000, 'x'));
  EXPECT_EQ(thread_.held_bytes(), 1000U);
  ear_.WaitStored(1000);
  EXPECT_EQ(thread_.held_bytes(), 1000U);
  file.reset();
  // Closed in its turn: before one that asks later.
  const auto next = spool_.Open(other);
  next->Append("y");
  other.WaitStored(1);
  EXPECT_EQ(thread_.held_bytes(), 1U);
}

TEST_F(SpoolThreadTest, FailsTheFileThatGoesBeyondTheTotal) {
  spool_.Configure(dir_, 1000);
  const auto one = spool_.Open(ear_);
  one->Append(std::string(900, 'x'));
  Ear other(loop_);
  const auto two = spool_.Open(other);
  two->Append(std::string(101, 'y'));
  two->Append("more");
  other.WaitFault();
  EXPECT_EQ(other.fault, io::SpoolFault::kFull);
  EXPECT_EQ(thread_.held_bytes(), 900U);
  one->Append(std::string(100, 'x'));
  ear_.WaitStored(1000);
  EXPECT_FALSE(ear_.fault);
}

TEST_F(SpoolThreadTest, ClosesItsWindowsBeforeTooMuchWaits) {
  // Of a thread that does not run: everything waits.
  SpoolThread hung;
  WorkerSpool spool(hung, loop_);
  spool.Configure(dir_, UINT64_MAX / 2);
  const auto file = spool.Open(ear_);
  const std::string piece(SpoolThread::kMaxWaiting / 4, 'x');
  file->Append(piece);
  EXPECT_EQ(spool.Window(), SpoolThread::kWindow);
  file->Append(piece);
  EXPECT_EQ(spool.Window(), 0U);
  file->Append(piece);
  file->Append(piece);
  EXPECT_EQ(hung.held_bytes(), SpoolThread::kMaxWaiting);
  file->Append("x");
  ear_.WaitFault();
  EXPECT_EQ(ear_.fault, io::SpoolFault::kFull);
}

TEST_F(SpoolThreadTest, SaysSoWhereNoFileCanBeMade) {
  spool_.Configure(dir_ + "/nowhere", 1 << 20);
  {
    const auto file = spool_.Open(ear_);
    file->Append("x");
    ear_.WaitFault();
    EXPECT_EQ(ear_.fault, io::SpoolFault::kDisk);
    file->Append("y");
    file->Read(0, 1);
  }
  spool_.Configure(dir_, 1 << 20);
  Ear other(loop_);
  const auto file = spool_.Open(other);
  file->Append("z");
  other.WaitStored(1);
  EXPECT_FALSE(other.fault);
  EXPECT_EQ(thread_.held_bytes(), 1U);
}

TEST_F(SpoolThreadTest, TellsNobodyAfterTheEnd) {
  auto file = spool_.Open(ear_);
  file->Append("x");
  file.reset();
  Ear other(loop_);
  const auto next = spool_.Open(other);
  next->Append("y");
  other.WaitStored(1);
  EXPECT_EQ(ear_.stored, 0U);
}

TEST_F(SpoolThreadTest, StopsWithFilesOpen) {
  const auto file = spool_.Open(ear_);
  file->Append("x");
  ear_.WaitStored(1);
  thread_.Stop();
  file->Append("y");
  file->Read(0, 1);
}

TEST_F(SpoolThreadTest, HasNoRoomNearTheEndOfWhatItMayHold) {
  spool_.Configure(dir_, 16'000);
  EXPECT_TRUE(spool_.HasRoom(15'000));
  EXPECT_FALSE(spool_.HasRoom(15'001));
  const auto file = spool_.Open(ear_);
  file->Append(std::string(10'000, 'x'));
  EXPECT_TRUE(spool_.HasRoom(5'000));
  EXPECT_FALSE(spool_.HasRoom(5'001));
}

TEST_F(SpoolThreadTest, ADiskThatHasFailedHasNoRoomForAWhile) {
  test::SimLoop loop;
  WorkerSpool later(thread_, loop);  // a worker whose clock is far ahead
  later.Configure(dir_, 1 << 20);
  loop.RunFor(std::chrono::hours(24 * 365 * 100));
  spool_.Configure(dir_ + "/none", 1 << 20);
  EXPECT_TRUE(spool_.HasRoom(1));
  const auto file = spool_.Open(ear_);
  file->Append("x");
  ear_.WaitFault();
  loop_.Post([this] { loop_.Stop(); });
  loop_.Run();
  EXPECT_FALSE(spool_.HasRoom(1));
  EXPECT_TRUE(later.HasRoom(1));
}

}  // namespace
}  // namespace postern::daemon
