// directories: maps and clients, made of the configuration.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/directories.h"

#include <algorithm>
#include <utility>

#include "lb/directory/ldap_client.h"
#include "lb/directory/query_cache.h"
#include "lb/directory/redis.h"

namespace postern::daemon {
namespace {

// Nothing: it is to be read anew.
const LoadedMap* FindKnown(const conf::Directory& directory, const conf::Config* config,
                           const LoadedMaps* maps) {
  if (config == nullptr || maps == nullptr) return nullptr;
  for (size_t i = 0; i < config->directories.size(); ++i) {
    const LoadedMap& known = (*maps)[i];
    if (known.map != nullptr && config->directories[i].path == directory.path &&
        conf::StampOf(directory.path) == known.map->stamp())
      return &known;
  }
  return nullptr;
}

std::unique_ptr<io::Directory> WithCache(const conf::Directory& conf, io::Loop& loop,
                                         std::unique_ptr<io::Directory> inner) {
  directory::CacheSettings settings;
  settings.hit = conf.cache_hit;
  settings.miss = conf.cache_miss;
  settings.stale = conf.cache_stale;
  return std::make_unique<directory::CachedDirectory>(loop, std::move(inner), settings);
}

}  // namespace

base::Result<LoadedMaps> LoadMaps(const conf::Config& config, const route::UserKey& user_key,
                                  const conf::Config* known_config, const LoadedMaps* known_maps,
                                  base::MonoTime now) {
  LoadedMaps maps;
  std::string errors;
  // The keys of a map are made canonical by what `users` says.
  const bool is_alike = known_config != nullptr && known_config->users == config.users;
  for (const conf::Directory& conf : config.directories) {
    LoadedMap& loaded = maps.emplace_back();
    if (conf.type != conf::Directory::Type::kFile) continue;
    const LoadedMap* known = is_alike ? FindKnown(conf, known_config, known_maps) : nullptr;
    if (known != nullptr) {
      loaded = *known;
      continue;
    }
    directory::FileMap::Loaded read = directory::FileMap::Load(conf.path, user_key);
    for (const std::string& error : read.errors) {
      if (!errors.empty()) errors += '\n';
      errors += "directory " + conf.name + ": " + error;
    }
    loaded = {std::move(read.map), now};
  }
  if (!errors.empty()) return base::Error{std::move(errors)};
  return maps;
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
    const Own* const known = FindKnown(*config, conf);
    if (known == nullptr) {
      own.push_back(Make(conf, maps[i], tls[i]));
      continue;
    }
    own.push_back(*known);
    if (known->file != nullptr) known->file->Replace(maps[i].map, maps[i].loaded);
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

const OwnDirectories::Own* OwnDirectories::FindKnown(const conf::Config& config,
                                                     const conf::Directory& directory) const {
  if (config_ == nullptr) return nullptr;
  // The keys of a map are made canonical by what `users` says: whoever asks with other keys must
  // not meet it.
  if (directory.type == conf::Directory::Type::kFile && !(config.users == config_->users))
    return nullptr;
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
