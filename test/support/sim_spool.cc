// sim_spool: io::Spool in memory, on virtual time.
// SPDX-License-Identifier: Apache-2.0
#include "test/support/sim_spool.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

#include "lb/base/check.h"

namespace postern::test {

// What is stored is in the kernel, as it is with a disk, so that whoever measures the heap sees
// only what waits to be stored.

class SimSpool::File final : public io::SpoolFile {
 public:
  File(SimSpool& spool, Observer& observer)
      : spool_(spool),
        observer_(observer),
        self_(std::make_shared<File*>(this)),
        fd_(::memfd_create("sim_spool", MFD_CLOEXEC)) {
    POSTERN_CHECK(fd_ >= 0);
    ++spool_.num_open;
    ++spool_.num_opened;
  }
  ~File() override {
    *self_ = nullptr;
    --spool_.num_open;
    spool_.held_bytes -= stored_ + waiting_.size();
    spool_.waiting_bytes -= waiting_.size();
    ::close(fd_);
  }

  void Append(base::ByteView bytes) override {
    if (has_failed_) return;
    if (spool_.held_bytes + bytes.size() > spool_.options.total_bytes)
      return Fail(io::SpoolFault::kFull);
    waiting_ += bytes;
    spool_.held_bytes += bytes.size();
    spool_.waiting_bytes += bytes.size();
    spool_.most_waiting_bytes = std::max(spool_.most_waiting_bytes, spool_.waiting_bytes);
    Later([this, num_bytes = bytes.size()] {
      if (stored_ + num_bytes > spool_.options.disk_bytes) return Fail(io::SpoolFault::kDisk);
      POSTERN_CHECK(::pwrite(fd_, waiting_.data(), num_bytes, static_cast<off_t>(stored_)) ==
                    static_cast<ssize_t>(num_bytes));
      waiting_.erase(0, num_bytes);
      spool_.waiting_bytes -= num_bytes;
      stored_ += num_bytes;
      observer_.OnSpoolStored(stored_);
    });
  }

  void Read(uint64_t offset, size_t num_bytes) override {
    if (has_failed_) return;
    Later([this, offset, num_bytes] {
      if (offset > spool_.options.bad_read_offset) return Fail(io::SpoolFault::kDisk);
      std::string bytes(
          std::min({num_bytes, spool_.options.read_bytes, static_cast<size_t>(stored_ - offset)}),
          '\0');
      POSTERN_CHECK(::pread(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset)) ==
                    static_cast<ssize_t>(bytes.size()));
      observer_.OnSpoolRead(bytes);
    });
  }

 private:
  void Fail(io::SpoolFault fault) {
    has_failed_ = true;
    Tell([this, fault] { observer_.OnSpoolFailed(fault); });
  }

  // Unless it has failed meanwhile.
  void Later(std::function<void()> answer) {
    Tell([this, answer = std::move(answer)] {
      if (!has_failed_) answer();
    });
  }

  void Tell(std::function<void()> answer) {
    const auto latency = static_cast<uint64_t>(spool_.options.latency.count());
    const base::MonoTime now = spool_.loop_.Now();
    const base::MonoTime begun = std::max(last_, now);
    // One by one, also where the loop runs what is due at the same time in any order.
    last_ = std::max(
        last_ + base::Duration(1),
        now + base::Duration(static_cast<int64_t>(latency / 2 + spool_.rng_.Below(latency + 1))));
    spool_.answer_time += last_ - begun;
    spool_.loop_.Schedule(last_ - now, [self = self_, answer = std::move(answer)] {
      if (*self == nullptr || (*self)->is_hung_) return;
      // What hangs stays so: a file of which a piece is missing is no disk's.
      (*self)->is_hung_ = (*self)->spool_.options.hangs;
      if (!(*self)->is_hung_) answer();
    });
  }

  SimSpool& spool_;
  Observer& observer_;
  std::shared_ptr<File*> self_;  // null inside once the file is gone
  const int fd_;
  std::string waiting_;  // appended, and not stored
  uint64_t stored_ = 0;
  base::MonoTime last_{};  // when the last answer is due
  bool has_failed_ = false;
  bool is_hung_ = false;
};

std::unique_ptr<io::SpoolFile> SimSpool::Open(io::SpoolFile::Observer& observer) {
  return std::make_unique<File>(*this, observer);
}

}  // namespace postern::test
