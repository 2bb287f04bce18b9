// redis_link: one connection to one Redis server, kept open; questions of many askers go down it,
// one behind the other, and are answered in that order.
//
// A question waits for its answer until its deadline. A connection on which one was not answered in
// time is given up, with everything behind it. What was lost with a connection that had worked (a
// server closes idle ones) is asked once more on a new one. Connecting is repeated with a growing
// pause, and only while somebody asks.
// Limits:   kMaxQuestions waiting at a time; RedisReader.
// Owner:    a Redis directory.   Thread: its loop's.
// Tests:    test/directory/redis_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "lb/base/clock.h"
#include "lb/base/secret.h"
#include "lb/directory/redis_reply.h"
#include "lb/directory/server_dial.h"
#include "lb/directory/servers.h"
#include "lb/io/dialer.h"
#include "lb/io/loop.h"
#include "lb/io/stream.h"
#include "lb/io/timer.h"

namespace postern::directory {

class RedisLink final : private io::Stream::Observer {
 public:
  static constexpr size_t kMaxQuestions = 1024;
  static constexpr base::Duration kFirstPause = std::chrono::milliseconds(100);
  static constexpr base::Duration kLongestPause = std::chrono::seconds(2);
  // Before a firewall forgets it.
  static constexpr base::Duration kIdleFor = std::chrono::seconds(30);

  // Told one of the two, once, later; may then do anything but delete the link.
  class Asker {
   public:
    virtual void OnReply(const RedisReply& reply) = 0;
    virtual void OnNoReply(const std::string& why, Blame blame) = 0;

   protected:
    ~Asker() = default;
  };

  // login: the AUTH command, or empty.
  RedisLink(io::Loop& loop, io::Dialer& dialer, Servers& servers, uint32_t server,
            base::Duration timeout, base::Secret login);
  ~RedisLink();

  // False: too many are waiting already.
  [[nodiscard]] bool Ask(std::string_view command, Asker& asker);
  // The asker is not told any more.
  void Forget(const Asker& asker);

 private:
  enum class State : uint8_t { kClosed, kPausing, kDialling, kLoggingIn, kOpen };
  struct Question {
    std::string command;
    Asker* asker = nullptr;  // null: nobody wants to know any more
    base::MonoTime deadline{};
    bool is_repeated = false;
  };

  void Connect();
  void Dial();
  void OnDialled(std::unique_ptr<io::Stream> stream, const std::string& why, Blame blame);
  void OnStream(io::Stream& stream, io::Stream::Event event) override;
  void TakeInput();
  void TakeReply(const RedisReply& reply);
  void Open();
  void OnTimer();
  void ArmTimer();
  void Close();
  void FailConnection(const std::string& why, Blame blame = Blame::kServer);
  void Lose(const std::string& why);
  void TellNoReply(const std::string& why, Blame blame);

  io::Loop& loop_;
  io::Dialer& dialer_;
  Servers& servers_;
  const uint32_t server_;
  const base::Duration timeout_;
  const base::Secret login_;
  State state_ = State::kClosed;
  std::deque<Question> questions_;  // sent ones first, all of them in kOpen
  std::deque<Question> lost_;       // whose askers are being told
  base::Duration pause_{};          // zero: the last connection came about
  base::MonoTime not_before_{};     // the next one
  base::MonoTime idle_until_{};
  io::Timer timer_;
  std::unique_ptr<ServerDial> dial_;
  std::unique_ptr<io::Stream> stream_;
  std::unique_ptr<RedisReader> reader_;
};

}  // namespace postern::directory
