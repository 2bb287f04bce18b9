// map_answers: one pass over a map file.
// SPDX-License-Identifier: Apache-2.0
#include "conf/map_answers.h"

#include <string_view>

namespace postern::conf {

MapAnswers ReadMapAnswers(const std::string& file) {
  MapAnswers answers;
  MapReader reader([&](std::string_view /*key*/, std::string_view answer, int line) {
    auto& first_lines = answers.first_lines;
    if (first_lines.find(answer) == first_lines.end() &&
        first_lines.size() < MapAnswers::kMaxAnswers)
      first_lines.emplace(answer, line);
  });
  (void)ReadMapFile(file, reader);
  answers.faults = reader.faults();
  return answers;
}

}  // namespace postern::conf
