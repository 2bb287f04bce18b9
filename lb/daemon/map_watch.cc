// map_watch: stamps compared, files read aside.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/map_watch.h"

namespace postern::daemon {

void MapWatch::Watch(std::shared_ptr<const conf::Config> config,
                     std::shared_ptr<const route::UserKey> user_key, const LoadedMaps& maps) {
  ++round_;
  config_ = std::move(config);
  user_key_ = std::move(user_key);
  files_.clear();
  for (const LoadedMap& loaded : maps) {
    File& file = files_.emplace_back();
    if (loaded.map != nullptr) file.in_force = loaded.map->stamp();
  }
}

void MapWatch::Look() {
  for (size_t i = 0; i < files_.size() && !aside_.is_busy(); ++i) {
    const conf::Directory& directory = config_->directories[i];
    if (directory.type != conf::Directory::Type::kFile) continue;
    File& file = files_[i];
    // A file that is gone for now is on its way, or will be missed at the next reload.
    const std::optional<conf::FileStamp> seen = conf::StampOf(directory.path);
    const bool is_news = seen && !(*seen == file.in_force);
    if (is_news && file.last_seen == seen) Read(i, *seen);
    file.last_seen = seen;
  }
}

void MapWatch::Read(size_t directory, const conf::FileStamp& seen) {
  // Where no thread is to be had, the next look tries again.
  (void)aside_.Start([this, directory, seen, round = round_, user_key = user_key_,
                      config = config_](const std::atomic<bool>& stop) -> Aside::Finish {
    const auto loaded = std::make_shared<const directory::FileMap::Loaded>(
        LoadMap(config->directories[directory].path, *user_key, &stop));
    return [this, directory, seen, round, loaded] {
      if (round != round_) return;
      files_[directory].in_force = loaded->map != nullptr ? loaded->map->stamp() : seen;
      on_read_(directory, *loaded);
    };
  });
}

}  // namespace postern::daemon
