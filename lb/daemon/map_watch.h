// map_watch: notices that a map file has changed, or that another was renamed to its name, and
// reads it anew, aside.
//
// A file is looked at once a second and read when it has looked the same twice: whoever writes it
// in place has finished, mostly; a row that is cut off is a fault, and the old map stays until the
// file changes again. One file is read at a time, and none while something else is done aside.
// Thread:   control, but for the reading.
// Tests:    test/integration/homes_test.py
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "conf/config.h"
#include "conf/map_reader.h"
#include "lb/daemon/aside.h"
#include "lb/daemon/directories.h"
#include "lb/route/user_key.h"

namespace postern::daemon {

class MapWatch {
 public:
  // A directory's file was read: its map, or what is wrong with it.
  using OnRead = std::function<void(size_t directory, const directory::FileMap::Loaded& loaded)>;
  // aside: stopped before this goes.
  MapWatch(Aside& aside, OnRead on_read) : aside_(aside), on_read_(std::move(on_read)) {}
  MapWatch(const MapWatch&) = delete;
  MapWatch& operator=(const MapWatch&) = delete;

  // From now on these are in force; what is being read for others is dropped.
  void Watch(std::shared_ptr<const conf::Config> config,
             std::shared_ptr<const route::UserKey> user_key, const LoadedMaps& maps);
  // To be called about once a second.
  void Look();

 private:
  struct File {
    conf::FileStamp in_force;  // or found to be broken
    std::optional<conf::FileStamp> last_seen;
  };
  void Read(size_t directory, const conf::FileStamp& seen);

  Aside& aside_;
  OnRead on_read_;
  std::shared_ptr<const conf::Config> config_;
  std::shared_ptr<const route::UserKey> user_key_;
  std::vector<File> files_;  // as Config::directories
  uint64_t round_ = 0;       // counts Watch
};

}  // namespace postern::daemon
