// scripted_directory: a directory that answers what a test says, when it says so.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lb/io/lookup.h"
#include "lb/io/loop.h"

namespace postern::test {

class ScriptedDirectory final : public io::Directory {
 public:
  explicit ScriptedDirectory(io::Loop& loop) : loop_(loop) {}

  // From now on, to everybody.
  void SayAtOnce(io::LookupAnswer::Kind kind, const std::string& value = "") {
    at_once_ = Make(kind, value);
  }
  // To all that wait now, from the loop.
  void Say(io::LookupAnswer::Kind kind, const std::string& value = "") { Say(Make(kind, value)); }
  void Say(const io::LookupAnswer& answer) {
    for (const std::weak_ptr<Done>& one : std::exchange(waiting_, {}))
      loop_.Post([one, answer] {
        // As the lookup may go while it is told.
        if (const auto done = one.lock()) (*done)(answer);
      });
  }
  [[nodiscard]] size_t num_waiting() const {
    size_t count = 0;
    for (const std::weak_ptr<Done>& one : waiting_) count += one.expired() ? 0 : 1;
    return count;
  }

  std::optional<io::LookupAnswer> Ask(const io::LookupQuery& query, Done done,
                                      std::unique_ptr<io::Lookup>& pending) override {
    asked.emplace_back(query.key);
    if (query.login != nullptr && query.login->password != nullptr)
      passwords.emplace_back(query.login->password->Reveal());
    if (at_once_) return at_once_;
    auto waits = std::make_unique<Waits>();
    waits->done = std::make_shared<Done>(std::move(done));
    waiting_.push_back(waits->done);
    pending = std::move(waits);
    return std::nullopt;
  }

  std::vector<std::string> asked, passwords;

 private:
  struct Waits final : io::Lookup {
    std::shared_ptr<Done> done;
  };
  static io::LookupAnswer Make(io::LookupAnswer::Kind kind, const std::string& value) {
    io::LookupAnswer answer;
    answer.kind = kind;
    answer.value = value;
    return answer;
  }

  io::Loop& loop_;
  std::optional<io::LookupAnswer> at_once_;
  std::vector<std::weak_ptr<Done>> waiting_;
};

}  // namespace postern::test
