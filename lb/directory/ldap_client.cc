// ldap_client: one connection to the helper, and who waits for what on it.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/ldap_client.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "lb/base/escape.h"
#include "lb/base/log.h"
#include "lb/base/secret.h"
#include "lb/directory/kept.h"
#include "lb/directory/ldap_filter.h"
#include "lb/directory/ldap_wire.h"
#include "lb/directory/redis_reply.h"
#include "lb/directory/server_dial.h"
#include "lb/io/stream_end.h"
#include "lb/io/timer.h"

namespace postern::directory {
namespace {

// What begins a connection.
base::Secret GreetingOf(const conf::Directory& conf) {
  LdapSettings settings;
  settings.urls = conf.urls;
  settings.starttls = conf.starttls;
  settings.ca = conf.ca.empty() ? LdapClient::kSystemCa : conf.ca;
  settings.bind_dn = conf.bind_dn;
  settings.bind_password = conf.bind_password;
  settings.base = conf.base;
  settings.attribute = conf.attribute;
  settings.timeout = conf.timeout;
  std::string frame = ToFrame(settings);
  base::Secret greeting(frame);
  base::WipeString(frame);
  return greeting;
}

io::LookupAnswer AnswerOf(const LdapReply& reply) {
  switch (reply.kind) {
    case LdapReply::Kind::kFound:
      return MeaningOf(RedisReply{RedisReply::Kind::kString, reply.text});
    case LdapReply::Kind::kUnknown:
      break;
    case LdapReply::Kind::kFailed:
    case LdapReply::Kind::kNoServer:
      return Failed(reply.text.empty() ? "no answer, and no reason" : base::Printable(reply.text));
  }
  io::LookupAnswer answer;
  answer.kind = io::LookupAnswer::Kind::kUnknown;
  return answer;
}

}  // namespace

class LdapClient::Core final : private io::Stream::Observer {
 public:
  Core(io::Loop& loop, io::Dialer& helper, const conf::Directory& conf)
      : filter(conf.filter),
        name_(conf.name),
        loop_(loop),
        helper_(helper),
        greeting_(GreetingOf(conf)),
        patience_(conf.timeout * conf.urls.size() + kGrace),
        timer_(loop.timers(), io::Timer::Invoke<&Core::OnTimer, Core>, this) {}

  // Its number; 0: it cannot be put, and why.
  uint64_t Put(LdapQuestion question, Question& asker, std::string& why);
  void Forget(uint64_t id) { waiting_.erase(id); }

  const std::string filter;

 private:
  struct Waiting {
    Question* asker = nullptr;
    std::string frame{};  // until it was written
    base::MonoTime deadline{};
  };

  void OnStream(io::Stream& stream, io::Stream::Event event) override;
  void TakeInput();
  void TakeReply(const LdapReply& reply);
  void OnTimer();
  void ArmTimer();
  void Lose(const std::string& why, Blame blame = Blame::kServer);

  void OnServed();
  void OnFailing(const std::string& why);

  const std::string name_;
  io::Loop& loop_;
  io::Dialer& helper_;
  const base::Secret greeting_;
  const base::Duration patience_;
  io::Timer timer_;
  std::unique_ptr<io::Stream> stream_;
  std::unique_ptr<LdapFrames> frames_;
  bool is_open_ = false;                 // of stream_
  std::map<uint64_t, Waiting> waiting_;  // in the order of asking, and so of deadlines
  uint64_t next_id_ = 1;
  bool is_failing_ = false;
};

class LdapClient::Question final : public io::Lookup {
 public:
  Question(std::shared_ptr<Core> core, Done done)
      : core_(std::move(core)), done_(std::move(done)) {}
  ~Question() override {
    if (id_ != 0) core_->Forget(id_);
  }
  // What is wrong, if it cannot be put.
  std::optional<io::LookupAnswer> Put(LdapQuestion question) {
    std::string why;
    id_ = core_->Put(std::move(question), *this, why);
    if (id_ == 0) return FailedByUs(std::move(why));
    return std::nullopt;
  }
  // Its caller has forgotten it; this may be destroyed meanwhile.
  void Finish(const io::LookupAnswer& answer) {
    id_ = 0;
    const Done done = std::exchange(done_, nullptr);
    done(answer);
  }

 private:
  const std::shared_ptr<Core> core_;
  Done done_;
  uint64_t id_ = 0;
};

uint64_t LdapClient::Core::Put(LdapQuestion question, Question& asker, std::string& why) {
  if (waiting_.size() >= kMaxQuestions ||
      (stream_ != nullptr && stream_->Unsent() > kMaxUnsentBytes)) {
    why = "too many questions are waiting";
    return 0;
  }
  question.id = next_id_++;
  Waiting waiting{&asker, ToFrame(question), loop_.Now() + patience_};
  if (stream_ == nullptr) {
    io::DialOptions options;
    options.unix_path = kHelper;
    frames_ = std::make_unique<LdapFrames>();
    stream_ = helper_.Connect(options, *this);
  } else if (is_open_) {
    stream_->Write(std::exchange(waiting.frame, {}));
  }
  waiting_.emplace(question.id, std::move(waiting));
  ArmTimer();
  return question.id;
}

void LdapClient::Core::OnStream(io::Stream& stream, io::Stream::Event event) {
  if (&stream != stream_.get()) return;
  switch (event) {
    case io::Stream::Event::kConnected:
      is_open_ = true;
      stream_->Write(greeting_.Reveal());
      for (auto& [id, waiting] : waiting_) stream_->Write(std::exchange(waiting.frame, {}));
      return;
    case io::Stream::Event::kReadable:
      return TakeInput();
    case io::Stream::Event::kEnd:
      if (stream_->end() == io::StreamEnd::kLocal)
        return Lose(base::Printable(io::EndInWords(*stream_), 200), Blame::kUs);
      return Lose(
          std::string(kHelper) + ": " +
          (is_open_ ? base::Printable(io::EndInWords(*stream_), 200) : "it is not running"));
    case io::Stream::Event::kDrained:
    case io::Stream::Event::kTlsUp:
      return;
  }
}

void LdapClient::Core::TakeInput() {
  frames_->Feed(stream_->Input());
  stream_->Consume(stream_->Input().size());
  // An asker may do anything, so that this connection is another's, or none, afterwards.
  const io::Stream* const stream = stream_.get();
  while (const auto content = frames_->Next()) {
    const auto reply = ParseLdapReply(*content);
    if (!reply || reply->id == 0 || reply->id >= next_id_)
      return Lose(std::string(kHelper) + ": what it says is not understood");
    TakeReply(*reply);
    if (stream_.get() != stream) return;
  }
  if (frames_->is_broken()) Lose(std::string(kHelper) + ": what it says is not understood");
}

void LdapClient::Core::TakeReply(const LdapReply& reply) {
  const auto it = waiting_.find(reply.id);
  if (it == waiting_.end()) return;  // too late, or nobody wants to know any more
  Question* const asker = it->second.asker;
  waiting_.erase(it);
  ArmTimer();
  const io::LookupAnswer answer = AnswerOf(reply);
  if (reply.kind == LdapReply::Kind::kNoServer) {
    OnFailing(answer.why);
  } else {
    OnServed();
  }
  asker->Finish(answer);
}

void LdapClient::Core::OnServed() {
  if (std::exchange(is_failing_, false)) base::log::Info("directory_back", {{"directory", name_}});
}

void LdapClient::Core::OnFailing(const std::string& why) {
  if (!std::exchange(is_failing_, true))
    base::log::Warn("directory_failed", {{"directory", name_}, {"why", why}});
}

void LdapClient::Core::ArmTimer() {
  if (waiting_.empty()) return timer_.Cancel();
  timer_.ArmAt(waiting_.begin()->second.deadline);
}

void LdapClient::Core::OnTimer() {
  if (!waiting_.empty() && waiting_.begin()->second.deadline <= loop_.Now()) {
    Question* const asker = waiting_.begin()->second.asker;
    waiting_.erase(waiting_.begin());
    ArmTimer();  // the next one may be due too: it comes in the next round
    const std::string why = std::string(kHelper) + ": no answer in time";
    OnFailing(why);
    return asker->Finish(Failed(why));
  }
  ArmTimer();
}

void LdapClient::Core::Lose(const std::string& why, Blame blame) {
  Drop(loop_, std::move(stream_));
  frames_.reset();
  is_open_ = false;
  if (!waiting_.empty() && blame == Blame::kServer) OnFailing(why);
  // Those that wait now, each once; any of them may make others superfluous, or ask anew.
  const uint64_t end = next_id_;
  while (!waiting_.empty() && waiting_.begin()->first < end) {
    Question* const asker = waiting_.begin()->second.asker;
    waiting_.erase(waiting_.begin());
    asker->Finish(blame == Blame::kUs ? FailedByUs(why) : Failed(why));
  }
  ArmTimer();
}

LdapClient::LdapClient(io::Loop& loop, io::Dialer& helper, const conf::Directory& conf)
    : core_(MakeKept<Core>(loop, loop, helper, conf)) {}

LdapClient::~LdapClient() = default;

std::optional<io::LookupAnswer> LdapClient::Ask(const io::LookupQuery& query, Done done,
                                                std::unique_ptr<io::Lookup>& pending) {
  if (query.key.empty()) return Failed("there is nobody to ask for");
  LdapQuestion ask;
  ask.filter = LdapFilter(core_->filter, query.key);
  if (ask.filter.size() > kMaxFrameBytes / 2) return Failed("the key is too long");
  auto question = std::make_unique<Question>(core_, std::move(done));
  if (auto answer = question->Put(std::move(ask))) return answer;
  pending = std::move(question);
  return std::nullopt;
}

}  // namespace postern::directory
