// map_watch: stamps compared, files read aside.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/map_watch.h"

#include <new>
#include <system_error>
#include <utility>

namespace postern::daemon {

MapWatch::MapWatch(io::Loop& loop, OnRead on_read) : loop_(loop), on_read_(std::move(on_read)) {}

MapWatch::~MapWatch() {
  *is_alive_ = false;
  if (reader_.joinable()) reader_.join();
}

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
  for (size_t i = 0; i < files_.size() && !is_reading_; ++i) {
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
  is_reading_ = true;
  if (reader_.joinable()) reader_.join();
  const auto read = [this, directory, seen, round = round_, user_key = user_key_, config = config_,
                     alive = is_alive_] {
    auto loaded = std::make_shared<directory::FileMap::Loaded>();
    const std::string& path = config->directories[directory].path;
    try {
      *loaded = directory::FileMap::Load(path, *user_key);
    } catch (const std::bad_alloc&) {
      loaded->errors = {path + " is too large for the memory there is"};
    }
    loop_.Post([this, directory, seen, round, alive, loaded] {
      if (!*alive) return;
      is_reading_ = false;
      if (round != round_) return;
      files_[directory].in_force = loaded->map != nullptr ? loaded->map->stamp() : seen;
      on_read_(directory, *loaded);
    });
  };
  try {
    reader_ = std::thread(read);
  } catch (const std::system_error&) {
    is_reading_ = false;  // no thread to be had; the next look tries again
  }
}

}  // namespace postern::daemon
