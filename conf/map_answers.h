// map_answers: which names a directory's map file can answer, without keeping the map.
//
// Limits:   kMaxAnswers different answers; those of conf/map_reader.h.
// Tests:    test/conf/map_answers_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "conf/map_reader.h"

namespace postern::conf {

struct MapAnswers {
  static constexpr size_t kMaxAnswers = 100'000;

  std::map<std::string, int, std::less<>> first_lines;  // answer, and the line that has it first
  std::vector<MapFault> faults;
};

[[nodiscard]] MapAnswers ReadMapAnswers(const std::string& file);

}  // namespace postern::conf
