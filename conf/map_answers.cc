// map_answers: one pass over a map file.
// SPDX-License-Identifier: Apache-2.0
#include "conf/map_answers.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string_view>
#include <system_error>

namespace postern::conf {
namespace {

// The words of a line up to a comment.
std::vector<std::string_view> WordsOf(std::string_view line) {
  constexpr std::string_view kBlanks = " \t\r";
  std::vector<std::string_view> words;
  while (true) {
    const size_t start = line.find_first_not_of(kBlanks);
    if (start == std::string_view::npos || line[start] == '#') return words;
    line.remove_prefix(start);
    words.push_back(line.substr(0, line.find_first_of(kBlanks)));
    line.remove_prefix(words.back().size());
  }
}

class Reader {
 public:
  explicit Reader(MapAnswers& answers) : answers_(answers) {}

  void Take(std::string_view line) {
    ++line_;
    if (line.size() > MapAnswers::kMaxLineBytes) return Complain("the line is too long");
    const auto words = WordsOf(line);
    if (words.empty()) return;
    if (words.size() != 2) return Complain("a row is two words, key and answer");
    if (answers_.first_lines.find(words[1]) != answers_.first_lines.end()) return;
    if (answers_.first_lines.size() < MapAnswers::kMaxAnswers)
      answers_.first_lines.emplace(words[1], line_);
  }

 private:
  void Complain(std::string message) {
    if (answers_.faults.size() < MapAnswers::kMaxFaults)
      answers_.faults.push_back({line_, std::move(message)});
  }

  MapAnswers& answers_;
  int line_ = 0;
};

}  // namespace

MapAnswers ReadMapAnswers(const std::string& file) {
  MapAnswers answers;
  std::error_code error;
  const bool is_file = std::filesystem::is_regular_file(file, error);
  errno = is_file ? 0 : ENOENT;
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> stream(
      is_file ? std::fopen(file.c_str(), "re") : nullptr, &std::fclose);
  if (stream == nullptr) {
    answers.faults.push_back({0, std::string("cannot be read: ") + std::strerror(errno)});
    return answers;
  }
  Reader reader(answers);
  std::string pending;
  std::string block(256 << 10, '\0');
  while (const size_t num_bytes = std::fread(block.data(), 1, block.size(), stream.get())) {
    std::string_view rest(block.data(), num_bytes);
    for (size_t end; (end = rest.find('\n')) != std::string_view::npos;) {
      if (pending.empty()) {
        reader.Take(rest.substr(0, end));
      } else {
        pending.append(rest.substr(0, end));
        reader.Take(pending);
        pending.clear();
      }
      rest.remove_prefix(end + 1);
    }
    // One byte too many is kept of a line that is too long: enough to know it.
    if (pending.size() <= MapAnswers::kMaxLineBytes)
      pending.append(rest.substr(0, MapAnswers::kMaxLineBytes + 1));
  }
  if (!pending.empty()) reader.Take(pending);
  return answers;
}

}  // namespace postern::conf
