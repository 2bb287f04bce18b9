// file_directory: a file map as sessions ask it: every answer is there at once.
//
// Thread:   its worker's; the map is shared.
// Tests:    test/directory/file_directory_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "lb/directory/file_map.h"
#include "lb/io/lookup.h"
#include "lb/io/loop.h"

namespace postern::directory {

class FileDirectory final : public io::Directory {
 public:
  // loaded: when the map was read; the age of answers counts from there. The loop outlives this.
  FileDirectory(const io::Loop& loop, std::shared_ptr<const FileMap> map, base::MonoTime loaded);
  // The file has changed.
  void Replace(std::shared_ptr<const FileMap> map, base::MonoTime loaded);

  [[nodiscard]] std::optional<io::LookupAnswer> Ask(const io::LookupQuery& query, Done done,
                                                    std::unique_ptr<io::Lookup>& pending) override;

 private:
  const io::Loop& loop_;
  std::shared_ptr<const FileMap> map_;
  base::MonoTime loaded_;
};

}  // namespace postern::directory
