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

#include <memory>
#include <string>
#include <vector>

#include "conf/config.h"
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

// known: of a configuration in force, whose maps may be used again; both may be null. The error has
// all that is wrong with all maps, a line each.
[[nodiscard]] base::Result<LoadedMaps> LoadMaps(const conf::Config& config,
                                                const route::UserKey& user_key,
                                                const conf::Config* known_config,
                                                const LoadedMaps* known_maps, base::MonoTime now);

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
  // Null: it was not there, or not so.
  [[nodiscard]] const Own* FindKnown(const conf::Config& config,
                                     const conf::Directory& directory) const;

  io::Loop& loop_;
  io::Dialer& dialer_;
  io::Dialer& ldap_;
  io::Resolver& resolver_;
  std::shared_ptr<const conf::Config> config_;
  std::vector<Own> own_;  // as its directories
};

}  // namespace postern::daemon
