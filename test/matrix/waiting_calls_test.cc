// waiting_calls_test: the system calls in which a thread would stand still, replaced for this
// program: they return at once, and what they would have taken is summed (WaitedFor).
//
// So a session that waits in one of them, and all others of its worker with it, is found in virtual
// time too.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <chrono>
#include <ctime>

#include "test/matrix/bystander.h"

struct addrinfo;
struct epoll_event;
struct pollfd;

// By their names for the linker: the headers' own declarations differ from system to system.
extern "C" {
int NanoSleep(const timespec* wanted, timespec* left) __asm__("nanosleep");
int ClockNanoSleep(int clock, int flags, const timespec* wanted,
                   timespec* left) __asm__("clock_nanosleep");
int USleep(unsigned us) __asm__("usleep");
int Poll(pollfd* fds, unsigned long num_fds, int ms) __asm__("poll");
int Select(int num_fds, void* in, void* out, void* odd, timeval* wanted) __asm__("select");
int EpollWait(int epoll, epoll_event* events, int num_events, int ms) __asm__("epoll_wait");
int GetAddrInfo(const char* host, const char* service, const addrinfo* hints,
                addrinfo** found) __asm__("getaddrinfo");
}

namespace {

constexpr int64_t kForEver = 3'600'000'000'000;  // ns: as good as
constexpr int64_t kName = 5'000'000'000;         // ns: a name server that does not answer
int64_t g_waited_ns = 0;

int Wait(int64_t ns) {
  g_waited_ns += ns;
  return 0;
}

int64_t InNs(const timespec& time) {
  return time.tv_sec * int64_t{1'000'000'000} + time.tv_nsec;
}

int WaitMs(int ms) {
  return Wait(ms < 0 ? kForEver : ms * int64_t{1'000'000});
}

}  // namespace

int NanoSleep(const timespec* wanted, timespec* /*left*/) {
  return Wait(InNs(*wanted));
}

int ClockNanoSleep(int /*clock*/, int flags, const timespec* wanted, timespec* /*left*/) {
  return Wait(flags == 0 ? InNs(*wanted) : kForEver);
}

int USleep(unsigned us) {
  return Wait(us * int64_t{1000});
}

int Poll(pollfd* /*fds*/, unsigned long /*num_fds*/, int ms) {
  return WaitMs(ms);
}

int Select(int /*num_fds*/, void* /*in*/, void* /*out*/, void* /*odd*/, timeval* wanted) {
  return Wait(wanted == nullptr
                  ? kForEver
                  : wanted->tv_sec * int64_t{1'000'000'000} + wanted->tv_usec * int64_t{1000});
}

int EpollWait(int /*epoll*/, epoll_event* /*events*/, int /*num_events*/, int ms) {
  return WaitMs(ms);
}

int GetAddrInfo(const char* /*host*/, const char* /*service*/, const addrinfo* /*hints*/,
                addrinfo** /*found*/) {
  (void)Wait(kName);
  return -3;  // EAI_AGAIN
}

namespace postern::test {

base::Duration WaitedFor() {
  return std::chrono::duration_cast<base::Duration>(std::chrono::nanoseconds(g_waited_ns));
}

namespace {

TEST(WaitingCallsTest, AreCountedAndReturnAtOnce) {
  const base::Duration before = WaitedFor();
  const timespec second{1, 500'000'000};
  EXPECT_EQ(NanoSleep(&second, nullptr), 0);
  EXPECT_EQ(WaitedFor() - before, std::chrono::milliseconds(1500));
  EXPECT_EQ(Poll(nullptr, 0, 250), 0);
  EXPECT_EQ(WaitedFor() - before, std::chrono::milliseconds(1750));
  EXPECT_EQ(Poll(nullptr, 0, -1), 0);
  EXPECT_GT(WaitedFor() - before, std::chrono::minutes(59));
}

}  // namespace
}  // namespace postern::test
