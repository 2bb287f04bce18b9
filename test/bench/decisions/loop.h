// loop: epoll, timers and lines over sockets; what backends and clients of the benchmark share.
//
// One thread. Connections are held by shared_ptr; a timer that outlives what it was for holds a
// weak_ptr.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace bench {

// Milliseconds of the monotonic clock.
inline double NowMs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1000 + static_cast<double>(now.tv_nsec) / 1e6;
}

class Loop {
 public:
  using Ready = std::function<void(uint32_t events)>;
  using Call = std::function<void()>;

  void Watch(int fd, uint32_t events, Ready ready) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    const bool is_new = !ready_.contains(fd);
    ready_[fd] = std::make_shared<Ready>(std::move(ready));
    epoll_ctl(epoll_, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event);
  }
  void Close(int fd) {
    if (ready_.erase(fd) > 0) epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
    close(fd);
  }
  void At(double at_ms, Call call) { timers_.push({at_ms, ++serial_, std::move(call)}); }
  void After(double ms, Call call) { At(NowMs() + ms, std::move(call)); }
  void Stop() { is_running_ = false; }
  // The latest a timer came, since the start: how far the machine was disturbed.
  [[nodiscard]] double worst_lag_ms() const { return worst_lag_ms_; }

  void Run() {
    epoll_event events[256];
    while (is_running_) {
      int wait_ms = 1000;
      if (!timers_.empty())
        wait_ms = std::max(0, static_cast<int>(timers_.top().at_ms - NowMs() + 0.999));
      const int count = epoll_wait(epoll_, events, 256, wait_ms);
      for (int i = 0; i < count; ++i) {
        const auto it = ready_.find(events[i].data.fd);
        if (it == ready_.end()) continue;
        const std::shared_ptr<Ready> ready = it->second;  // it may close itself
        (*ready)(events[i].events);
      }
      while (is_running_ && !timers_.empty() && timers_.top().at_ms <= NowMs()) {
        worst_lag_ms_ = std::max(worst_lag_ms_, NowMs() - timers_.top().at_ms);
        const Call call = std::move(const_cast<Timer&>(timers_.top()).call);
        timers_.pop();
        call();
      }
    }
  }

 private:
  struct Timer {
    double at_ms;
    uint64_t serial;
    Call call;
    bool operator<(const Timer& other) const {
      return at_ms != other.at_ms ? at_ms > other.at_ms : serial > other.serial;
    }
  };
  int epoll_ = epoll_create1(0);
  std::unordered_map<int, std::shared_ptr<Ready>> ready_;
  std::priority_queue<Timer> timers_;
  uint64_t serial_ = 0;
  bool is_running_ = true;
  double worst_lag_ms_ = 0;
};

inline sockaddr_in AddressOf(const std::string& text) {  // "127.0.0.1:25"
  const size_t colon = text.find(':');
  sockaddr_in address{};
  address.sin_family = AF_INET;
  inet_pton(AF_INET, text.substr(0, colon).c_str(), &address.sin_addr);
  address.sin_port = htons(static_cast<uint16_t>(std::stoi(text.substr(colon + 1))));
  return address;
}

// Lines over a non-blocking socket.
class Lines : public std::enable_shared_from_this<Lines> {
 public:
  // on_line: without CRLF. on_end: once; the socket is closed already.
  Lines(Loop& loop, int fd) : loop_(loop), fd_(fd) {}
  ~Lines() { Close(); }
  std::function<void(std::string_view line)> on_line;
  std::function<void()> on_end;

  void Start() {
    const int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    loop_.Watch(fd_, EPOLLIN, [weak = weak_from_this()](uint32_t) {
      if (const auto self = weak.lock()) self->OnReadable();
    });
  }
  // Texts here are far smaller than a socket's buffer; one that does not fit is a lost peer.
  void Say(std::string_view text) {
    if (fd_ >= 0) (void)!send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
  }
  void Close() {
    if (fd_ >= 0) loop_.Close(std::exchange(fd_, -1));
  }
  [[nodiscard]] bool is_open() const { return fd_ >= 0; }

 private:
  void OnReadable() {
    char buffer[4096];
    const ssize_t got = recv(fd_, buffer, sizeof buffer, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
      Close();
      if (on_end) on_end();
      return;
    }
    held_.append(buffer, static_cast<size_t>(got));
    size_t start = 0;
    for (size_t end; fd_ >= 0 && (end = held_.find("\r\n", start)) != std::string::npos;) {
      const std::string line = held_.substr(start, end - start);
      start = end + 2;
      on_line(line);
    }
    held_.erase(0, start);
  }

  Loop& loop_;
  int fd_;
  std::string held_;
};

// Commands of the runner on standard input, split at blanks; its end ends the program.
inline void TakeCommands(Loop& loop, std::function<void(const std::vector<std::string>&)> act) {
  auto held = std::make_shared<std::string>();
  loop.Watch(0, EPOLLIN, [&loop, held, act = std::move(act)](uint32_t) {
    char buffer[4096];
    const ssize_t got = read(0, buffer, sizeof buffer);
    if (got <= 0) return loop.Stop();
    held->append(buffer, static_cast<size_t>(got));
    for (size_t end; (end = held->find('\n')) != std::string::npos; held->erase(0, end + 1)) {
      std::vector<std::string> words;
      for (size_t at = 0; at < end;) {
        const size_t blank = std::min(end, held->find(' ', at));
        if (blank > at) words.push_back(held->substr(at, blank - at));
        at = blank + 1;
      }
      if (!words.empty()) act(words);
    }
  });
}

enum Protocol { kImap, kSmtp, kNumProtocols };

// What a backend suffers; the omniscient dispatcher is told the same.
struct Faults {
  double slow[kNumProtocols] = {1, 1};
  bool is_dead = false;         // the process is gone
  bool is_mute = false;         // accepts, and never greets
  bool refuses = false;         // greets 421, or BYE
  bool is_unavailable = false;  // answers logins [UNAVAILABLE]
  double depth = 0;             // of its mail queue

  void Set(const std::string& key, double value) {
    if (key == "slow") slow[kImap] = slow[kSmtp] = value;
    if (key == "slow_imap") slow[kImap] = value;
    if (key == "slow_smtp") slow[kSmtp] = value;
    if (key == "dead") is_dead = value != 0;
    if (key == "mute") is_mute = value != 0;
    if (key == "refuse") refuses = value != 0;
    if (key == "unavailable") is_unavailable = value != 0;
    if (key == "depth") depth = value;
  }
};

// A session's demand is a worker's time, drawn by the client and told in its user's name, so that
// every contender serves the very same sessions. Of it, the parts of an IMAP login and NOOP, or of
// a recipient and a message's end; a greeting takes the same of each.
constexpr double kGreetingMs = 4;
constexpr double kMainPart = 0.8, kSmallPart = 0.2;

}  // namespace bench
