// moves_bench: who moves when a pool with `balance: hash` loses or gains a member.
//
//   moves_bench [USERS]
//
// Of so many users, those whose member is another one afterwards, against the share that has to
// move: the weight of the member that goes or comes. "for nothing" are those who leave a member
// that still serves for another than the new one. Not part of the tests: `ninja moves_bench`.
// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "conf/config.h"
#include "lb/balance/endpoint.h"
#include "lb/balance/picker.h"
#include "lb/base/clock.h"
#include "lb/base/rng.h"

namespace {

using namespace postern;

struct Member {
  std::string name;
  int64_t weight = 100;
  bool is_down = false;
};

std::vector<Member> Members(int count) {
  std::vector<Member> members;
  for (int i = 1; i <= count; ++i) members.push_back({"mail" + std::to_string(i)});
  return members;
}

// The member of each user.
std::vector<std::string> Assign(const std::vector<Member>& members, size_t num_users) {
  conf::Config config;
  conf::Pool pool;
  pool.name = "store";
  pool.balance = conf::Balance::kHash;
  pool.storage = conf::Storage::kShared;
  for (const Member& member : members) {
    conf::Backend backend;
    backend.name = member.name;
    backend.weight = member.weight;
    backend.endpoints.emplace_back().protocol = conf::Protocol::kImap;
    pool.backends.push_back(backend.name);
    config.backends.push_back(backend);
  }
  config.pools.push_back(pool);
  balance::EndpointBook book(1);
  const balance::EndpointTable table(config, book);
  const balance::Home& home = *table.PoolHome(0, conf::Protocol::kImap);
  for (size_t i = 0; i < members.size(); ++i)
    if (members[i].is_down) home.members[i]->state->health = balance::Health::kDown;
  base::SeededRng rng(1);
  balance::Picker picker(0, rng);
  std::vector<std::string> assigned;
  assigned.reserve(num_users);
  for (size_t user = 0; user < num_users; ++user) {
    const std::string key = "user" + std::to_string(user) + "@example.com";
    const balance::Endpoint* const member =
        picker.Pick(home, key, {}, base::MonoTime(std::chrono::hours(1)));
    if (member == nullptr) std::abort();
    assigned.push_back(member->state->backend);
  }
  return assigned;
}

// changed: the member that goes or comes.
void Compare(const char* what, const std::vector<Member>& before, const std::vector<Member>& after,
             const std::string& changed, double expected_percent, size_t num_users) {
  const std::vector<std::string> old_members = Assign(before, num_users);
  const std::vector<std::string> new_members = Assign(after, num_users);
  size_t num_moved = 0;
  size_t num_for_nothing = 0;
  for (size_t user = 0; user < num_users; ++user) {
    if (old_members[user] == new_members[user]) continue;
    ++num_moved;
    num_for_nothing += old_members[user] != changed && new_members[user] != changed;
  }
  std::printf("%-36s %7.2f %% %9.2f %% %12zu\n", what,
              100.0 * static_cast<double>(num_moved) / static_cast<double>(num_users),
              expected_percent, num_for_nothing);
}

}  // namespace

int main(int num_arguments, char** arguments) {
  const size_t num_users =
      num_arguments > 1 ? std::strtoull(arguments[1], nullptr, 10) : size_t{100'000};
  std::printf("%-36s %9s %11s %12s   (%zu users)\n", "", "moved", "expected", "for nothing",
              num_users);
  const std::vector<Member> ten = Members(10);
  std::vector<Member> one_down = ten;
  one_down[3].is_down = true;
  Compare("1 of 10 is down", ten, one_down, ten[3].name, 10, num_users);
  Compare("1 of 10 is taken out", ten, Members(9), ten[9].name, 10, num_users);
  Compare("an 11th is added", ten, Members(11), Members(11)[10].name, 100.0 / 11, num_users);
  std::vector<Member> heavy = ten;
  heavy[3].weight = 300;
  std::vector<Member> heavy_down = heavy;
  heavy_down[3].is_down = true;
  Compare("1 of 10, of three times the weight", heavy, heavy_down, ten[3].name, 100.0 * 3 / 12,
          num_users);
  Compare("1 of 10 gets three times the weight", ten, heavy, ten[3].name, 100.0 * (3.0 / 12 - 0.1),
          num_users);
  return 0;
}
