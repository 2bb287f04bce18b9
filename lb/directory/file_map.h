// file_map: a directory of type `file`: a million rows in memory, looked up in one or two steps.
//
// A key is one address ("alice@example.com"), a domain ("@example.com"), or a pattern, where '*'
// matches any run of characters, '@' too, as in rules. What is told of fewer users goes before what
// is told of more, wherever it stands in the file:
//   1. the address itself;
//   2. patterns that say something of the name ("sales-*@example.com"), in the order of the file;
//   3. the domain;
//   4. patterns of domains ("@*.example.com" or "*@*.example.com", "*"), in the order of the file.
// Keys are made canonical as logins and recipients are (`users`), so that "Alice+x@Example.com" in
// the file is alice@example.com. Patterns may lose their upper case by that, but nothing else: what
// `users` would take from them is a fault, and no default domain is added.
// The same key twice is a fault if the answers differ.
//
// Limits:   FileMap::Limits; about 20 bytes a row besides the key itself; answers are kept once.
// Thread:   built on one (seconds: not a worker's), then const and shared by all.
// Tests:    test/directory/file_map_test.cc, test/fuzz/file_map_fuzz.cc,
//           test/bench/directory_bench.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "conf/map_answers.h"
#include "conf/map_reader.h"
#include "lb/directory/pattern_index.h"
#include "lb/route/user_key.h"

namespace postern::directory {

struct FileMapLimits {
  size_t file_bytes = conf::kMaxMapFileBytes;
  size_t keys_bytes = size_t{1} << 30;  // of all keys and what is kept with them
  size_t patterns = 100'000;            // besides those of PatternIndex
};

class FileMap {
 public:
  struct Loaded {
    std::shared_ptr<const FileMap> map;  // null if there are errors
    // "path:line: message", or "path message" of the whole file. Bounded; a last line tells how
    // many more there are.
    std::vector<std::string> errors;
    conf::MapAnswers answers;  // of sound rows, and the faults of the others
  };
  // Reads the file. stop: as of conf::ReadMapFile.
  [[nodiscard]] static Loaded Load(const std::string& path, const route::UserKey& user_key,
                                   const FileMapLimits& limits = {},
                                   const std::atomic<bool>* stop = nullptr);
  // Of a text; path is for errors.
  [[nodiscard]] static Loaded Parse(std::string_view text, const std::string& path,
                                    const route::UserKey& user_key,
                                    const FileMapLimits& limits = {});

  // The answer to a canonical key; null: there is none. Lives as long as the map.
  [[nodiscard]] const std::string* Find(std::string_view key) const;

  // Different keys.
  [[nodiscard]] size_t size() const {
    return num_keys_ + name_patterns_.index.size() + domain_patterns_.index.size();
  }
  [[nodiscard]] size_t memory_bytes() const;
  // Different ones.
  [[nodiscard]] const std::vector<std::string>& answers() const { return answers_; }
  // The same with the line that has each first.
  [[nodiscard]] conf::MapAnswers NumberedAnswers() const;
  // Of the file as it was read: if conf::StampOf says something else, the file has changed. Empty
  // for a text.
  [[nodiscard]] const conf::FileStamp& stamp() const { return stamp_; }

 private:
  class Builder;
  // A place of the hash table; linear probing.
  struct Slot {
    uint32_t tag = 0;    // of the hash; spares most looks at keys
    uint32_t place = 0;  // in records_, plus 1; 0: free
  };
  struct Record {
    std::string_view key;
    uint32_t answer;  // in answers_
  };
  struct Patterns {
    PatternIndex index;
    std::vector<uint32_t> answers;  // in answers_, by number of the pattern
  };

  [[nodiscard]] Record RecordAt(size_t place) const;
  // The slot that holds the key, or the free one where it would be; slots_ may not be empty.
  [[nodiscard]] size_t SlotOf(std::string_view key) const;
  [[nodiscard]] const std::string* FindPattern(const Patterns& patterns,
                                               std::string_view key) const;
  [[nodiscard]] const std::string* FindExactly(std::string_view key) const;

  std::string records_;  // each: length of the key, number of the answer, key
  std::vector<Slot> slots_;
  Patterns name_patterns_, domain_patterns_;
  std::vector<std::string> answers_;
  std::vector<int> first_lines_;  // as answers_
  size_t num_keys_ = 0;
  conf::FileStamp stamp_;
};

}  // namespace postern::directory
