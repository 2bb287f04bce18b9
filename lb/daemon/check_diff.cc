// check_diff: changes by path, then what becomes of sockets, servers and files.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/check_diff.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <system_error>
#include <tuple>
#include <vector>

#include "conf/shown.h"
#include "lb/base/clock.h"
#include "lb/base/escape.h"
#include "lb/base/log.h"
#include "lb/daemon/bindings.h"
#include "lb/daemon/running.h"
#include "lb/session/session_env.h"

namespace postern::daemon {
namespace {

using conf::KeyChange;
using conf::json::Node;

// JSON, which has no control characters.
std::string Cut(const std::string& value) {
  return value.size() <= kMaxDiffValue ? value : value.substr(0, kMaxDiffValue) + "...";
}

std::string SideText(const std::string& value, const std::string& fallback) {
  if (!value.empty()) return Cut(value);
  return fallback.empty() ? "not set" : "not set (" + fallback + ")";
}

std::string WhenText(conf::Reload reload) {
  switch (reload) {
    case conf::Reload::kAtOnce:
      return "at once";
    case conf::Reload::kNewSessions:
      return "for new sessions";
    case conf::Reload::kRestart:
      break;
  }
  return "after a restart";
}

std::string ChangeText(const KeyChange& change) {
  std::string line;
  switch (change.kind) {
    case KeyChange::Kind::kAdded:
      line = "added ";
      break;
    case KeyChange::Kind::kRemoved:
      line = "removed ";
      break;
    case KeyChange::Kind::kChanged:
      line = "changed ";
      break;
  }
  return line + base::Printable(change.path) + ": " + SideText(change.before, change.fallback) +
         " -> " + SideText(change.after, change.fallback) + ", " + WhenText(change.reload) + "\n";
}

// --- sockets ------------------------------------------------------------------------------------

struct ListenerSockets {
  std::map<std::string, std::string> by_key;  // BindingKey -> address
};

std::map<std::string, ListenerSockets> SocketsOf(const Node& root) {
  std::map<std::string, ListenerSockets> sockets;
  for (const Node& listener : ItemsOf(root, "listeners")) {
    const std::string name = TextOf(listener, "name");
    ListenerSockets& its = sockets[name];
    const std::string protocol = TextOf(listener, "protocol");
    const auto is_served = [&protocol] {
      for (int i = 0; i < conf::kNumProtocols; ++i)
        if (conf::Name(static_cast<conf::Protocol>(i)) == protocol)
          return session::IsServed(static_cast<conf::Protocol>(i));
      return false;
    };
    const Node* const address = listener.Find("address");
    if (address == nullptr || !is_served()) continue;
    const std::vector<Node> one = {*address};
    const std::vector<Node>& all = address->kind == Node::Kind::kArray ? address->items : one;
    for (size_t place = 0; place < all.size(); ++place)
      if (const auto parsed = base::SocketAddress::Parse(all[place].text))
        its.by_key[BindingKey(name, place, *parsed)] = parsed->ToString();
  }
  return sockets;
}

std::string SocketsText(const Node& before, const Node& after) {
  const auto old = SocketsOf(before);
  const auto fresh = SocketsOf(after);
  std::set<std::string> names;
  for (const auto& [name, its] : old) names.insert(name);
  for (const auto& [name, its] : fresh) names.insert(name);
  std::string text;
  size_t num_kept = 0;
  for (const std::string& name : names) {
    static const ListenerSockets kNone;
    const auto was = old.find(name);
    const auto is = fresh.find(name);
    const auto& olds = (was == old.end() ? kNone : was->second).by_key;
    const auto& news = (is == fresh.end() ? kNone : is->second).by_key;
    if (olds == news) {
      ++num_kept;
      continue;
    }
    std::string words;
    const auto add = [&words](const char* verb, const std::string& address) {
      words += (words.empty() ? " " : ", ") + std::string(verb) + " " + address;
    };
    for (const auto& [key, address] : olds) add(news.contains(key) ? "keeps" : "closes", address);
    for (const auto& [key, address] : news)
      if (!olds.contains(key)) add("opens", address);
    text += "listener " + name + words + "\n";
  }
  if (num_kept > 0)
    text += std::to_string(num_kept) +
            (num_kept == 1 ? " listener keeps its" : " listeners keep their") + " sockets\n";
  return text;
}

// --- objects ------------------------------------------------------------------------------------

// The first steps of a JSON pointer, unescaped.
std::vector<std::string> StepsOf(const std::string& path) {
  std::vector<std::string> steps;
  for (size_t i = 0; i < path.size(); ++i) {
    if (path[i] == '/') {
      steps.emplace_back();
    } else if (path[i] == '~' && i + 1 < path.size()) {
      steps.back() += path[++i] == '1' ? '/' : '~';
    } else {
      steps.back() += path[i];
    }
  }
  return steps;
}

bool IsAnotherServer(const std::vector<std::string>& steps) {
  if (steps[2] == "host" || steps[2] == "verify") return true;
  if (steps.size() == 3) return false;
  return steps[3] == "port" || steps[3] == "tls" || steps[3] == "client_address";
}

constexpr const char* kIsAnotherServer = "is another server now: what is known of it is forgotten";
constexpr const char* kIsChanged = "is changed";

struct Meaning {
  std::string what, name, words;
  bool operator<(const Meaning& other) const {
    return std::tie(what, name, words) < std::tie(other.what, other.name, other.words);
  }
};

std::optional<Meaning> MeaningOf(const KeyChange& change) {
  struct KindRow {
    std::string_view key, name;
  };
  static constexpr std::array<KindRow, 5> kKinds = {{{"backends", "backend"},
                                                     {"pools", "pool"},
                                                     {"directories", "directory"},
                                                     {"routes", "route"},
                                                     {"probes", "probe"}}};
  const auto steps = StepsOf(change.path);
  const bool is_added = change.kind == KeyChange::Kind::kAdded;
  const bool is_whole = change.kind != KeyChange::Kind::kChanged;
  if (steps.size() == 3 && steps[0] == "tls" && steps[1] == "certificates" && is_whole)
    return Meaning{"certificate", steps[2], is_added ? "is new" : "is no longer used"};
  if (steps.size() < 2) return std::nullopt;
  for (const KindRow& row : kKinds) {
    if (row.key != steps[0]) continue;
    const std::string what(row.name);
    if (steps.size() == 2 && is_whole && what == "backend")
      return Meaning{what, steps[1],
                     is_added ? "is new: it is checked at once"
                              : "gets no new work; its sessions run to their end"};
    if (steps.size() == 2 && is_whole)
      return Meaning{what, steps[1], is_added ? "is new" : "is gone"};
    if (what == "backend" && IsAnotherServer(steps))
      return Meaning{what, steps[1], kIsAnotherServer};
    return Meaning{what, steps[1], kIsChanged};
  }
  return std::nullopt;
}

// --- files --------------------------------------------------------------------------------------

// Files that are read anew, though the configuration says the same of them.
std::string FilesText(const Node& wanted, const conf::Config& config, const std::string& loaded) {
  std::string text;
  std::set<std::string> told;
  const std::filesystem::path folder = std::filesystem::path(config.path).parent_path();
  for (const std::string& named : conf::FilesNamedIn(wanted)) {
    const std::filesystem::path path = folder / named;
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error) || !told.insert(path.string()).second)
      continue;
    const auto written = std::filesystem::last_write_time(path, error);
    if (error) continue;
    const auto time = std::chrono::time_point_cast<base::WallTime::duration>(
        std::chrono::file_clock::to_sys(written));
    // Both are texts of one form, whose order is that of the times.
    if (base::log::FormatTime(base::WallTime(time.time_since_epoch())) > loaded)
      text += "file " + named + " has changed since: a reload reads it anew\n";
  }
  return text;
}

}  // namespace

std::string DiffText(const Node& running, const Node& wanted, const conf::Config& config) {
  const Node* const before = running.Find("configuration");
  const Node nothing;
  const Node& old = before == nullptr ? nothing : *before;
  const std::string loaded = TextOf(running, "loaded");
  std::string text = "the running configuration " + TextOf(running, "generation") + " of " +
                     TextOf(running, "path") + ", loaded " + loaded + "\n";
  const std::vector<KeyChange> changes = conf::Compare(old, wanted);
  const std::string files = FilesText(wanted, config, loaded);
  if (changes.empty() && files.empty()) return text + "a reload changes nothing\n";
  std::set<Meaning> meanings;
  std::string restart;
  for (size_t i = 0; i < changes.size(); ++i) {
    if (i < kMaxDiffLines) text += ChangeText(changes[i]);
    if (const auto meaning = MeaningOf(changes[i])) meanings.insert(*meaning);
    if (changes[i].reload == conf::Reload::kRestart)
      restart += (restart.empty() ? "" : ", ") + changes[i].path;
  }
  if (changes.size() > kMaxDiffLines)
    text += "and " + std::to_string(changes.size() - kMaxDiffLines) + " changes more\n";
  text += SocketsText(old, wanted);
  // Once is enough.
  std::erase_if(meanings, [&meanings](const Meaning& meaning) {
    return meaning.words == kIsChanged &&
           meanings.contains({meaning.what, meaning.name, kIsAnotherServer});
  });
  size_t num_meanings = 0;
  for (const Meaning& meaning : meanings)
    if (num_meanings++ < kMaxDiffLines)
      text += meaning.what + " " + base::Printable(meaning.name) + " " + meaning.words + "\n";
  text += files;
  if (!restart.empty()) text += "a restart is needed for " + Cut(restart) + "\n";
  return text + "secrets inside of the configuration are not compared\n";
}

}  // namespace postern::daemon
