// rule_case: one row of a table of rules: a change of the good configuration and what is said of
// it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "test/conf/load_helper.h"

namespace postern::conf {

struct RuleCase {
  std::string name;
  std::vector<Change> changes;
  std::vector<std::string> errors;    // path: message (hint), in file order
  std::vector<std::string> warnings;  // likewise
};

inline void PrintTo(const RuleCase& c, std::ostream* out) {
  *out << c.name;
}

inline std::string RuleCaseName(const testing::TestParamInfo<RuleCase>& param_info) {
  return param_info.param.name;
}

inline void ExpectSaid(const RuleCase& c) {
  const LoadResult result = LoadChanged(c.changes);
  EXPECT_EQ(PlainTexts(result.errors), c.errors);
  EXPECT_EQ(PlainTexts(result.warnings), c.warnings);
  EXPECT_EQ(result.config.has_value(), c.errors.empty());
  for (const Problem& problem : result.errors) {
    EXPECT_GT(problem.line, 0);
    EXPECT_GT(problem.column, 0);
  }
}

}  // namespace postern::conf
