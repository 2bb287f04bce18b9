// map_reader: lines, words, and a file in blocks.
// SPDX-License-Identifier: Apache-2.0
#include "conf/map_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "lb/base/escape.h"

namespace postern::conf {
namespace {

constexpr std::string_view kBlanks = " \t";

// The words of a line up to a comment: as many as fit, and how many there are.
struct Words {
  std::array<std::string_view, 2> first;
  size_t count = 0;
};

Words WordsOf(std::string_view line) {
  Words words;
  while (true) {
    const size_t start = line.find_first_not_of(kBlanks);
    if (start == std::string_view::npos || line[start] == '#') return words;
    line.remove_prefix(start);
    const std::string_view word = line.substr(0, line.find_first_of(kBlanks));
    if (words.count < words.first.size()) words.first[words.count] = word;
    ++words.count;
    line.remove_prefix(word.size());
  }
}

bool HasControl(std::string_view word) {
  return std::any_of(word.begin(), word.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
  });
}

int64_t NanosecondsOf(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

FileStamp StampFrom(const struct stat& info) {
  return {info.st_dev, info.st_ino, static_cast<uint64_t>(info.st_size),
          NanosecondsOf(info.st_mtim), NanosecondsOf(info.st_ctim)};
}

// Its name, or its owner, may be another meanwhile.
bool IsOfSameContent(const FileStamp& a, const FileStamp& b) {
  return a.size_bytes == b.size_bytes && a.modified_ns == b.modified_ns;
}

std::string CannotRead(int error) {
  return "cannot be read: " + std::generic_category().message(error);
}

// Closes what it holds.
struct Descriptor {
  explicit Descriptor(int its_fd) : fd(its_fd) {}
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int fd;
};

}  // namespace

void MapReader::Feed(std::string_view bytes) {
  for (size_t end; (end = bytes.find('\n')) != std::string_view::npos;) {
    if (pending_.empty()) {
      Take(bytes.substr(0, end));
    } else {
      Hold(bytes.substr(0, end));
      Take(pending_);
      pending_.clear();
    }
    bytes.remove_prefix(end + 1);
  }
  Hold(bytes);
}

void MapReader::End() {
  if (!pending_.empty()) Take(pending_);
  pending_.clear();
}

// One byte too many is kept of a line that is too long: enough to know it.
void MapReader::Hold(std::string_view piece) {
  pending_.append(piece.substr(0, kMaxLineBytes + 1 - pending_.size()));
}

void MapReader::Take(std::string_view line) {
  ++line_;
  if (line.size() > kMaxLineBytes) return Complain(line_, "the line is too long");
  if (line_ == 1 && line.starts_with("\xEF\xBB\xBF")) line.remove_prefix(3);
  if (line.ends_with('\r')) line.remove_suffix(1);
  const Words words = WordsOf(line);
  if (words.count == 0) return;
  const auto [key, answer] = words.first;
  if (HasControl(key) || HasControl(answer))
    return Complain(line_, "there is a control character in the row");
  if (words.count != 2) return Complain(line_, "a row is two words, key and answer");
  if (!base::IsUtf8(key) || !base::IsUtf8(answer)) return Complain(line_, "the row is not UTF-8");
  on_row_(key, answer, line_);
}

void MapReader::Complain(int line, std::string message) {
  ++num_faults_;
  if (faults_.size() < kMaxFaults) faults_.push_back({line, std::move(message)});
}

std::optional<FileStamp> StampOf(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return std::nullopt;
  return StampFrom(info);
}

FileStamp ReadMapFile(const std::string& path, MapReader& reader, size_t max_bytes,
                      const std::atomic<bool>* stop) {
  const auto fail = [&](std::string message) {
    reader.Complain(0, std::move(message));
    return FileStamp{};
  };
  // Without waiting, should it be a pipe.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat before {};
  if (file.fd < 0 || ::fstat(file.fd, &before) != 0) return fail(CannotRead(errno));
  if (S_ISDIR(before.st_mode)) return fail(CannotRead(EISDIR));
  if (!S_ISREG(before.st_mode)) return fail("cannot be read: it is no regular file");
  const auto too_large = [&] {
    return fail("is larger than " + std::to_string(max_bytes) + " bytes");
  };
  if (static_cast<uint64_t>(before.st_size) > max_bytes) return too_large();
  std::string block(256u << 10, '\0');
  size_t total_bytes = 0;
  while (true) {
    if (stop != nullptr && stop->load(std::memory_order_relaxed))
      return fail("was not read to its end");
    const ssize_t num_bytes = ::read(file.fd, block.data(), block.size());
    if (num_bytes < 0 && errno == EINTR) continue;
    if (num_bytes < 0) return fail(CannotRead(errno));
    if (num_bytes == 0) break;
    total_bytes += static_cast<size_t>(num_bytes);
    if (total_bytes > max_bytes) return too_large();
    reader.Feed(std::string_view(block).substr(0, static_cast<size_t>(num_bytes)));
  }
  reader.End();
  struct stat after {};
  if (::fstat(file.fd, &after) != 0) return fail(CannotRead(errno));
  if (!IsOfSameContent(StampFrom(before), StampFrom(after)) ||
      total_bytes != StampFrom(after).size_bytes)
    return fail("was written to while it was read");
  return StampFrom(before);
}

}  // namespace postern::conf
