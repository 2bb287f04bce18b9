// ldap_helper: posix_spawn, waitpid, and a descriptor passed along.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/ldap_helper.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>
#include <optional>
#include <utility>

#include "lb/base/log.h"
#include "lb/directory/ldap_passing.h"
#include "lb/net/socket_stream.h"

namespace postern::daemon {
namespace {

using directory::kLdapControl;
using directory::kLdapHelperName;

// Empty: it is nowhere.
std::string FindHelper() {
  std::array<char, PATH_MAX> own{};
  const ssize_t num_bytes = readlink("/proc/self/exe", own.data(), own.size());
  if (num_bytes <= 0 || static_cast<size_t>(num_bytes) >= own.size()) return {};
  const std::string path(own.data(), static_cast<size_t>(num_bytes));
  const std::string folder = path.substr(0, path.rfind('/') + 1);
  for (const char* where : {"", "../libexec/postern/"}) {
    std::string found = folder + where + kLdapHelperName;
    if (access(found.c_str(), X_OK) == 0) return found;
  }
  return {};
}

// Two ends that no other program inherits.
std::optional<std::pair<net::OwnedFd, net::OwnedFd>> SocketPair() {
  std::array<int, 2> fds{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) != 0) return std::nullopt;
  return std::make_pair(net::OwnedFd(fds[0]), net::OwnedFd(fds[1]));
}

// The error of posix_spawn; 0: it runs. Nothing of ours is inherited but the three that it needs,
// and no signal is blocked or ignored.
int Spawn(const std::string& path, int control, pid_t& pid) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&files);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, control, kLdapControl);
  posix_spawn_file_actions_addclosefrom_np(&files, kLdapControl + 1);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::string name = kLdapHelperName;
  char* argv[] = {name.data(), nullptr};
  const int error = posix_spawn(&pid, path.c_str(), &files, &attributes, argv, environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  return error;
}

std::string EndInWords(int status) {
  if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
  return "exit code " + std::to_string(WEXITSTATUS(status));
}

}  // namespace

LdapHelper::LdapHelper(std::string path) : path_(std::move(path)) {}

LdapHelper::~LdapHelper() {
  Stop();
}

void LdapHelper::Want(bool is_wanted, base::MonoTime now) {
  if (!is_wanted && is_wanted_) ends_ = now + kLinger;
  if (std::exchange(is_wanted_, is_wanted) || !is_wanted) return;
  pause_ = {};
  not_before_ = now;
  Look(now);
}

void LdapHelper::Look(base::MonoTime now) {
  if (!is_wanted_ && now >= ends_) return Stop();
  if (pid_ != 0) {
    int status = 0;
    const pid_t ended = waitpid(pid_, &status, WNOHANG);
    if (ended == 0) return;
    OnEnded(ended == pid_ ? EndInWords(status) : std::strerror(errno), now);
  }
  if (is_wanted_ && pid_ == 0 && now >= not_before_) Start(now);
}

void LdapHelper::Start(base::MonoTime now) {
  started_ = now;
  const std::string path = path_.empty() ? FindHelper() : path_;
  if (path.empty()) return OnEnded("it is not installed", now);
  auto pair = SocketPair();
  if (!pair) return OnEnded(std::strerror(errno), now);
  if (const int error = Spawn(path, pair->second.get(), pid_); error != 0) {
    pid_ = 0;
    return OnEnded(path + ": " + std::strerror(error), now);
  }
  base::log::Info("ldap_helper_started", {{"pid", std::to_string(pid_)}});
  const std::lock_guard lock(mutex_);
  control_ = std::move(pair->first);
}

void LdapHelper::OnEnded(const std::string& why, base::MonoTime now) {
  pid_ = 0;
  {
    const std::lock_guard lock(mutex_);
    control_.Reset();
  }
  if (now - started_ >= kProven) pause_ = {};
  not_before_ = now + pause_;
  pause_ = std::clamp<base::Duration>(2 * pause_, kFirstPause, kLongestPause);
  base::log::Error("ldap_helper_ended", {{"why", why}});
}

void LdapHelper::Stop() {
  is_wanted_ = false;
  {
    const std::lock_guard lock(mutex_);
    control_.Reset();
  }
  if (pid_ == 0) return;
  // It holds nothing that needs an end of its own, and may hang.
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = 0;
}

LdapHelper::Connected LdapHelper::Connect() {
  auto pair = SocketPair();
  if (!pair) return {{}, io::StreamEnd::kLocal};
  const int flags = fcntl(pair->first.get(), F_GETFL);
  if (fcntl(pair->first.get(), F_SETFL, flags | O_NONBLOCK) != 0) return {};
  const std::lock_guard lock(mutex_);
  if (!control_.valid() || !directory::SendDescriptor(control_.get(), pair->second.get()))
    return {};
  return {std::move(pair->first)};
}

std::unique_ptr<io::Stream> LdapDialer::Connect(const io::DialOptions&,
                                                io::Stream::Observer& observer) {
  LdapHelper::Connected connected = helper_.Connect();
  return net::SocketStream::DialPair(loop_, std::move(connected.fd), observer, connected.why);
}

}  // namespace postern::daemon
