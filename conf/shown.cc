// shown: three walks over a tree by the table of keys.
// SPDX-License-Identifier: Apache-2.0
#include "conf/shown.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>
#include <set>
#include <utility>

#include "conf/values.h"
#include "lb/base/escape.h"

namespace postern::conf {
namespace {

using json::Member;
using json::Node;
using NodeKind = Node::Kind;

constexpr std::string_view kMask = "***";

std::string Quote(std::string_view text) {
  std::string quoted;
  base::AppendJsonString(quoted, text);
  return quoted;
}

std::string NumberText(const Node& node) {
  if (node.is_whole) return (node.is_negative ? "-" : "") + std::to_string(node.whole);
  char text[32];
  std::snprintf(text, sizeof(text), "%.17g", node.number);
  return text;
}

// A value that is no object of the table and no secret.
std::string Plain(const Node& node) {
  switch (node.kind) {
    case NodeKind::kNull:
      return "null";
    case NodeKind::kBool:
      return node.boolean ? "true" : "false";
    case NodeKind::kNumber:
      return NumberText(node);
    case NodeKind::kString:
      return Quote(node.text);
    case NodeKind::kArray: {
      std::string out = "[";
      for (const Node& item : node.items) out += (out.size() > 1 ? "," : "") + Plain(item);
      return out + "]";
    }
    case NodeKind::kObject: {
      std::string out = "{";
      for (const Member& member : node.members)
        out += (out.size() > 1 ? "," : "") + Quote(member.key) + ":" + Plain(member.value);
      return out + "}";
    }
  }
  return "null";
}

// {"file": PATH} and {"env": NAME} say where it is.
std::string SecretText(const Node& node) {
  const bool is_elsewhere = node.kind == NodeKind::kObject && node.members.size() == 1 &&
                            (node.members[0].key == "file" || node.members[0].key == "env");
  return is_elsewhere ? Plain(node) : Quote(kMask);
}

// The table's word for the objects in a value of this row; null: it holds none.
const ObjectInfo* InfoOf(const Key& row) {
  switch (row.type) {
    case Type::kObject:
    case Type::kObjectList:
    case Type::kObjectMap:
    case Type::kObjectListMap:
      return FindKind(row.values);
    case Type::kObjectOrWord:
      return FindKind(Split(row.values)[0]);
    default:
      return nullptr;
  }
}

std::string ObjectText(const Node& node, const ObjectInfo& info);

std::string ListText(const Node& node, const ObjectInfo& info) {
  std::string out = "[";
  for (const Node& item : node.items) out += (out.size() > 1 ? "," : "") + ObjectText(item, info);
  return out + "]";
}

std::string MapText(const Node& node, const auto& print) {
  std::string out = "{";
  for (const Member& member : node.members)
    out += (out.size() > 1 ? "," : "") + Quote(member.key) + ":" + print(member.value);
  return out + "}";
}

std::string ValueText(const Node& node, const Key& row) {
  const ObjectInfo* const info = InfoOf(row);
  switch (row.type) {
    case Type::kSecret:
      return SecretText(node);
    case Type::kSecretMap:
      return MapText(node, SecretText);
    case Type::kObject:
      return ObjectText(node, *info);
    case Type::kObjectOrWord:
      return node.kind == NodeKind::kObject ? ObjectText(node, *info) : Plain(node);
    case Type::kObjectList:
      return ListText(node, *info);
    case Type::kObjectMap:
      return MapText(node, [info](const Node& item) { return ObjectText(item, *info); });
    case Type::kObjectListMap:
      return MapText(node, [info](const Node& item) { return ListText(item, *info); });
    default:
      return Plain(node);
  }
}

std::string ObjectText(const Node& node, const ObjectInfo& info) {
  std::string out = "{";
  for (const Member& member : node.members) {
    const Key* const row = info.Find(member.key);
    out += (out.size() > 1 ? "," : "") + Quote(member.key) + ":" +
           (row == nullptr ? Quote(kMask) : ValueText(member.value, *row));
  }
  return out + "}";
}

bool IsOneOrList(Type type) {
  switch (type) {
    case Type::kReferences:
    case Type::kSocketAddress:
    case Type::kAddressList:
    case Type::kNetworks:
    case Type::kUrls:
    case Type::kPeers:
    case Type::kPatterns:
      return true;
    default:
      return false;
  }
}

// What a value means, to compare: the same text for the same meaning.
std::string Meaning(const Node& node, const Key& row) {
  if (node.kind == NodeKind::kString && row.type == Type::kDuration) {
    std::chrono::milliseconds value{};
    if (!ParseDuration(node.text, value)) return std::to_string(value.count()) + "ms";
  }
  if (node.kind == NodeKind::kString && row.type == Type::kSize) {
    uint64_t bytes = 0;
    if (!ParseSize(node.text, bytes)) return std::to_string(bytes) + "B";
  }
  if (node.kind == NodeKind::kNumber && row.type == Type::kNumber) {
    char text[32];
    std::snprintf(text, sizeof(text), "%.17g", node.number);
    return text;
  }
  if (node.kind == NodeKind::kString && IsOneOrList(row.type)) return "[" + Plain(node) + "]";
  return ValueText(node, row);
}

// Likewise of its default; nothing where it has none that could be written.
std::optional<std::string> MeaningOfDefault(const Key& row) {
  if (row.is_required() || row.fallback.empty() || !row.note.empty()) return std::nullopt;
  Node node;
  node.kind = NodeKind::kString;
  node.text = row.fallback;
  switch (row.type) {
    case Type::kBool:
      return std::string(row.fallback);
    case Type::kCount:
    case Type::kPort:
    case Type::kNumber: {
      const json::Parsed parsed = json::Parse(row.fallback);
      return parsed.root ? std::optional(Meaning(*parsed.root, row)) : std::nullopt;
    }
    case Type::kWords:
    case Type::kStrings:
      return std::nullopt;
    default:
      return Meaning(node, row);
  }
}

std::string DefaultInWords(const Key& row) {
  if (!row.note.empty()) return std::string(row.note);
  return row.is_required() ? "" : std::string(row.fallback);
}

// Those that lay themselves over a global one: what is missing there is not the key's default.
bool IsOverlay(ObjectKind kind, ObjectKind parent) {
  return parent != ObjectKind::kTop &&
         (kind == ObjectKind::kHealth || kind == ObjectKind::kWeights ||
          kind == ObjectKind::kLimits || kind == ObjectKind::kTimeouts);
}

// Whether its being there says something by itself.
bool HasRequired(const ObjectInfo& info) {
  return std::any_of(info.keys.begin(), info.keys.end(),
                     [](const Key& row) { return row.is_required(); });
}

// By what a member of a list is known; nothing: by its place.
std::optional<std::vector<std::string>> IdentitiesOf(const Node& list) {
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (const Node& item : list.items) {
    const Node* name = item.Find("name");
    if (name == nullptr) name = item.Find("cert");
    if (name == nullptr || !seen.insert(name->text).second) return std::nullopt;
    names.push_back(name->text);
  }
  return names;
}

const Node& Nothing() {
  static const Node kNothing;
  return kNothing;
}

class Comparison {
 public:
  void CompareObjects(const Node& before, const Node& after, const ObjectInfo& info,
                      const std::string& path, bool is_overlay) {
    for (const Key& row : info.keys) {
      const Node* const old = before.Find(row.key);
      const Node* const fresh = after.Find(row.key);
      if (old == nullptr && fresh == nullptr) continue;
      CompareValues(old, fresh, row, info, json::Join(path, row.key), is_overlay);
    }
  }
  std::vector<KeyChange> Take() { return std::move(changes_); }

 private:
  void CompareValues(const Node* before, const Node* after, const Key& row,
                     const ObjectInfo& parent, const std::string& path, bool is_overlay) {
    const ObjectInfo* const info = InfoOf(row);
    const Node& old = before == nullptr ? Nothing() : *before;
    const Node& fresh = after == nullptr ? Nothing() : *after;
    switch (row.type) {
      case Type::kObject:
      case Type::kObjectOrWord: {
        const bool is_both = old.kind == NodeKind::kObject && fresh.kind == NodeKind::kObject;
        const bool is_word = old.kind == NodeKind::kString || fresh.kind == NodeKind::kString;
        if (!is_both && (is_word || HasRequired(*info)))
          return CompareLeaves(before, after, row, path, is_overlay);
        return CompareObjects(old, fresh, *info, path, IsOverlay(info->kind, parent.kind));
      }
      case Type::kObjectList:
        return CompareLists(old, fresh, *info, row, path, HeedsOrder::kNo);
      case Type::kObjectMap:
        return EachMember(old, fresh, [&](const std::string& name, const Node* a, const Node* b) {
          CompareMembers(a, b, *info, row, json::Join(path, name));
        });
      case Type::kObjectListMap:
        return EachMember(old, fresh, [&](const std::string& name, const Node* a, const Node* b) {
          const std::string its = json::Join(path, name);
          if (a == nullptr || b == nullptr) {
            Add(its, row, a == nullptr ? "" : ListText(*a, *info),
                b == nullptr ? "" : ListText(*b, *info));
          } else {
            CompareLists(*a, *b, *info, row, its, HeedsOrder::kYes);
          }
        });
      default:
        return CompareLeaves(before, after, row, path, is_overlay);
    }
  }

  void CompareLeaves(const Node* before, const Node* after, const Key& row, const std::string& path,
                     bool is_overlay) {
    const auto meaning = [&](const Node* node) {
      if (node != nullptr) return std::optional(Meaning(*node, row));
      return is_overlay ? std::nullopt : MeaningOfDefault(row);
    };
    if (meaning(before) == meaning(after)) return;
    KeyChange& change = Add(path, row, before == nullptr ? "" : ValueText(*before, row),
                            after == nullptr ? "" : ValueText(*after, row));
    change.fallback = is_overlay ? "as everywhere" : DefaultInWords(row);
  }

  static void EachMember(const Node& before, const Node& after, const auto& compare) {
    for (const Member& member : before.members)
      compare(member.key, &member.value, after.Find(member.key));
    for (const Member& member : after.members)
      if (before.Find(member.key) == nullptr) compare(member.key, nullptr, &member.value);
  }

  void CompareMembers(const Node* before, const Node* after, const ObjectInfo& info, const Key& row,
                      const std::string& path) {
    if (before != nullptr && after != nullptr)
      return CompareObjects(*before, *after, info, path, false);
    Add(path, row, before == nullptr ? "" : ObjectText(*before, info),
        after == nullptr ? "" : ObjectText(*after, info));
  }

  enum class HeedsOrder : uint8_t { kNo, kYes };
  void CompareLists(const Node& before, const Node& after, const ObjectInfo& info, const Key& row,
                    const std::string& path, HeedsOrder heeds) {
    const auto old_names = IdentitiesOf(before);
    const auto names = IdentitiesOf(after);
    if (!old_names || !names) {
      const size_t num_items = std::max(before.items.size(), after.items.size());
      for (size_t i = 0; i < num_items; ++i)
        CompareMembers(i < before.items.size() ? &before.items[i] : nullptr,
                       i < after.items.size() ? &after.items[i] : nullptr, info, row,
                       json::Join(path, i));
      return;
    }
    const auto place = [](const std::vector<std::string>& in, const std::string& name) {
      return static_cast<size_t>(std::find(in.begin(), in.end(), name) - in.begin());
    };
    for (size_t i = 0; i < old_names->size(); ++i) {
      const size_t there = place(*names, (*old_names)[i]);
      CompareMembers(&before.items[i], there < names->size() ? &after.items[there] : nullptr, info,
                     row, json::Join(path, (*old_names)[i]));
    }
    for (size_t i = 0; i < names->size(); ++i)
      if (place(*old_names, (*names)[i]) == old_names->size())
        CompareMembers(nullptr, &after.items[i], info, row, json::Join(path, (*names)[i]));
    if (heeds == HeedsOrder::kYes && *old_names != *names)
      Add(path, row, Order(*old_names), Order(*names));
  }
  static std::string Order(const std::vector<std::string>& names) {
    std::string out = "[";
    for (const std::string& name : names) out += (out.size() > 1 ? "," : "") + Quote(name);
    return out + "]";
  }

  KeyChange& Add(const std::string& path, const Key& row, std::string before, std::string after) {
    KeyChange& change = changes_.emplace_back();
    change.path = path;
    change.kind = before.empty()  ? KeyChange::Kind::kAdded
                  : after.empty() ? KeyChange::Kind::kRemoved
                                  : KeyChange::Kind::kChanged;
    change.before = std::move(before);
    change.after = std::move(after);
    change.reload = row.reload;
    return change;
  }

  std::vector<KeyChange> changes_;
};

void AddFiles(const Node& node, const ObjectInfo& info, std::vector<std::string>& files) {
  for (const Member& member : node.members) {
    const Key* const row = info.Find(member.key);
    if (row == nullptr) continue;
    const Node& value = member.value;
    const ObjectInfo* const its = InfoOf(*row);
    const auto add_secret = [&files](const Node& secret) {
      if (const Node* file = secret.Find("file")) files.push_back(file->text);
    };
    if (row->type == Type::kPath) {
      files.push_back(value.text);
    } else if (row->type == Type::kSecret) {
      add_secret(value);
    } else if (row->type == Type::kSecretMap) {
      for (const Member& secret : value.members) add_secret(secret.value);
    } else if (row->type == Type::kObject || row->type == Type::kObjectOrWord) {
      AddFiles(value, *its, files);
    } else if (its != nullptr) {
      for (const Node& item : value.items) AddFiles(item, *its, files);
      for (const Member& each : value.members) {
        AddFiles(each.value, *its, files);
        for (const Node& item : each.value.items) AddFiles(item, *its, files);
      }
    }
  }
}

}  // namespace

std::string Shown(const json::Node& root) {
  return ObjectText(root, Info(ObjectKind::kTop));
}

std::vector<KeyChange> Compare(const json::Node& before, const json::Node& after) {
  Comparison comparison;
  comparison.CompareObjects(before, after, Info(ObjectKind::kTop), "", false);
  return comparison.Take();
}

std::vector<std::string> FilesNamedIn(const json::Node& root) {
  std::vector<std::string> files;
  AddFiles(root, Info(ObjectKind::kTop), files);
  return files;
}

}  // namespace postern::conf
