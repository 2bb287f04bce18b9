// map_answers: which names a directory's map file can answer, without keeping the map.
//
// Rules:    a row is two words, key and answer; '#' at the beginning of a word starts a comment.
// Limits:   lines of kMaxLineBytes, kMaxAnswers different answers, kMaxFaults faults reported.
// Tests:    test/conf/map_answers_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

namespace postern::conf {

struct MapAnswers {
  static constexpr size_t kMaxLineBytes = 4096;
  static constexpr size_t kMaxAnswers = 100'000;
  static constexpr size_t kMaxFaults = 20;

  struct Fault {
    int line = 0;  // 0: of the whole file
    std::string message;
  };
  std::map<std::string, int, std::less<>> first_lines;  // answer, and the line that has it first
  std::vector<Fault> faults;
};

[[nodiscard]] MapAnswers ReadMapAnswers(const std::string& file);

}  // namespace postern::conf
