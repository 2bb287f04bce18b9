// directory_bench: what a file map of a million users costs: loading, memory, a look-up; and a
// look-up among ten thousand patterns.
//
//   directory_bench [ROWS]
//
// Memory is what the allocator has given out, not what the map says of itself. Keys are looked up
// in random order, so that caches help as little as in life; a session's own cost is not in it.
// Not part of the tests: `ninja directory_bench`, optimised.
// SPDX-License-Identifier: Apache-2.0
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "conf/config.h"
#include "lb/base/clock.h"
#include "lb/base/rng.h"
#include "lb/directory/file_map.h"
#include "lb/route/user_key.h"

namespace {

using namespace postern;

constexpr int kRounds = 5;

size_t AllocatedBytes() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

std::string UserOf(size_t number) {
  return "user" + std::to_string(number * 2654435761U % 4294967296U) + "@d" +
         std::to_string(number % 50) + ".example.com";
}

double Median(std::vector<double> rounds) {
  std::sort(rounds.begin(), rounds.end());
  return rounds[rounds.size() / 2];
}

// Nanoseconds a key.
double LookUp(const directory::FileMap& map, const std::vector<std::string>& keys,
              bool should_find) {
  std::vector<double> rounds;
  for (int round = 0; round < kRounds; ++round) {
    size_t num_found = 0;
    const auto start = base::SystemClock().Now();
    for (const std::string& key : keys) num_found += map.Find(key) != nullptr;
    const std::chrono::duration<double, std::nano> took = base::SystemClock().Now() - start;
    if (num_found != (should_find ? keys.size() : 0)) std::abort();
    rounds.push_back(took.count() / static_cast<double>(keys.size()));
  }
  return Median(rounds);
}

}  // namespace

int main(int num_arguments, char** arguments) {
  const size_t num_rows =
      num_arguments > 1 ? std::strtoull(arguments[1], nullptr, 10) : size_t{1'000'000};
  const std::string path = "directory_bench.map";
  std::FILE* const file = std::fopen(path.c_str(), "w");
  if (file == nullptr) return 1;
  size_t keys_bytes = 0;
  for (size_t i = 0; i < num_rows; ++i) {
    keys_bytes += UserOf(i).size();
    std::fprintf(file, "%s store-%zu\n", UserOf(i).c_str(), i % 100);
  }
  std::fclose(file);

  const route::UserKey user_key{conf::Users{}};
  std::vector<double> seconds;
  directory::FileMap::Loaded loaded;
  size_t bytes = 0;
  for (int round = 0; round < kRounds; ++round) {
    loaded.map.reset();
    malloc_trim(0);
    const size_t before = AllocatedBytes();
    const auto start = base::SystemClock().Now();
    loaded = directory::FileMap::Load(path, user_key);
    seconds.push_back(base::Seconds(base::SystemClock().Now() - start));
    bytes = AllocatedBytes() - before;
    if (loaded.map == nullptr) return 1;
  }
  std::remove(path.c_str());
  const auto rows = static_cast<double>(loaded.map->size());
  std::printf("rows                    %10zu\n", loaded.map->size());
  std::printf("load                    %10.3f s\n", Median(seconds));
  std::printf("memory                  %10.1f bytes a row (keys alone %.1f)\n",
              static_cast<double>(bytes) / rows, static_cast<double>(keys_bytes) / rows);

  base::SeededRng rng(1);
  std::vector<std::string> hits, misses;
  for (size_t i = 0; i < 1'000'000; ++i) {
    hits.push_back(UserOf(rng.Below(num_rows)));
    misses.push_back("no" + hits.back());
  }
  std::printf("a look-up that finds    %10.0f ns\n", LookUp(*loaded.map, hits, true));
  std::printf("one that does not       %10.0f ns\n", LookUp(*loaded.map, misses, false));

  // Teams of a hundred domains, and domains below others.
  constexpr size_t kPatterns = 10'000;
  std::string text;
  for (size_t i = 0; i < kPatterns; ++i) {
    const std::string number = std::to_string(i);
    text += i % 2 == 0 ? "team-" + number + "-*@d" + std::to_string(i % 100) + ".example.com"
                       : "@*.branch" + number + ".example.com";
    text += " store-" + std::to_string(i % 100) + "\n";
  }
  directory::FileMapLimits limits;
  limits.patterns = kPatterns;
  const auto patterns = directory::FileMap::Parse(text, "patterns", user_key, limits).map;
  if (patterns == nullptr) return 1;
  std::vector<std::string> members;
  for (size_t i = 0; i < 1000; ++i)
    members.push_back("a" + std::to_string(i) + "@x.branch" +
                      std::to_string(2 * rng.Below(kPatterns / 2) + 1) + ".example.com");
  misses.resize(1000);
  std::printf("of %zu patterns\n", patterns->size());
  std::printf("a look-up that finds    %10.0f ns\n", LookUp(*patterns, members, true));
  std::printf("one that does not       %10.0f ns\n", LookUp(*patterns, misses, false));
  return 0;
}
