// problems: the collector, and how one problem is written.
// SPDX-License-Identifier: Apache-2.0
#include "conf/problems.h"

#include <algorithm>
#include <tuple>

#include "conf/values.h"

namespace postern::conf {
namespace {

// Keys and values may hold anything; a line of output may not.
void AppendPrintable(std::string& out, std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
}

}  // namespace

std::string Problem::ToString() const {
  std::string text;
  AppendPrintable(text, file);
  if (line > 0) text += ":" + std::to_string(line);
  if (line > 0 && column > 0) text += ":" + std::to_string(column);
  text += ": ";
  AppendPrintable(text, path.empty() ? "/" : path);
  text += ": ";
  AppendPrintable(text, message);
  if (!hint.empty()) {
    text += " (";
    AppendPrintable(text, hint);
    text += ")";
  }
  return text;
}

void Problems::Error(const std::string& path, std::string message, std::string hint) {
  Error(json::PlaceOf(root_, path), path, std::move(message), std::move(hint));
}

void Problems::Error(json::Place place, const std::string& path, std::string message,
                     std::string hint) {
  broken_.insert(path);
  errors_.push_back({file_, place.line, place.column, path, std::move(message), std::move(hint)});
}

void Problems::ErrorInFile(std::string file, int line, const std::string& path, std::string message,
                           std::string hint) {
  broken_.insert(path);
  errors_.push_back({std::move(file), line, 0, path, std::move(message), std::move(hint)});
}

void Problems::Warning(const std::string& path, std::string message, std::string hint) {
  const json::Place place = json::PlaceOf(root_, path);
  warnings_.push_back({file_, place.line, place.column, path, std::move(message), std::move(hint)});
}

void Problems::NoEffect(const NotYet& row, std::string_view value, json::Place place,
                        const std::string& path) {
  Unused& unused = no_effect_[{&row, row.IsWhole() ? "" : std::string(value)}];
  const Problem problem{
      file_,
      place.line,
      place.column,
      path,
      Quoted(row.IsWhole() ? row.key : value) + " has no effect in this build yet",
      std::string(row.meanwhile)};
  const bool is_earlier =
      std::tie(problem.line, problem.column) < std::tie(unused.problem.line, unused.problem.column);
  if (unused.num_places++ == 0 || is_earlier) unused.problem = problem;
}

void Problems::MoveTo(LoadResult& result) {
  for (auto& [key, unused] : no_effect_) {
    std::string& hint = unused.problem.hint;
    if (unused.num_places > 1) {
      hint += (hint.empty() ? "" : "; ") + std::string("said in ") +
              std::to_string(unused.num_places) + " places";
    }
    warnings_.push_back(std::move(unused.problem));
  }
  no_effect_.clear();
  // The configuration's own first, then file by file.
  const auto comes_before = [&](const Problem& a, const Problem& b) {
    const bool is_a_elsewhere = a.file != file_;
    const bool is_b_elsewhere = b.file != file_;
    return std::tie(is_a_elsewhere, a.file, a.line, a.column) <
           std::tie(is_b_elsewhere, b.file, b.line, b.column);
  };
  std::stable_sort(errors_.begin(), errors_.end(), comes_before);
  std::stable_sort(warnings_.begin(), warnings_.end(), comes_before);
  result.errors.insert(result.errors.end(), std::make_move_iterator(errors_.begin()),
                       std::make_move_iterator(errors_.end()));
  result.warnings.insert(result.warnings.end(), std::make_move_iterator(warnings_.begin()),
                         std::make_move_iterator(warnings_.end()));
  errors_.clear();
  warnings_.clear();
}

}  // namespace postern::conf
