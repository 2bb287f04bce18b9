// file_map_fuzz: any bytes as a map: any cut gives the same rows, and every key finds an answer.
// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "conf/config.h"
#include "conf/map_reader.h"
#include "lb/base/check.h"
#include "lb/directory/file_map.h"
#include "lb/route/user_key.h"

namespace {

using postern::conf::MapReader;

struct Rows {
  std::vector<std::string> all;
  std::vector<std::string> keys;
  size_t num_faults = 0;
};

Rows Read(std::string_view text, size_t piece_bytes) {
  Rows rows;
  MapReader reader([&](std::string_view key, std::string_view answer, int line) {
    rows.all.push_back(std::to_string(line) + " " + std::string(key) + " " + std::string(answer));
    rows.keys.emplace_back(key);
  });
  for (size_t at = 0; at < text.size(); at += piece_bytes)
    reader.Feed(text.substr(at, piece_bytes));
  reader.End();
  for (const postern::conf::MapFault& fault : reader.faults())
    rows.all.push_back(std::to_string(fault.line) + "! " + fault.message);
  rows.num_faults = reader.num_faults();
  return rows;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Rows whole = Read(text, text.size() + 1);
  const Rows cut = Read(text, 1 + data[0] / 4U);
  POSTERN_CHECK(whole.all == cut.all && whole.num_faults == cut.num_faults);
  postern::conf::Users users;
  users.lowercase = (data[0] & 1) != 0;
  if ((data[0] & 2) != 0) users.default_domain = "example.com";
  const postern::route::UserKey user_key(users);
  const auto loaded = postern::directory::FileMap::Parse(text, "m", user_key);
  POSTERN_CHECK((loaded.map == nullptr) == !loaded.errors.empty());
  POSTERN_CHECK(whole.num_faults == 0 || loaded.map == nullptr);
  POSTERN_CHECK(loaded.errors.size() <= MapReader::kMaxFaults + 1);
  if (loaded.map == nullptr) return 0;
  POSTERN_CHECK(loaded.map->size() <= whole.keys.size());
  for (const std::string& key : whole.keys) {
    std::string canonical = user_key.Key(key);
    // A pattern has no default domain, and matches itself.
    if (key.find('*') != std::string::npos) canonical.resize(key.size());
    POSTERN_CHECK(loaded.map->Find(canonical) != nullptr);
  }
  return 0;
}
