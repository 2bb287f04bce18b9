// smtp_run: a seed's run.
// SPDX-License-Identifier: Apache-2.0
#include "test/sim/smtp_run.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

namespace postern::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Longer than all timeouts that can follow each other. A disk that answers, however late, is no
// fault to Postern, and may be asked for each octet of a long text: its time comes on top of it.
constexpr base::Duration kLongestRun = std::chrono::hours(12);
constexpr uint64_t kMostSteps = 20'000'000;

}  // namespace

SmtpRun::SmtpRun(conf::Protocol protocol, uint64_t seed, std::shared_ptr<Meters> meters)
    : protocol_(protocol),
      rng_(seed * 2654435761U),
      choices_(protocol, dice_),
      books_(choices_, protocol),
      process_(choices_, loop_, net_, disk_, dice_, books_, std::move(meters)) {
  net_.options = choices_.net;
  disk_.options = choices_.disk;
  loop_.SetDisorder(rng_, choices_.most_late);
  for (int i = 1; i <= kNumServers; ++i)
    servers_.push_back(std::make_unique<SmtpSimServer>(
        i, choices_.servers[static_cast<size_t>(i - 1)], protocol, loop_, net_, dice_, books_));
  most_buffer_ = choices_.config.listeners[0].limits.buffer;
  most_window_ = disk_.options.window_bytes;
}

SmtpRun::~SmtpRun() = default;

uint32_t SmtpRun::Run() {
  ScheduleEvents();
  for (uint32_t i = 0; i < choices_.num_at_once; ++i)
    loop_.Schedule(dice_.UpTo(milliseconds(20)), [this] { BeginClient(); });
  const base::MonoTime begun = loop_.Now();
  const auto lasts = [&] { return loop_.Now() - begun - disk_.answer_time; };
  // A monitor never rests; without one the loop does when all is over.
  (void)loop_.RunUntil(
      [&] {
        return lasts() > kLongestRun ||
               (choices_.is_watched && clients_.size() == choices_.num_clients &&
                process_.num_sessions() == 0);
      },
      kMostSteps);
  has_ended_ = true;
  process_.Stop();
  const bool is_idle = loop_.RunUntilIdle(kMostSteps);
  if (is_idle && lasts() <= 2 * kLongestRun) {
    CheckEnd();
  } else {
    ADD_FAILURE() << "there is no end to it: " << process_.num_sessions() << " sessions after "
                  << loop_.num_steps() << " steps and " << base::Seconds(loop_.Now() - begun)
                  << " s, " << base::Seconds(disk_.answer_time) << " of them the disk's";
    for (const auto& client : clients_)
      if (!client->is_over()) ADD_FAILURE() << client->Words();
  }
  return books_.num_transactions();
}

void SmtpRun::BeginClient() {
  if (clients_.size() == choices_.num_clients) return;
  const auto number = static_cast<uint32_t>(clients_.size() + 1);
  const base::SocketAddress address = SmtpSimClient::AddressOf(number);
  auto [client_end, server_end] =
      net_.Pair(address, *base::SocketAddress::Parse("198.51.100.1:25"));
  clients_.push_back(std::make_unique<SmtpSimClient>(number, choices_, protocol_,
                                                     std::move(client_end), loop_, dice_, books_,
                                                     [this] { OnClientEnd(); }));
  process_.Accept(address, std::move(server_end));
}

// The next one comes, at once or after a while.
void SmtpRun::OnClientEnd() {
  loop_.Schedule(dice_.OneIn(3) ? dice_.UpTo(seconds(12)) : dice_.UpTo(milliseconds(50)),
                 [this] { BeginClient(); });
}

void SmtpRun::ScheduleEvents() {
  for (uint32_t i = 0; i < choices_.num_events; ++i)
    loop_.Schedule(dice_.UpTo(dice_.OneIn(2) ? milliseconds(300) : milliseconds(20'000)),
                   [this] { HappenSomething(); });
}

void SmtpRun::HappenSomething() {
  if (has_ended_) return;
  SmtpSimServer& server = *servers_[dice_.Below(servers_.size())];
  const auto later = [this](auto then) { loop_.Schedule(dice_.UpTo(seconds(10)), then); };
  switch (dice_.Below(14)) {
    case 0:
    case 1:
    case 2:
      choices_.Reconfigure(dice_);
      most_buffer_ = std::max(most_buffer_, choices_.config.listeners[0].limits.buffer);
      return process_.Load();
    case 3:
      if (!choices_.is_watched) process_.SetSomeHealth();
      return later([this] { process_.MakeAllReady(); });
    case 4:
      process_.SetSomeAdmin();
      return later([this] { process_.MakeAllReady(); });
    case 5:
      net_.SetDoor(server.address(), static_cast<SimNet::Door>(1 + dice_.Below(3)));
      return later([this, &server] { net_.SetDoor(server.address(), SimNet::Door::kOpen); });
    case 6:
      return server.Restart();
    case 7:
      return server.EndIdle();
    case 8:
      disk_.options.hangs = !disk_.options.hangs;
      return;
    case 9:
      disk_.options.disk_bytes = dice_.Below(3000);
      return;
    case 10:
      process_.is_short_of_buffers = true;
      return later([this] { process_.is_short_of_buffers = false; });
    case 11:
      net_.options.latency = dice_.UpTo(milliseconds(30));
      return;
    case 12:
      return process_.KillOne();
    default:
      if (dice_.OneIn(3)) process_.Drain();
      return;
  }
}

// --- checks --------------------------------------------------------------------------------------

// What a leg may hold: its buffer, what one read of the other side brings, twice where every octet
// is a dot, and what of a kept message is given at once.
void SmtpRun::CheckBounds() const {
  constexpr size_t kPieceBytes = (64 << 10) + (16 << 10);
  const size_t read = net_.options.max_input_bytes;
  EXPECT_LE(net_.most_unsent_dialled(), most_buffer_ + 2 * read + 2 * kPieceBytes);
  // The longest answers to the shortest commands of one read.
  EXPECT_LE(net_.most_unsent_accepted(), most_buffer_ + 10 * read);
  EXPECT_LE(disk_.most_waiting_bytes, choices_.num_at_once * (most_window_ + 2 * read));
}

void SmtpRun::CheckEnd() {
  EXPECT_EQ(clients_.size(), choices_.num_clients);
  for (const auto& client : clients_)
    if (!client->is_over()) ADD_FAILURE() << "stuck: " << client->Words();
  process_.CheckFree();
  CheckBounds();
  books_.Check();
  clients_.clear();
  servers_.clear();
  loop_.RunUntilIdle(kMostSteps);
  EXPECT_EQ(net_.num_streams(), 0U) << "a leg was left behind";
  EXPECT_EQ(loop_.timers().size(), 0U);
}

}  // namespace postern::test
