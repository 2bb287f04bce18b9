// spool_thread: the one thread that writes, reads and closes spool files, for all workers.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/spool_thread.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <system_error>
#include <utility>

#include "lb/base/log.h"

namespace postern::daemon {
namespace {

std::string ErrorText(int error) {
  return std::generic_category().message(error);
}

}  // namespace

// What the handle, on its worker, and the thread share.
struct SpoolThread::File {
  struct Range {
    uint64_t offset = 0;
    size_t num_bytes = 0;
  };
  // Who hears the answers; of the worker's thread.
  struct Ear {
    io::SpoolFile::Observer* observer = nullptr;  // null: nobody any more
  };

  File(SpoolThread& thread, io::Loop& its_loop, std::string its_dir)
      : owner(thread), loop(its_loop), dir(std::move(its_dir)) {}
  ~File() {
    owner.waiting_.fetch_sub(pending.size(), std::memory_order_relaxed);
    owner.held_.fetch_sub(held_bytes, std::memory_order_relaxed);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  template <typename Call>
  void Tell(Call call) {
    loop.Post([its = ear, call = std::move(call)] {
      if (its->observer != nullptr) call(*its->observer);
    });
  }

  SpoolThread& owner;
  io::Loop& loop;
  const std::string dir;
  const std::shared_ptr<Ear> ear = std::make_shared<Ear>();

  std::mutex mutex;
  std::string pending;          // guarded, as what follows: appended, not taken by the thread
  std::optional<Range> wanted;  // to be read
  uint64_t held_bytes = 0;
  bool is_queued = false;
  bool is_closed = false;

  // The thread's own.
  net::OwnedFd fd;
  uint64_t stored_bytes = 0;
  bool has_failed = false;
};

class SpoolThread::Handle final : public io::SpoolFile {
 public:
  Handle(SpoolThread& thread, std::shared_ptr<File> file, uint64_t total_bytes)
      : thread_(thread), file_(std::move(file)), total_bytes_(total_bytes) {}

  // The last one that knows the file shall be the thread: closing a large one takes time.
  ~Handle() override {
    file_->ear->observer = nullptr;
    {
      const std::lock_guard lock(file_->mutex);
      file_->is_closed = true;
    }
    thread_.Queue(std::move(file_));
  }

  void Append(base::ByteView bytes) override {
    if (has_failed_) return;
    const uint64_t held = thread_.held_.fetch_add(bytes.size(), std::memory_order_relaxed);
    const uint64_t waiting = thread_.waiting_.fetch_add(bytes.size(), std::memory_order_relaxed);
    const bool is_full = held + bytes.size() > total_bytes_ || waiting + bytes.size() > kMaxWaiting;
    if (is_full) {
      thread_.held_.fetch_sub(bytes.size(), std::memory_order_relaxed);
      thread_.waiting_.fetch_sub(bytes.size(), std::memory_order_relaxed);
      has_failed_ = true;
      return file_->Tell([](Observer& observer) { observer.OnSpoolFailed(io::SpoolFault::kFull); });
    }
    Ask([bytes](File& file) {
      file.pending += bytes;
      file.held_bytes += bytes.size();
    });
  }

  void Read(uint64_t offset_bytes, size_t num_bytes) override {
    if (has_failed_) return;
    Ask([offset_bytes, num_bytes](File& file) { file.wanted = {offset_bytes, num_bytes}; });
  }

 private:
  template <typename Change>
  void Ask(Change change) {
    {
      const std::lock_guard lock(file_->mutex);
      change(*file_);
      if (file_->is_queued) return;
      file_->is_queued = true;
    }
    thread_.Queue(file_);
  }

  SpoolThread& thread_;
  std::shared_ptr<File> file_;
  const uint64_t total_bytes_;
  bool has_failed_ = false;
};

// --- the thread -------------------------------------------------------------------------------

void SpoolThread::Start() {
  thread_ = std::thread([this] { Run(); });
}

void SpoolThread::Stop() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  has_work_.notify_one();
  if (thread_.joinable()) thread_.join();
  queue_.clear();
}

void SpoolThread::Queue(std::shared_ptr<File> file) {
  {
    const std::lock_guard lock(mutex_);
    if (is_stopping_) return;
    queue_.push_back(std::move(file));
  }
  has_work_.notify_one();
}

void SpoolThread::Run() {
  while (true) {
    std::shared_ptr<File> file;
    {
      std::unique_lock lock(mutex_);
      has_work_.wait(lock, [this] { return is_stopping_ || !queue_.empty(); });
      if (is_stopping_) return;
      file = std::move(queue_.front());
      queue_.pop_front();
    }
    Serve(*file);
  }
}

void SpoolThread::Serve(File& file) {
  std::string bytes;
  std::optional<File::Range> wanted;
  {
    const std::lock_guard lock(file.mutex);
    file.is_queued = false;
    if (file.is_closed || file.has_failed) return;
    bytes.swap(file.pending);
    wanted = std::exchange(file.wanted, std::nullopt);
  }
  if (!bytes.empty()) {
    const std::string error = Store(file, bytes);
    waiting_.fetch_sub(bytes.size(), std::memory_order_relaxed);
    if (!error.empty()) return Fail(file, error);
    file.Tell([total = file.stored_bytes](io::SpoolFile::Observer& observer) {
      observer.OnSpoolStored(total);
    });
  }
  if (!wanted) return;
  auto read = std::make_shared<std::string>(wanted->num_bytes, '\0');
  ssize_t size = 0;
  do {
    size = ::pread(file.fd.get(), read->data(), read->size(), static_cast<off_t>(wanted->offset));
  } while (size < 0 && errno == EINTR);
  if (size <= 0) return Fail(file, size == 0 ? "it has shrunk" : ErrorText(errno));
  read->resize(static_cast<size_t>(size));
  file.Tell([read](io::SpoolFile::Observer& observer) { observer.OnSpoolRead(*read); });
}

// What went wrong; nothing: all is stored.
std::string SpoolThread::Store(File& file, base::ByteView bytes) {
  if (!file.fd.valid()) {
    auto made = OpenNameless(file.dir);
    if (!made) return made.error();
    file.fd = std::move(made).value();
  }
  while (!bytes.empty()) {
    const ssize_t size =
        ::pwrite(file.fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(file.stored_bytes));
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return ErrorText(size == 0 ? EIO : errno);
    file.stored_bytes += static_cast<uint64_t>(size);
    bytes.remove_prefix(static_cast<size_t>(size));
  }
  if (std::exchange(is_failing_, false)) base::log::Info("spool_works", {{"dir", file.dir}});
  return "";
}

void SpoolThread::Fail(File& file, const std::string& why) {
  file.has_failed = true;
  file.fd.Reset();
  if (!std::exchange(is_failing_, true))
    base::log::Error("spool_failed", {{"dir", file.dir}, {"why", why}});
  file.loop.Post([this, &loop = file.loop] { distrusted_until_ = loop.Now() + kDistrust; });
  file.Tell(
      [](io::SpoolFile::Observer& observer) { observer.OnSpoolFailed(io::SpoolFault::kDisk); });
}

// --- a worker's door ----------------------------------------------------------------------------

void WorkerSpool::Configure(const std::string& dir, uint64_t total_bytes) {
  dir_ = dir;
  total_bytes_ = total_bytes;
}

std::unique_ptr<io::SpoolFile> WorkerSpool::Open(io::SpoolFile::Observer& observer) {
  auto file = std::make_shared<SpoolThread::File>(thread_, loop_, dir_);
  file->ear->observer = &observer;
  return std::make_unique<SpoolThread::Handle>(thread_, std::move(file), total_bytes_);
}

size_t WorkerSpool::Window() const {
  const uint64_t waiting = thread_.waiting_.load(std::memory_order_relaxed);
  return waiting < SpoolThread::kMaxWaiting / 2 ? SpoolThread::kWindow : 0;
}

bool WorkerSpool::HasRoom(size_t num_bytes) const {
  // The last part is for those who do not ask, and for as many as ask at the same time.
  const uint64_t most = total_bytes_ - total_bytes_ / 16;
  return thread_.held_.load(std::memory_order_relaxed) + num_bytes <= most && Window() > 0 &&
         thread_.distrusted_until_.load() <= loop_.Now();
}

// --- files without a name -----------------------------------------------------------------------

base::Result<net::OwnedFd> OpenNameless(const std::string& dir) {
  net::OwnedFd fd(::open(dir.c_str(), O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
  if (fd.valid()) return fd;
  // Kernels and file systems that do not know O_TMPFILE say either.
  if (errno == EISDIR || errno == EOPNOTSUPP) return MakeAndUnlink(dir);
  return base::Error{ErrorText(errno)};
}

base::Result<net::OwnedFd> MakeAndUnlink(const std::string& dir) {
  std::string path = dir + "/postern-XXXXXX";
  net::OwnedFd fd(::mkostemp(path.data(), O_CLOEXEC));  // mode 0600
  if (!fd.valid()) return base::Error{ErrorText(errno)};
  if (::unlink(path.c_str()) != 0) return base::Error{ErrorText(errno)};
  return fd;
}

}  // namespace postern::daemon
