// directories: maps and clients, made of the configuration.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/directories.h"

#include <algorithm>
#include <new>
#include <utility>

#include "lb/directory/ldap_client.h"
#include "lb/directory/query_cache.h"
#include "lb/directory/redis.h"

namespace postern::daemon {
namespace {

std::unique_ptr<io::Directory> WithCache(const conf::Directory& conf, io::Loop& loop,
                                         std::unique_ptr<io::Directory> inner) {
  directory::CacheSettings settings;
  settings.hit = conf.cache_hit;
  settings.miss = conf.cache_miss;
  settings.stale = conf.cache_stale;
  return std::make_unique<directory::CachedDirectory>(loop, std::move(inner), settings);
}

}  // namespace

directory::FileMap::Loaded LoadMap(const std::string& path, const route::UserKey& user_key,
                                   const std::atomic<bool>* stop) {
  try {
    return directory::FileMap::Load(path, user_key, {}, stop);
  } catch (const std::bad_alloc&) {
    directory::FileMap::Loaded loaded;
    loaded.answers.faults = {{0, "is too large for the memory there is"}};
    loaded.errors = {path + " " + loaded.answers.faults.front().message};
    return loaded;
  }
}

conf::MapAnswers MapLoader::Check(const std::string& path, const conf::Users& users) {
  return Get(path, users, route::UserKey(users)).answers;
}

base::Result<LoadedMaps> MapLoader::Take(const conf::Config& config,
                                         const route::UserKey& user_key) {
  LoadedMaps maps;
  std::string errors;
  for (const conf::Directory& conf : config.directories) {
    LoadedMap& loaded = maps.emplace_back();
    if (conf.type != conf::Directory::Type::kFile) continue;
    const File& file = Get(conf.path, config.users, user_key);
    for (const std::string& error : file.errors) {
      if (!errors.empty()) errors += '\n';
      errors += "directory " + conf.name + ": " + error;
    }
    loaded = file.loaded;
  }
  if (!errors.empty()) return base::Error{std::move(errors)};
  return maps;
}

const MapLoader::File& MapLoader::Get(const std::string& path, const conf::Users& users,
                                      const route::UserKey& user_key) {
  const auto [found, is_new] = files_.try_emplace(path);
  File& file = found->second;
  if (!is_new) return file;
  if (const LoadedMap* known = FindKnown(path, users)) {
    file.loaded = *known;
    file.answers = known->map->NumberedAnswers();
    return file;
  }
  directory::FileMap::Loaded read = LoadMap(path, user_key, stop_);
  file = {{std::move(read.map), clock_.Now()}, std::move(read.errors), std::move(read.answers)};
  return file;
}

const LoadedMap* MapLoader::FindKnown(const std::string& path, const conf::Users& users) const {
  // The keys of a map are made canonical by what `users` says.
  if (known_config_ == nullptr || !(known_config_->users == users)) return nullptr;
  for (size_t i = 0; i < known_maps_.size(); ++i) {
    const LoadedMap& known = known_maps_[i];
    if (known.map != nullptr && known_config_->directories[i].path == path &&
        conf::StampOf(path) == known.map->stamp())
      return &known;
  }
  return nullptr;
}

std::vector<std::vector<std::string>> NamesAnsweredBy(const conf::Config& config,
                                                      const LoadedMaps& maps) {
  std::vector<std::string> everything;
  for (const conf::Pool& pool : config.pools) everything.push_back(pool.name);
  for (const conf::Backend& backend : config.backends) everything.push_back(backend.name);
  std::vector<std::vector<std::string>> names;
  for (size_t i = 0; i < config.directories.size(); ++i) {
    const conf::Directory& conf = config.directories[i];
    std::vector<std::string>& its = names.emplace_back();
    if (!conf.table.empty()) {
      for (const auto& [pattern, answer] : conf.table) its.push_back(answer);
    } else if (maps[i].map != nullptr) {
      its = maps[i].map->answers();
    } else {
      its = everything;
    }
  }
  return names;
}

bool UsesLdap(const conf::Config& config) {
  return std::any_of(config.directories.begin(), config.directories.end(),
                     [](const conf::Directory& directory) {
                       return directory.type == conf::Directory::Type::kLdap;
                     });
}

void OwnDirectories::Use(std::shared_ptr<const conf::Config> config, const LoadedMaps& maps,
                         const DirectoryTls& tls) {
  std::vector<Own> own;
  for (size_t i = 0; i < config->directories.size(); ++i) {
    const conf::Directory& conf = config->directories[i];
    const Own* const known = FindKnown(conf);
    if (known == nullptr) {
      own.push_back(Make(conf, maps[i], tls[i]));
      continue;
    }
    own.push_back(*known);
    if (known->auth_http != nullptr) known->auth_http->UseTls(tls[i]);
  }
  own_ = std::move(own);
  config_ = std::move(config);
}

void OwnDirectories::ReplaceMap(size_t directory, const LoadedMap& loaded) {
  if (directory < own_.size() && own_[directory].file != nullptr)
    own_[directory].file->Replace(loaded.map, loaded.loaded);
}

std::vector<std::shared_ptr<io::Directory>> OwnDirectories::all() const {
  std::vector<std::shared_ptr<io::Directory>> all;
  for (const Own& own : own_) all.push_back(own.directory);
  return all;
}

const OwnDirectories::Own* OwnDirectories::FindKnown(const conf::Directory& directory) const {
  if (config_ == nullptr) return nullptr;
  // It remembers nothing, and its answers are names of its own configuration: a transaction that
  // goes on by the old one must not meet the new.
  if (directory.type == conf::Directory::Type::kFile) return nullptr;
  for (size_t i = 0; i < own_.size(); ++i)
    if (config_->directories[i] == directory) return &own_[i];
  return nullptr;
}

OwnDirectories::Own OwnDirectories::Make(const conf::Directory& conf, const LoadedMap& map,
                                         const directory::AuthHttp::Tls& tls) const {
  Own own;
  switch (conf.type) {
    case conf::Directory::Type::kFile: {
      auto file = std::make_shared<directory::FileDirectory>(loop_, map.map, map.loaded);
      own.file = file.get();
      own.directory = std::move(file);
      break;
    }
    case conf::Directory::Type::kAuthHttp: {
      auto asked = std::make_unique<directory::AuthHttp>(loop_, dialer_, resolver_, conf, tls);
      own.auth_http = asked.get();
      own.directory = WithCache(conf, loop_, std::move(asked));
      break;
    }
    case conf::Directory::Type::kRedis:
      own.directory = WithCache(
          conf, loop_, std::make_unique<directory::Redis>(loop_, dialer_, resolver_, conf));
      break;
    case conf::Directory::Type::kLdap:
      own.directory =
          WithCache(conf, loop_, std::make_unique<directory::LdapClient>(loop_, ldap_, conf));
      break;
  }
  return own;
}

}  // namespace postern::daemon
