// ldap_passing: sendmsg and recvmsg with one descriptor.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/ldap_passing.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace postern::directory {
namespace {

// A message of one octet, with room for one descriptor.
class Message {
 public:
  Message() {
    message_.msg_iov = &part_;
    message_.msg_iovlen = 1;
    message_.msg_control = control_.data();
    message_.msg_controllen = control_.size();
  }
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  [[nodiscard]] msghdr* get() { return &message_; }

 private:
  char octet_ = 0;
  iovec part_{&octet_, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control_{};
  msghdr message_{};
};

}  // namespace

bool SendDescriptor(int over, int fd) {
  Message message;
  cmsghdr* const header = CMSG_FIRSTHDR(message.get());
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  ssize_t num_sent = 0;
  do {
    num_sent = sendmsg(over, message.get(), MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (num_sent < 0 && errno == EINTR);
  return num_sent == 1;
}

std::optional<int> AwaitDescriptor(int over) {
  for (;;) {
    Message message;
    const ssize_t num_bytes = recvmsg(over, message.get(), MSG_CMSG_CLOEXEC);
    if (num_bytes < 0 && errno == EINTR) continue;
    if (num_bytes <= 0) return std::nullopt;
    const cmsghdr* const header = CMSG_FIRSTHDR(message.get());
    if (header == nullptr || header->cmsg_type != SCM_RIGHTS) continue;
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd;
  }
}

}  // namespace postern::directory
