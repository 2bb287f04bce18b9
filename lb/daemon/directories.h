// directories: from the configuration's directories to those that a worker's sessions ask.
//
// Maps are read once for all workers, and kept over reloads as long as file and `users` are the
// same. What is asked over the network, and its cache, is each worker's own.
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
#include "lb/directory/file_directory.h"
#include "lb/directory/file_map.h"
#include "lb/io/dialer.h"
#include "lb/io/lookup.h"
#include "lb/io/loop.h"
#include "lb/io/resolver.h"
#include "lb/io/stream.h"
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

// A worker's own.
struct OwnDirectories {
  std::vector<std::shared_ptr<io::Directory>> all;                  // as Config::directories
  std::vector<std::shared_ptr<directory::FileDirectory>> of_files;  // likewise; null: none
};
// tls: by directory and URL, as conf::Directory::urls; null where it is in clear. ldap: dials the
// helper. What is passed outlives the directories, but for config, maps and tls.
[[nodiscard]] OwnDirectories MakeDirectories(
    const conf::Config& config, const LoadedMaps& maps,
    const std::vector<std::vector<std::shared_ptr<const io::TlsSettings>>>& tls, io::Loop& loop,
    io::Dialer& dialer, io::Dialer& ldap, io::Resolver& resolver);

}  // namespace postern::daemon
