// problems: collects everything that is wrong with a configuration, each with its place.
//
// Also remembers which values are broken, so that one mistake is not reported again by the rules
// that would have used the value.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "conf/json.h"
#include "conf/keys.h"
#include "conf/load.h"

namespace postern::conf {

class Problems {
 public:
  // root: of the tree that paths are looked up in; outlives this.
  Problems(std::string file, const json::Node& root) : file_(std::move(file)), root_(root) {}

  // Wrong; the value at `path` counts as broken from now on.
  void Error(const std::string& path, std::string message, std::string hint = "");
  void Error(json::Place place, const std::string& path, std::string message,
             std::string hint = "");
  // In another file that the configuration names; line 0: unknown.
  void ErrorInFile(std::string file, int line, const std::string& path, std::string message,
                   std::string hint = "");
  void Warning(const std::string& path, std::string message, std::string hint = "");
  // The key (or that value of it, if the row names values) is accepted, but this build does not act
  // on it. Told once per key and value, at the first place.
  void NoEffect(const NotYet& row, std::string_view value, json::Place place,
                const std::string& path);

  void MarkBroken(const std::string& path) { broken_.insert(path); }
  // Whether nothing was wrong with the value at this path, as far as is known.
  [[nodiscard]] bool IsSound(const std::string& path) const { return broken_.count(path) == 0; }
  [[nodiscard]] const json::Node& root() const { return root_; }
  [[nodiscard]] bool has_errors() const { return !errors_.empty(); }

  // Both lists by line and column. Leaves this empty.
  void MoveTo(LoadResult& result);

 private:
  struct Unused {
    Problem problem;
    size_t num_places = 0;
  };

  std::string file_;
  const json::Node& root_;
  std::vector<Problem> errors_;
  std::vector<Problem> warnings_;
  std::map<std::pair<const NotYet*, std::string>, Unused> no_effect_;
  std::set<std::string> broken_;
};

}  // namespace postern::conf
