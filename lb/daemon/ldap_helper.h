// ldap_helper: the process postern-ldap, started, watched and ended; and the way to it.
//
// It is found beside postern's own binary, or in ../libexec/postern from there. It has one socket
// of ours, by which it is handed an end of a new pair of sockets for each connection that a worker
// wants (SCM_RIGHTS), and it ends when that socket closes, whatever becomes of us. One that ends
// by itself is started again, at once the first time, then after a pause that grows; meanwhile
// there are no connections to it.
// Logs:     its start and its end; what it prints goes to our stderr.
// Owner:    the process.   Thread: control; Connect: any.
// Tests:    test/daemon/ldap_helper_test.cc, test/e2e/test_ldap.py
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <memory>
#include <mutex>
#include <string>

#include "lb/base/clock.h"
#include "lb/io/dialer.h"
#include "lb/io/stream.h"
#include "lb/net/event_loop.h"
#include "lb/net/owned_fd.h"

namespace postern::daemon {

class LdapHelper {
 public:
  static constexpr base::Duration kFirstPause = std::chrono::seconds(1);
  static constexpr base::Duration kLongestPause = std::chrono::seconds(30);
  // One that nobody wants any more answers those who have asked it, who wait no longer than that.
  static constexpr base::Duration kLinger = std::chrono::seconds(10);
  // One that ran for so long had nothing wrong with its start.
  static constexpr base::Duration kProven = std::chrono::seconds(60);

  // path: of the program; empty: it is looked for.
  explicit LdapHelper(std::string path = {});
  ~LdapHelper();
  LdapHelper(const LdapHelper&) = delete;
  LdapHelper& operator=(const LdapHelper&) = delete;

  // Whether anybody needs it, from now on: starts it, or ends it in kLinger.
  void Want(bool is_wanted, base::MonoTime now);
  // To be called about once a second.
  void Look(base::MonoTime now);
  // Ends it, and waits until it has ended.
  void Stop();

  // Our end of a new connection to it, non-blocking; invalid: there is none, because it does not
  // run (kRefused), or for want of a descriptor (kLocal).
  struct Connected {
    net::OwnedFd fd{};
    io::StreamEnd why = io::StreamEnd::kRefused;
  };
  [[nodiscard]] Connected Connect();
  [[nodiscard]] pid_t pid() const { return pid_; }  // 0: none

 private:
  void Start(base::MonoTime now);
  void OnEnded(const std::string& why, base::MonoTime now);

  const std::string path_;
  bool is_wanted_ = false;
  base::MonoTime ends_{};  // if it is not wanted
  pid_t pid_ = 0;
  base::MonoTime started_{};
  base::Duration pause_{};
  base::MonoTime not_before_{};
  std::mutex mutex_;  // of control_
  net::OwnedFd control_;
};

// A worker's way to it, whatever is dialled.
class LdapDialer final : public io::Dialer {
 public:
  LdapDialer(net::EventLoop& loop, LdapHelper& helper) : loop_(loop), helper_(helper) {}
  [[nodiscard]] std::unique_ptr<io::Stream> Connect(const io::DialOptions& options,
                                                    io::Stream::Observer& observer) override;

 private:
  net::EventLoop& loop_;
  LdapHelper& helper_;
};

}  // namespace postern::daemon
