// queue_sources_test: every example of packaging/docs/queue-sources.md, and of queue-agent's head,
// loads.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "test/conf/load_helper.h"

namespace postern::conf {
namespace {

using testing::IsEmpty;

std::string ReadText(const std::string& path) {
  std::ifstream file(std::string(POSTERN_SOURCE_DIR) + "/" + path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// What stands between the two, each time.
std::vector<std::string> Between(const std::string& text, const std::string& begin,
                                 const std::string& end) {
  std::vector<std::string> found;
  for (size_t at = text.find(begin); at != std::string::npos; at = text.find(begin, at)) {
    at += begin.size();
    const size_t stop = text.find(end, at);
    if (stop == std::string::npos) break;
    found.push_back(text.substr(at, stop - at));
  }
  return found;
}

void ExpectLoads(const std::string& queue) {
  const LoadResult result = LoadChanged({{"/backends/m1/queue", queue}});
  EXPECT_THAT(PlainTexts(result.errors), IsEmpty()) << queue;
}

TEST(QueueSourcesTest, TheExamplesOfTheDocumentLoad) {
  const auto examples = Between(ReadText("packaging/docs/queue-sources.md"), "```json\n", "```");
  ASSERT_GE(examples.size(), 10u);
  for (const std::string& example : examples) ExpectLoads(example);
}

TEST(QueueSourcesTest, TheExamplesOfTheAgentLoad) {
  std::vector<std::string> examples =
      Between(ReadText("packaging/queue-agent"), "\"queue\": ", "}");
  ASSERT_EQ(examples.size(), 2u);
  for (std::string& example : examples) {
    for (size_t mark = example.find('#'); mark != std::string::npos; mark = example.find('#'))
      example[mark] = ' ';
    ExpectLoads(example + "}");
  }
}

}  // namespace
}  // namespace postern::conf
