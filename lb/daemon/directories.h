// directories: from the configuration's directories to those that a worker's sessions ask.
//
// Maps are read once for all workers, and kept over reloads as long as file and `users` are the
// same. What is asked over the network, and its cache, is each worker's own, and is kept as long as
// its configuration is the same: what is remembered, which servers fail, and connections outlive
// reloads. One that is changed or gone lives until its last question is done.
// Thread:   maps: control; the directories: each its worker's.
// Tests:    test/daemon/directories_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "conf/config.h"
#include "conf/map_answers.h"
#include "lb/base/clock.h"
#include "lb/base/result.h"
#include "lb/directory/auth_http.h"
#include "lb/directory/file_directory.h"
#include "lb/directory/file_map.h"
#include "lb/io/dialer.h"
#include "lb/io/lookup.h"
#include "lb/io/loop.h"
#include "lb/io/resolver.h"
#include "lb/route/user_key.h"

namespace postern::daemon {

// What a directory of type `file` was read into; empty for the others.
struct LoadedMap {
  std::shared_ptr<const directory::FileMap> map;
  base::MonoTime loaded{};
};
using LoadedMaps = std::vector<LoadedMap>;  // as Config::directories

// Reads a file; memory that does not suffice is an error of it. stop: as of conf::ReadMapFile.
[[nodiscard]] directory::FileMap::Loaded LoadMap(const std::string& path,
                                                 const route::UserKey& user_key,
                                                 const std::atomic<bool>* stop);

// The maps of one configuration that is being loaded: each file is read once, when it is checked or
// when it is taken, and not at all if it is in force already and has not changed.
// Thread:   one at a time.
class MapLoader {
 public:
  // Of the configuration in force; null and empty: none is.
  explicit MapLoader(const base::Clock& clock,
                     std::shared_ptr<const conf::Config> known_config = nullptr,
                     LoadedMaps known_maps = {}, const std::atomic<bool>* stop = nullptr)
      : clock_(clock),
        known_config_(std::move(known_config)),
        known_maps_(std::move(known_maps)),
        stop_(stop) {}

  // For conf::FileChecks. users: always the same.
  [[nodiscard]] conf::MapAnswers Check(const std::string& path, const conf::Users& users);
  // All maps of it. The error has all that is wrong with all of them, a line each.
  [[nodiscard]] base::Result<LoadedMaps> Take(const conf::Config& config,
                                              const route::UserKey& user_key);

 private:
  struct File {
    LoadedMap loaded{};
    std::vector<std::string> errors{};
    conf::MapAnswers answers{};
  };
  [[nodiscard]] const File& Get(const std::string& path, const conf::Users& users,
                                const route::UserKey& user_key);
  // Null: it is to be read.
  [[nodiscard]] const LoadedMap* FindKnown(const std::string& path, const conf::Users& users) const;

  const base::Clock& clock_;
  const std::shared_ptr<const conf::Config> known_config_;
  const LoadedMaps known_maps_;
  const std::atomic<bool>* const stop_;
  std::map<std::string, File> files_;  // by path
};

// By directory, the names of the pools and backends that it can answer.
[[nodiscard]] std::vector<std::vector<std::string>> NamesAnsweredBy(const conf::Config& config,
                                                                    const LoadedMaps& maps);

[[nodiscard]] bool UsesLdap(const conf::Config& config);

// By directory and URL, as conf::Directory::urls; null where it is in clear.
using DirectoryTls = std::vector<directory::AuthHttp::Tls>;

// One thread's own.
class OwnDirectories {
 public:
  // ldap: dials the helper. All outlive this, and who asks.
  OwnDirectories(io::Loop& loop, io::Dialer& dialer, io::Dialer& ldap, io::Resolver& resolver)
      : loop_(loop), dialer_(dialer), ldap_(ldap), resolver_(resolver) {}

  // Those of this configuration, from now on.
  void Use(std::shared_ptr<const conf::Config> config, const LoadedMaps& maps,
           const DirectoryTls& tls);
  // The file of one of them has changed.
  void ReplaceMap(size_t directory, const LoadedMap& loaded);
  // As Config::directories.
  [[nodiscard]] std::vector<std::shared_ptr<io::Directory>> all() const;

 private:
  struct Own {
    std::shared_ptr<io::Directory> directory;
    // What it is, or what its cache is of; null: something else.
    directory::FileDirectory* file = nullptr;
    directory::AuthHttp* auth_http = nullptr;
  };
  [[nodiscard]] Own Make(const conf::Directory& conf, const LoadedMap& map,
                         const directory::AuthHttp::Tls& tls) const;
  // Null: it was not there, or not so, or is a file.
  [[nodiscard]] const Own* FindKnown(const conf::Directory& directory) const;

  io::Loop& loop_;
  io::Dialer& dialer_;
  io::Dialer& ldap_;
  io::Resolver& resolver_;
  std::shared_ptr<const conf::Config> config_;
  std::vector<Own> own_;  // as its directories
};

}  // namespace postern::daemon
