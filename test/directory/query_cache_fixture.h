// query_cache_fixture: a cached directory over one that does as it is told, and those who ask.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "lb/directory/query_cache.h"
#include "test/support/sim_loop.h"

namespace postern::directory {

using Kind = io::LookupAnswer::Kind;

inline io::LookupAnswer Found(std::string value) {
  io::LookupAnswer answer;
  answer.kind = Kind::kFound;
  answer.value = std::move(value);
  return answer;
}
inline io::LookupAnswer Of(Kind kind, std::string why = "") {
  io::LookupAnswer answer;
  answer.kind = kind;
  answer.why = std::move(why);
  return answer;
}
inline io::LookupAnswer Failed() {
  return Of(Kind::kFailed, "timeout");
}

// Answers when it is told to; or at once, if `at_once` says what.
class ScriptedDirectory final : public io::Directory {
 public:
  struct State {
    std::vector<std::string> asked;  // keys, in order
    std::map<size_t, Done> open;     // by their place in `asked`
    std::vector<size_t> cancelled;
    std::function<std::optional<io::LookupAnswer>(std::string_view key)> at_once;
  };
  explicit ScriptedDirectory(std::shared_ptr<State> state) : state_(std::move(state)) {}

  [[nodiscard]] std::optional<io::LookupAnswer> Ask(const io::LookupQuery& query, Done done,
                                                    std::unique_ptr<io::Lookup>& pending) override {
    const size_t number = state_->asked.size();
    state_->asked.emplace_back(query.key);
    if (state_->at_once)
      if (auto answer = state_->at_once(query.key)) return answer;
    state_->open.emplace(number, std::move(done));
    pending = std::make_unique<Question>(state_, number);
    return std::nullopt;
  }

 private:
  struct Question final : io::Lookup {
    Question(std::shared_ptr<State> its_state, size_t its_number)
        : state(std::move(its_state)), number(its_number) {}
    ~Question() override {
      if (state->open.erase(number) > 0) state->cancelled.push_back(number);
    }
    std::shared_ptr<State> state;
    size_t number;
  };
  std::shared_ptr<State> state_;
};

class CachedDirectoryTest : public testing::Test {
 protected:
  // One who asks: what it was told, and when.
  struct Asker {
    std::unique_ptr<io::Lookup> pending;
    std::vector<io::LookupAnswer> told;
    bool is_at_once = false;
    std::function<void()> then;  // within done
    [[nodiscard]] const io::LookupAnswer& answer() const {
      static const io::LookupAnswer kNone = Of(Kind::kFailed, "nothing was told");
      EXPECT_EQ(told.size(), 1u);
      return told.empty() ? kNone : told.front();
    }
  };

  void Make(const CacheSettings& settings) {
    cache_ = std::make_unique<CachedDirectory>(loop_, std::make_unique<ScriptedDirectory>(inner_),
                                               settings);
  }
  void SetUp() override { Make({}); }

  void AskInto(Asker& asker, std::string_view key, const io::LoginFacts* login = nullptr) {
    auto answer = cache_->Ask(
        {key, login},
        [&asker](const io::LookupAnswer& later) {
          asker.told.push_back(later);
          const auto then = std::move(asker.then);
          asker.then = nullptr;
          if (then) then();
        },
        asker.pending);
    EXPECT_NE(answer.has_value(), asker.pending != nullptr);
    if (!answer) return;
    asker.is_at_once = true;
    asker.told.push_back(*std::move(answer));
  }
  Asker& Ask(std::string_view key, const io::LoginFacts* login = nullptr) {
    askers_.push_back(std::make_unique<Asker>());
    AskInto(*askers_.back(), key, login);
    return *askers_.back();
  }
  // The inner directory's answer to its n-th question.
  void Answer(size_t number, const io::LookupAnswer& answer) {
    const auto open = inner_->open.extract(number);
    ASSERT_FALSE(open.empty()) << "question " << number << " is not open";
    open.mapped()(answer);
  }
  void AnswerLast(const io::LookupAnswer& answer) { Answer(inner_->asked.size() - 1, answer); }
  // One question with its answer.
  void Teach(std::string_view key, const io::LookupAnswer& answer) {
    Asker asker;
    AskInto(asker, key);
    AnswerLast(answer);
    EXPECT_EQ(asker.told.size(), 1u);
  }
  // From now on every question fails at once.
  void Break() {
    inner_->at_once = [](std::string_view) { return Failed(); };
  }
  void Repair() { inner_->at_once = nullptr; }
  [[nodiscard]] size_t num_asked() const { return inner_->asked.size(); }

  test::SimLoop loop_;
  std::shared_ptr<ScriptedDirectory::State> inner_ = std::make_shared<ScriptedDirectory::State>();
  std::unique_ptr<CachedDirectory> cache_;
  std::vector<std::unique_ptr<Asker>> askers_;
};

}  // namespace postern::directory
