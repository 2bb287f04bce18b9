// spool_thread: the one thread that writes, reads and closes spool files, for all workers.
//
// Files have no name (O_TMPFILE, or made and unlinked at once), mode 0600: with the process their
// bytes are gone. A file that is asked to append while it waits for its turn is written once for
// all that has come meanwhile; files take turns.
// Limits:   bytes in files: spool_total of the configuration; bytes that wait for the disk:
//           kWindow a file, which its owner keeps to, and kMaxWaiting all together.
// Thread:   SpoolThread: control; WorkerSpool and its files: their worker's.
// Tests:    test/daemon/spool_thread_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "lb/base/clock.h"
#include "lb/base/result.h"
#include "lb/io/loop.h"
#include "lb/io/spool.h"
#include "lb/net/owned_fd.h"

namespace postern::daemon {

class SpoolThread {
 public:
  static constexpr size_t kWindow = 256 << 10;
  static constexpr size_t kMaxWaiting = 64 << 20;  // from half of it on, windows are closed
  // So long after a file has failed the disk has no room for those who ask before.
  static constexpr base::Duration kDistrust = std::chrono::seconds(60);

  SpoolThread() = default;
  ~SpoolThread() { Stop(); }
  SpoolThread(const SpoolThread&) = delete;
  SpoolThread& operator=(const SpoolThread&) = delete;

  void Start();
  // Ends the thread; files that are still open answer nothing any more. Their loops still live.
  void Stop();
  // In all files, or on the way there.
  [[nodiscard]] uint64_t held_bytes() const { return held_.load(std::memory_order_relaxed); }

 private:
  friend class WorkerSpool;
  struct File;
  class Handle;
  void Queue(std::shared_ptr<File> file);
  void Run();
  void Serve(File& file);
  [[nodiscard]] std::string Store(File& file, base::ByteView bytes);
  void Fail(File& file, const std::string& why);

  std::atomic<uint64_t> held_{0};
  std::atomic<uint64_t> waiting_{0};  // of these, not written yet
  std::atomic<base::MonoTime> distrusted_until_{base::MonoTime::min()};
  std::mutex mutex_;
  std::condition_variable has_work_;
  std::deque<std::shared_ptr<File>> queue_;  // guarded by mutex_
  bool is_stopping_ = false;                 // likewise
  std::thread thread_;
  bool is_failing_ = false;  // the thread's own: what is wrong is logged once
};

// A worker's door to it.
class WorkerSpool final : public io::Spool {
 public:
  WorkerSpool(SpoolThread& thread, io::Loop& loop) : thread_(thread), loop_(loop) {}
  // For files opened from now on.
  void Configure(const std::string& dir, uint64_t total_bytes);
  [[nodiscard]] std::unique_ptr<io::SpoolFile> Open(io::SpoolFile::Observer& observer) override;
  [[nodiscard]] size_t Window() const override;
  [[nodiscard]] bool HasRoom(size_t num_bytes) const override;

 private:
  SpoolThread& thread_;
  io::Loop& loop_;
  std::string dir_;
  uint64_t total_bytes_ = 0;
};

// A file in dir that has no name, for reading and writing.
[[nodiscard]] base::Result<net::OwnedFd> OpenNameless(const std::string& dir);
// The same where the file system cannot make one: it has a name for a moment.
[[nodiscard]] base::Result<net::OwnedFd> MakeAndUnlink(const std::string& dir);

}  // namespace postern::daemon
