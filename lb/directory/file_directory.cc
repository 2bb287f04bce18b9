// file_directory: found or unknown.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/file_directory.h"

#include <algorithm>
#include <utility>

#include "lb/base/check.h"

namespace postern::directory {

FileDirectory::FileDirectory(const io::Loop& loop, std::shared_ptr<const FileMap> map,
                             base::MonoTime loaded)
    : loop_(loop) {
  Replace(std::move(map), loaded);
}

void FileDirectory::Replace(std::shared_ptr<const FileMap> map, base::MonoTime loaded) {
  POSTERN_CHECK(map != nullptr);
  map_ = std::move(map);
  loaded_ = loaded;
}

std::optional<io::LookupAnswer> FileDirectory::Ask(const io::LookupQuery& query, Done /*done*/,
                                                   std::unique_ptr<io::Lookup>& /*pending*/) {
  io::LookupAnswer answer;
  const std::string* const found = map_->Find(query.key);
  answer.kind =
      found != nullptr ? io::LookupAnswer::Kind::kFound : io::LookupAnswer::Kind::kUnknown;
  if (found != nullptr) answer.value = *found;
  // The loop's time may be a little older than another thread's.
  answer.age = std::max(base::Duration{}, loop_.Now() - loaded_);
  return answer;
}

}  // namespace postern::directory
