// redis: one question through the servers, and what its value means.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/redis.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lb/base/escape.h"
#include "lb/base/secret.h"
#include "lb/directory/kept.h"
#include "lb/directory/redis_link.h"
#include "lb/directory/redis_reply.h"
#include "lb/directory/server_walk.h"
#include "lb/directory/servers.h"

namespace postern::directory {
namespace {

std::vector<ServerPlace> PlacesOf(const conf::Directory& conf) {
  std::vector<ServerPlace> places;
  for (const std::string& text : conf.addresses)
    // The validator has refused what is no address.
    if (auto place = ServerPlace::Parse(text)) places.push_back(std::move(*place));
  return places;
}

base::Secret LoginOf(const conf::Directory& conf) {
  if (conf.password.empty()) return {};
  std::vector<std::string_view> words = {"AUTH"};
  if (!conf.username.empty()) words.push_back(conf.username);
  words.push_back(conf.password.Reveal());
  std::string command = RedisCommand(words);
  base::Secret login(command);
  base::WipeString(command);
  return login;
}

}  // namespace

struct Redis::Core {
  Core(io::Loop& loop, io::Dialer& dialer, io::Resolver& resolver, const conf::Directory& its_conf)
      : key(its_conf.key),
        field(its_conf.field),
        servers(loop, resolver, its_conf.name, PlacesOf(its_conf)) {
    for (uint32_t i = 0; i < servers.size(); ++i)
      links.push_back(std::make_unique<RedisLink>(loop, dialer, servers, i, its_conf.timeout,
                                                  LoginOf(its_conf)));
  }

  const std::string key, field;
  Servers servers;
  std::vector<std::unique_ptr<RedisLink>> links;  // by server
};

class Redis::Question final : public io::Lookup, private RedisLink::Asker {
 public:
  Question(std::shared_ptr<Core> core, std::string command, Done done)
      : core_(std::move(core)),
        command_(std::move(command)),
        done_(std::move(done)),
        walk_(core_->servers) {}
  ~Question() override {
    if (is_waiting_) core_->links[walk_.server()]->Forget(*this);
  }

  // The next server that takes the question and answers later; an answer if there is none left.
  std::optional<io::LookupAnswer> AskNext() {
    while (walk_.Next()) {
      is_waiting_ = core_->links[walk_.server()]->Ask(command_, *this);
      if (is_waiting_) return std::nullopt;
      walk_.Leave("too many questions are waiting", Blame::kUs);
    }
    return walk_.Failure();
  }

 private:
  void OnReply(const RedisReply& reply) override {
    is_waiting_ = false;
    io::LookupAnswer answer = MeaningOf(reply);
    answer.is_of_question = true;  // where it is a failure, and not of the server
    if (IsOfServer(reply)) return Leave(answer.why, Blame::kServer);
    Finish(walk_.Answered(std::move(answer)));
  }
  void OnNoReply(const std::string& why, Blame blame) override {
    is_waiting_ = false;
    Leave(why, blame);
  }

  void Leave(const std::string& why, Blame blame) {
    walk_.Leave(why, blame);
    if (const auto answer = AskNext()) Finish(*answer);
  }

  // Its caller may destroy this.
  void Finish(const io::LookupAnswer& answer) {
    const Done done = std::exchange(done_, nullptr);
    done(answer);
  }

  const std::shared_ptr<Core> core_;
  const std::string command_;
  Done done_;
  ServerWalk walk_;
  bool is_waiting_ = false;  // at the server that it asks
};

Redis::Redis(io::Loop& loop, io::Dialer& dialer, io::Resolver& resolver,
             const conf::Directory& conf)
    : core_(MakeKept<Core>(loop, loop, dialer, resolver, conf)) {}

Redis::~Redis() = default;

std::optional<io::LookupAnswer> Redis::Ask(const io::LookupQuery& query, Done done,
                                           std::unique_ptr<io::Lookup>& pending) {
  if (core_->servers.size() == 0) return Failed("it has no servers");
  if (query.key.empty()) return FailedForOne("there is nobody to ask for");
  const std::string key = FillTemplate(core_->key, query.key);
  if (key.size() > kMaxKeyBytes) return FailedForOne("the key is too long");
  std::vector<std::string_view> words = {core_->field.empty() ? "GET" : "HGET", key};
  if (!core_->field.empty()) words.push_back(core_->field);
  auto question = std::make_unique<Question>(core_, RedisCommand(words), std::move(done));
  if (auto answer = question->AskNext()) return answer;
  pending = std::move(question);
  return std::nullopt;
}

}  // namespace postern::directory
