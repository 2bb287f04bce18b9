// ldap_pool: a queue, its threads, and which server is asked first.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/ldap_pool.h"

#include <algorithm>
#include <utility>

namespace postern::directory {

LdapPool::LdapPool(LdapSettings settings)
    : settings_(std::move(settings)), order_(settings_.urls.size()) {}

LdapPool::~LdapPool() {
  {
    const std::lock_guard lock(mutex_);
    is_ending_ = true;
    questions_.clear();
  }
  news_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void LdapPool::Ask(LdapQuestion question, Done done) {
  const base::MonoTime deadline =
      base::SystemClock().Now() + settings_.timeout * settings_.urls.size();
  {
    const std::lock_guard lock(mutex_);
    if (questions_.size() < kMaxQuestions) {
      questions_.push_back({std::move(question), std::move(done), deadline});
      if (questions_.size() > num_free_ && threads_.size() < kMaxThreads)
        threads_.emplace_back([this] { Run(); });
      news_.notify_one();
      return;
    }
  }
  done({question.id, LdapReply::Kind::kFailed, "too many questions are waiting"});
}

void LdapPool::Run() {
  Connection connection;
  std::unique_lock lock(mutex_);
  for (;;) {
    ++num_free_;
    news_.wait(lock, [this] { return is_ending_ || !questions_.empty(); });
    --num_free_;
    if (is_ending_) return;
    const Waiting waiting = std::move(questions_.front());
    questions_.pop_front();
    lock.unlock();
    waiting.done(Answer(waiting, connection));
    lock.lock();
  }
}

LdapReply LdapPool::Answer(const Waiting& waiting, Connection& connection) {
  LdapReply reply;
  reply.id = waiting.question.id;
  reply.kind = LdapReply::Kind::kNoServer;
  for (const uint32_t server : Order()) {
    const base::MonoTime now = base::SystemClock().Now();
    if (now >= waiting.deadline) {
      reply.text += reply.text.empty() ? "no time was left to ask" : "; no time was left";
      return reply;
    }
    OnAsked(server);
    LdapOutcome outcome =
        AskServer(server, waiting.question.filter,
                  std::min(now + settings_.timeout, waiting.deadline), connection);
    OnOutcome(server, outcome.is_of_server);
    if (outcome.kind == LdapReply::Kind::kFailed) {
      if (!reply.text.empty()) reply.text += "; ";
      reply.text += settings_.urls[server] + ": " + outcome.text;
    }
    if (outcome.is_of_server) continue;
    reply.kind = outcome.kind;
    if (outcome.kind != LdapReply::Kind::kFailed) reply.text = std::move(outcome.text);
    return reply;
  }
  return reply;
}

LdapOutcome LdapPool::AskServer(size_t server, const std::string& filter, base::MonoTime deadline,
                                Connection& connection) {
  if (connection.server != server) connection.search.reset();
  connection.server = server;
  if (connection.search != nullptr) {
    LdapOutcome outcome = connection.search->Ask(filter, deadline);
    if (!outcome.is_of_server) return outcome;
    connection.search.reset();
    if (base::SystemClock().Now() >= deadline) return outcome;
  }
  auto opened = LdapSearch::Open(settings_, settings_.urls[server], deadline);
  if (!opened) return {LdapReply::Kind::kFailed, opened.error(), true};
  connection.search = std::move(opened).value();
  LdapOutcome outcome = connection.search->Ask(filter, deadline);
  if (outcome.is_of_server) connection.search.reset();
  return outcome;
}

std::vector<uint32_t> LdapPool::Order() {
  const std::lock_guard lock(mutex_);
  return order_.Get(base::SystemClock().Now());
}

void LdapPool::OnAsked(uint32_t server) {
  const std::lock_guard lock(mutex_);
  order_.OnAsked(server, base::SystemClock().Now());
}

void LdapPool::OnOutcome(uint32_t server, bool has_failed) {
  const std::lock_guard lock(mutex_);
  if (has_failed) {
    (void)order_.OnFailed(server, base::SystemClock().Now());
  } else {
    (void)order_.OnAnswered(server);
  }
}

}  // namespace postern::directory
