// shown: a configuration as it may be shown, and what one would change against another.
//
// Works on trees, by the table of keys: every secret is "***", whatever else the table does not
// know too. Where a secret stands ({"file"}, {"env"}) is none. Values are compared by what they
// mean: "60s" is "1m", one name is a list of one, and a default that is written out changes
// nothing.
// Tests:    test/conf/shown_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "conf/json.h"
#include "conf/keys.h"

namespace postern::conf {

// As JSON of one line, members in file order.
[[nodiscard]] std::string Shown(const json::Node& root);

struct KeyChange {
  enum class Kind : uint8_t { kAdded, kRemoved, kChanged };
  Kind kind = Kind::kChanged;
  // JSON pointer; members of lists by their name (a certificate's is its file) where all of them
  // have one: "/routes/users/mapped/pool". A list of rules itself: their order has changed.
  std::string path;
  // As JSON of one line, secrets masked; empty: it is not there, and `fallback` says what holds.
  std::string before, after;
  std::string fallback;  // of the key, in words; may be empty
  Reload reload = Reload::kAtOnce;
};

// In the order of the table of keys. Both trees are accepted configurations, or Shown ones: the
// value of a secret is not compared.
[[nodiscard]] std::vector<KeyChange> Compare(const json::Node& before, const json::Node& after);

// Every file that the configuration names, as written.
[[nodiscard]] std::vector<std::string> FilesNamedIn(const json::Node& root);

}  // namespace postern::conf
