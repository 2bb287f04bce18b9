// text_file: a small file as a string.
// SPDX-License-Identifier: Apache-2.0
#include "lb/tls/text_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "lb/base/secret.h"

namespace postern::tls {
namespace {
constexpr size_t kMaxBytes = 4 << 20;

base::Error CannotRead(const std::string& path) {
  return base::Error{"cannot read " + path + ": " + std::generic_category().message(errno)};
}
}  // namespace

base::Result<std::string> ReadTextFile(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return CannotRead(path);
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    return base::Error{"cannot read " + path + ": it is not a file"};
  }
  if (info.st_size > static_cast<off_t>(kMaxBytes)) {
    ::close(fd);
    return base::Error{path + " is larger than 4 MiB"};
  }
  // Sized once, so that no stray copy of a key is left in freed memory.
  std::string text(static_cast<size_t>(info.st_size), '\0');
  size_t filled = 0;
  while (filled < text.size()) {
    const ssize_t n = ::read(fd, text.data() + filled, text.size() - filled);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const base::Error error = CannotRead(path);
      ::close(fd);
      base::WipeString(text);
      return error;
    }
    if (n == 0) break;
    filled += static_cast<size_t>(n);
  }
  ::close(fd);
  text.resize(filled);
  return text;
}

}  // namespace postern::tls
