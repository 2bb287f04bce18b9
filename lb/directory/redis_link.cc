// redis_link: connect, log in, ask, and what becomes of those who wait when it ends.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/redis_link.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "lb/base/escape.h"
#include "lb/io/stream_end.h"

namespace postern::directory {

RedisLink::RedisLink(io::Loop& loop, io::Dialer& dialer, Servers& servers, uint32_t server,
                     base::Duration timeout, base::Secret login)
    : loop_(loop),
      dialer_(dialer),
      servers_(servers),
      server_(server),
      timeout_(timeout),
      login_(std::move(login)),
      timer_(loop.timers(), io::Timer::Invoke<&RedisLink::OnTimer, RedisLink>, this) {}

RedisLink::~RedisLink() = default;

bool RedisLink::Ask(std::string_view command, Asker& asker) {
  if (questions_.size() >= kMaxQuestions) return false;
  Question question;
  question.command = command;
  question.asker = &asker;
  question.deadline = loop_.Now() + timeout_;
  if (state_ == State::kOpen) stream_->Write(command);
  questions_.push_back(std::move(question));
  if (state_ == State::kClosed) Connect();
  ArmTimer();
  return true;
}

void RedisLink::Forget(const Asker& asker) {
  for (std::deque<Question>* questions : {&questions_, &lost_})
    for (Question& question : *questions)
      if (question.asker == &asker) question.asker = nullptr;
}

// --- connecting -----------------------------------------------------------------------------

void RedisLink::Connect() {
  if (loop_.Now() < not_before_) {
    state_ = State::kPausing;
  } else {
    Dial();
  }
  ArmTimer();
}

void RedisLink::Dial() {
  state_ = State::kDialling;
  dial_ = std::make_unique<ServerDial>(
      loop_, dialer_, servers_, server_, DialTls{},
      [this](std::unique_ptr<io::Stream> stream, const std::string& why, Blame blame) {
        OnDialled(std::move(stream), why, blame);
      });
  dial_->Start();
}

void RedisLink::OnDialled(std::unique_ptr<io::Stream> stream, const std::string& why, Blame blame) {
  dial_.reset();
  if (stream == nullptr) return FailConnection(why, blame);
  stream_ = std::move(stream);
  stream_->SetObserver(this);
  reader_ = std::make_unique<RedisReader>();
  if (login_.empty()) {
    Open();
  } else {
    // The questions wait for the answer: without a login each would be refused.
    state_ = State::kLoggingIn;
    stream_->Write(login_.Reveal());
  }
  TakeInput();
}

void RedisLink::Open() {
  state_ = State::kOpen;
  pause_ = {};
  for (const Question& question : questions_) stream_->Write(question.command);
  idle_until_ = loop_.Now() + kIdleFor;
  ArmTimer();
}

// --- the connection -------------------------------------------------------------------------

void RedisLink::OnStream(io::Stream&, io::Stream::Event event) {
  if (stream_ == nullptr) return;
  if (event == io::Stream::Event::kReadable) return TakeInput();
  if (event != io::Stream::Event::kEnd) return;
  const std::string why = base::Printable(io::EndInWords(*stream_), 200);
  if (state_ == State::kOpen) return Lose(why);
  FailConnection(why);
}

void RedisLink::TakeInput() {
  const base::ByteView input = stream_->Input();
  if (input.empty()) return;
  std::vector<RedisReply> replies;
  const bool is_good = reader_->Feed(input, replies);
  const std::string error = reader_->error();
  stream_->Consume(input.size());
  // An asker may do anything, so that this connection is another's, or none, afterwards.
  const io::Stream* const stream = stream_.get();
  for (const RedisReply& reply : replies) {
    TakeReply(reply);
    if (stream_.get() != stream) return;
  }
  if (!is_good) FailConnection(error);
}

void RedisLink::TakeReply(const RedisReply& reply) {
  if (state_ == State::kLoggingIn) {
    if (reply.kind == RedisReply::Kind::kStatus && reply.text == "OK") return Open();
    return FailConnection(reply.kind == RedisReply::Kind::kError
                              ? base::Printable(reply.text, 200)
                              : "its reply to AUTH is not understood");
  }
  if (questions_.empty()) return FailConnection("it answers what was not asked");
  const bool is_in_place = reply.kind == RedisReply::Kind::kString ||
                           reply.kind == RedisReply::Kind::kNil ||
                           reply.kind == RedisReply::Kind::kError;
  // Else nobody knows any more which reply belongs to which question.
  if (!is_in_place) return FailConnection("the reply is of a kind that was not asked for");
  Asker* const asker = questions_.front().asker;
  questions_.pop_front();
  if (questions_.empty()) idle_until_ = loop_.Now() + kIdleFor;
  ArmTimer();
  if (asker != nullptr) asker->OnReply(reply);
}

// --- time -----------------------------------------------------------------------------------

// Deadlines are in the order of asking.
void RedisLink::ArmTimer() {
  if (!questions_.empty()) {
    const base::MonoTime deadline = questions_.front().deadline;
    timer_.ArmAt(state_ == State::kPausing ? std::min(deadline, not_before_) : deadline);
  } else if (state_ == State::kOpen) {
    timer_.ArmAt(idle_until_);
  } else {
    timer_.Cancel();
  }
}

void RedisLink::OnTimer() {
  if (questions_.empty()) return Close();
  if (loop_.Now() < questions_.front().deadline) {
    if (state_ == State::kPausing) Dial();
    return ArmTimer();
  }
  if (state_ == State::kDialling && dial_ != nullptr)
    return FailConnection(std::string(dial_->GiveUp()));
  FailConnection(state_ == State::kPausing ? "no connection in time" : "no answer in time");
}

// --- its end --------------------------------------------------------------------------------

void RedisLink::Close() {
  timer_.Cancel();
  dial_.reset();
  reader_.reset();
  Drop(loop_, std::move(stream_));
  state_ = State::kClosed;
}

// It does not work: all that waits goes elsewhere.
void RedisLink::FailConnection(const std::string& why, Blame blame) {
  Close();
  pause_ = std::clamp<base::Duration>(2 * pause_, kFirstPause, kLongestPause);
  not_before_ = loop_.Now() + pause_;
  lost_.insert(lost_.end(), std::make_move_iterator(questions_.begin()),
               std::make_move_iterator(questions_.end()));
  questions_.clear();
  TellNoReply(why, blame);
}

// It did work: once more.
void RedisLink::Lose(const std::string& why) {
  Close();
  for (Question& question : std::exchange(questions_, {})) {
    if (question.asker == nullptr) continue;
    (question.is_repeated ? lost_ : questions_).push_back(std::move(question));
  }
  for (Question& question : questions_) question.is_repeated = true;
  if (!questions_.empty()) Connect();
  TellNoReply(why, Blame::kServer);
}

// Any of them may make the next ones superfluous, or ask again.
void RedisLink::TellNoReply(const std::string& why, Blame blame) {
  while (!lost_.empty()) {
    Asker* const asker = lost_.front().asker;
    lost_.pop_front();
    if (asker != nullptr) asker->OnNoReply(why, blame);
  }
}

}  // namespace postern::directory
