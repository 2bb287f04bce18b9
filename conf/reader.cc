// reader: keys of one object, checked against their rows.
// SPDX-License-Identifier: Apache-2.0
#include "conf/reader.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <set>

#include "conf/text_types.h"
#include "conf/values.h"
#include "lb/base/check.h"

namespace postern::conf {
namespace {

using json::Node;
using std::chrono::milliseconds;

// The two ends of a row's range, in the type's own form; {0, 0} if the row has none.
struct Range {
  std::string_view low;
  std::string_view high;
};

Range RangeOf(const Key& row) {
  const size_t dots = row.values.find("..");
  if (dots == std::string_view::npos) return {};
  return {row.values.substr(0, dots), row.values.substr(dots + 2)};
}

double InUnits(Type type, std::string_view text) {
  double number = 0;
  uint64_t bytes = 0;
  milliseconds duration{0};
  switch (type) {
    case Type::kDuration:
      if (!ParseDuration(text, duration)) number = static_cast<double>(duration.count());
      return number;
    case Type::kSize:
      if (!ParseSize(text, bytes)) number = static_cast<double>(bytes);
      return number;
    default:
      std::from_chars(text.data(), text.data() + text.size(), number);
      return number;
  }
}

std::string WholeText(const Node& node) {
  return (node.is_negative ? "-" : "") + std::to_string(node.whole);
}

// What stands there, as it should have been written: 5 for a duration, "5" for a count.
std::string RightForm(const Key& row, const Node& node) {
  const bool is_plain = node.kind == Node::Kind::kNumber && node.is_whole && !node.is_negative;
  switch (row.type) {
    case Type::kDuration:
      return is_plain ? "with its unit: " + Quoted(WholeText(node) + "s") : "for example \"30s\"";
    case Type::kSize:
      return is_plain ? "with its unit: " + Quoted(WholeText(node) + "B") : "for example \"64KiB\"";
    case Type::kRate:
      return "for example \"10/10m\"";
    case Type::kBool:
      return node.text == "true" || node.text == "false" ? "without quotes: " + node.text : "";
    case Type::kCount:
    case Type::kPort:
    case Type::kNumber: {
      double number = 0;
      const char* end = node.text.data() + node.text.size();
      const bool is_number =
          !node.text.empty() && std::from_chars(node.text.data(), end, number).ptr == end;
      return is_number ? "without quotes: " + node.text : "";
    }
    case Type::kSecret:
      return "a string, {\"file\": \"...\"} or {\"env\": \"...\"}";
    default:
      return node.kind == Node::Kind::kNull ? "without the key its default holds" : "";
  }
}

std::string WithArticle(std::string_view noun) {
  for (const std::string_view plural : {"true or", "objects", "lists"})
    if (noun.substr(0, plural.size()) == plural) return std::string(noun);
  const bool is_vowel = std::string_view("aeioAEIO").find(noun.front()) != std::string_view::npos;
  return (is_vowel ? "an " : "a ") + std::string(noun);
}

bool ListMayBeEmpty(Type type) {
  return type == Type::kNetworks || type == Type::kStrings || type == Type::kAddressList;
}

}  // namespace

std::string Sources::Absolute(std::string_view path) const {
  return (std::filesystem::path(folder) / path).lexically_normal().string();
}

ObjectReader::ObjectReader(Problems& problems, const Sources& sources, const Value& value,
                           ObjectKind kind, Layer layer)
    : problems_(problems),
      sources_(sources),
      value_(value),
      info_(Info(kind)),
      layer_(layer),
      is_asked_(info_.keys.size()) {
  for (const json::Member& member : value_.node->members) {
    const Key* row = info_.Find(member.key);
    if (row == nullptr) {
      problems_.Error(member.key_place, PathOf(member.key), "unknown key",
                      Suggest(member.key, info_.Names()));
    } else if (const NotYet* not_yet = FindNotYet(kind, member.key);
               not_yet != nullptr && not_yet->IsWhole() && !value_.is_inert) {
      problems_.NoEffect(*not_yet, "", member.key_place, PathOf(member.key));
    }
  }
  for (const Key& row : info_.keys)
    if (row.is_required() && row.only.empty() && !Has(row.key)) Missing(row);
}

ObjectReader::~ObjectReader() {
  for (size_t i = 0; i < is_asked_.size(); ++i) POSTERN_DCHECK(is_asked_[i]);
}

void ObjectReader::SetVariant(std::string_view variant) {
  std::vector<std::string_view> names;
  for (const Key& row : info_.keys) {
    if (row.AppliesTo(variant)) {
      names.push_back(row.key);
      if (row.is_required() && !row.only.empty() && !Has(row.key)) Missing(row);
    }
  }
  for (const json::Member& member : value_.node->members) {
    const Key* row = info_.Find(member.key);
    if (row != nullptr && !row->AppliesTo(variant)) {
      problems_.Error(member.key_place, PathOf(member.key),
                      "no key of " + std::string(info_.discriminator) + " " + Quoted(variant),
                      "it is one of " + Listed(Split(row->only), " and "));
    }
  }
}

void ObjectReader::Missing(const Key& row) {
  const bool has_words = row.type == Type::kWord;
  problems_.MarkBroken(PathOf(row.key));
  problems_.Error(
      value_.node->place, value_.path, Quoted(row.key) + " is missing",
      has_words ? "one of " + Listed(Split(row.values), ", ") : WithArticle(Name(row.type)));
}

const Key& ObjectReader::Row(std::string_view key, std::initializer_list<Type> types) {
  const Key* row = info_.Find(key);
  POSTERN_CHECK(row != nullptr);
  POSTERN_CHECK(types.size() == 0 ||
                std::find(types.begin(), types.end(), row->type) != types.end());
  is_asked_[static_cast<size_t>(row - info_.keys.data())] = true;
  return *row;
}

const Node* ObjectReader::Find(const Key& row) {
  return value_.node->Find(row.key);
}

template <typename IsSame>
void ObjectReader::CheckDefault(const Key& row, IsSame is_same) const {
  if (layer_ == Layer::kBase && !row.fallback.empty() && !row.is_required())
    POSTERN_DCHECK(is_same());
}

void ObjectReader::WrongType(const Key& row, const Node& node, const std::string& path) {
  problems_.Error(
      node.place, path,
      "expected " + WithArticle(Name(row.type)) + ", found " + std::string(json::Name(node.kind)),
      RightForm(row, node));
}

bool ObjectReader::InRange(const Key& row, double number, const std::string& shown) {
  const Range range = RangeOf(row);
  if (range.low.empty()) return true;
  if (number >= InUnits(row.type, range.low) && number <= InUnits(row.type, range.high))
    return true;
  problems_.Error(PathOf(row.key), shown + " is out of range",
                  "from " + std::string(range.low) + " to " + std::string(range.high));
  return false;
}

bool ObjectReader::Bool(std::string_view key, bool& target) {
  const Key& row = Row(key, {Type::kBool});
  const Node* node = Find(row);
  if (node == nullptr) {
    CheckDefault(row, [&] { return (row.fallback == "true") == target; });
    return false;
  }
  if (node->kind != Node::Kind::kBool) {
    WrongType(row, *node, PathOf(key));
    return false;
  }
  target = node->boolean;
  return true;
}

bool ObjectReader::Number(std::string_view key, double& target) {
  const Key& row = Row(key, {Type::kNumber});
  const Node* node = Find(row);
  if (node == nullptr) {
    CheckDefault(row, [&] { return InUnits(row.type, row.fallback) == target; });
    return false;
  }
  if (node->kind != Node::Kind::kNumber) {
    WrongType(row, *node, PathOf(key));
    return false;
  }
  if (!InRange(row, node->number, "the number")) return false;
  target = node->number;
  return true;
}

bool ObjectReader::Number(std::string_view key, std::optional<double>& target) {
  double number = 0;
  if (!Number(key, number)) return false;
  target = number;
  return true;
}

bool ObjectReader::WideCount(std::string_view key, uint64_t& target, uint64_t type_maximum) {
  const Key& row = Row(key, {Type::kCount, Type::kPort});
  const Node* node = Find(row);
  if (node == nullptr) {
    CheckDefault(row,
                 [&] { return InUnits(row.type, row.fallback) == static_cast<double>(target); });
    return false;
  }
  if (node->kind != Node::Kind::kNumber || !node->is_whole) {
    WrongType(row, *node, PathOf(key));
    return false;
  }
  if (!InRange(row, node->number, node->is_negative ? "the number" : WholeText(*node)))
    return false;
  POSTERN_CHECK(node->whole <= type_maximum);  // the row's range is the type's or narrower
  target = node->whole;
  return true;
}

bool ObjectReader::Count(std::string_view key, std::optional<uint64_t>& target) {
  uint64_t count = 0;
  if (!Count(key, count)) return false;
  target = count;
  return true;
}

const std::string* ObjectReader::StringOf(const Key& row) {
  const Node* node = Find(row);
  if (node == nullptr) return nullptr;
  if (node->kind != Node::Kind::kString) {
    WrongType(row, *node, PathOf(row.key));
    return nullptr;
  }
  return &node->text;
}

bool ObjectReader::Duration(std::string_view key, milliseconds& target) {
  const Key& row = Row(key, {Type::kDuration});
  if (!Has(key)) {
    CheckDefault(row, [&] {
      return InUnits(row.type, row.fallback) == static_cast<double>(target.count());
    });
    return false;
  }
  const std::string* text = StringOf(row);
  if (text == nullptr) return false;
  milliseconds duration{0};
  if (auto refusal = ParseDuration(*text, duration)) {
    problems_.Error(PathOf(key), std::move(refusal->message), std::move(refusal->hint));
    return false;
  }
  if (!InRange(row, static_cast<double>(duration.count()), Quoted(*text))) return false;
  target = duration;
  return true;
}

bool ObjectReader::Duration(std::string_view key, std::optional<milliseconds>& target) {
  milliseconds duration{0};
  if (!Duration(key, duration)) return false;
  target = duration;
  return true;
}

bool ObjectReader::Size(std::string_view key, uint64_t& target) {
  const Key& row = Row(key, {Type::kSize});
  if (!Has(key)) {
    CheckDefault(row,
                 [&] { return InUnits(row.type, row.fallback) == static_cast<double>(target); });
    return false;
  }
  const std::string* text = StringOf(row);
  if (text == nullptr) return false;
  uint64_t bytes = 0;
  if (auto refusal = ParseSize(*text, bytes)) {
    problems_.Error(PathOf(key), std::move(refusal->message), std::move(refusal->hint));
    return false;
  }
  if (!InRange(row, static_cast<double>(bytes), Quoted(*text))) return false;
  target = bytes;
  return true;
}

bool ObjectReader::Rate(std::string_view key, uint64_t& count, milliseconds& window) {
  const Key& row = Row(key, {Type::kRate});
  if (!Has(key)) {
    CheckDefault(row, [&] {
      uint64_t row_count = 0;
      milliseconds row_window{0};
      return !ParseRate(row.fallback, row_count, row_window) && row_count == count &&
             row_window == window;
    });
    return false;
  }
  const std::string* text = StringOf(row);
  if (text == nullptr) return false;
  if (auto refusal = ParseRate(*text, count, window)) {
    problems_.Error(PathOf(key), std::move(refusal->message), std::move(refusal->hint));
    return false;
  }
  return true;
}

bool ObjectReader::WordIndex(std::string_view key, size_t& index) {
  const Key& row = Row(key, {Type::kWord});
  const auto words = Split(row.values);
  if (!Has(key)) {
    CheckDefault(row, [&] { return index < words.size() && words[index] == row.fallback; });
    return false;
  }
  const std::string* text = StringOf(row);
  if (text == nullptr) return false;
  const auto found = std::find(words.begin(), words.end(), *text);
  if (found == words.end()) {
    problems_.Error(PathOf(key), Quoted(*text) + " is not one of " + Listed(words, " and "),
                    Nearest(*text, words).empty() ? "" : Suggest(*text, words));
    return false;
  }
  if (const NotYet* not_yet = FindNotYet(info_.kind, key);
      not_yet != nullptr && not_yet->Names(*text) && !value_.is_inert)
    problems_.NoEffect(*not_yet, *text, Find(row)->place, PathOf(key));
  index = static_cast<size_t>(found - words.begin());
  return true;
}

bool ObjectReader::TakeText(const Key& row, const Node& node, const std::string& path,
                            std::string& target) {
  if (auto refusal = CheckText(row, node.text)) {
    problems_.Error(node.place, path, std::move(refusal->message), std::move(refusal->hint));
    return false;
  }
  const auto words = Split(row.values);
  const bool is_word = row.type == Type::kPathOrWord &&
                       std::find(words.begin(), words.end(), node.text) != words.end();
  if ((row.type == Type::kPath || row.type == Type::kPathOrWord) && !is_word) {
    target = sources_.Absolute(node.text);
  } else if (node.text.compare(0, 5, "unix:") == 0 &&
             (row.type == Type::kPeer || row.type == Type::kPeers)) {
    target = "unix:" + sources_.Absolute(node.text.substr(5));
  } else {
    target = node.text;
  }
  return true;
}

bool ObjectReader::Text(std::string_view key, std::string& target) {
  const Key& row = Row(key, {Type::kString, Type::kText, Type::kName, Type::kReference,
                             Type::kHostname, Type::kHost, Type::kPath, Type::kPathOrWord,
                             Type::kReply, Type::kRegex, Type::kPattern, Type::kUrl, Type::kPeer});
  if (!Has(key)) {
    CheckDefault(row, [&] { return target == row.fallback; });
    return false;
  }
  return StringOf(row) != nullptr && TakeText(row, *Find(row), PathOf(key), target);
}

template <typename Take>
bool ObjectReader::ForEach(const Key& row, bool may_be_alone, Take take) {
  const Node* node = Find(row);
  if (node == nullptr) return false;
  const std::string path = PathOf(row.key);
  if (node->kind == Node::Kind::kString && may_be_alone) return take(*node, path);
  if (node->kind != Node::Kind::kArray) {
    WrongType(row, *node, path);
    return false;
  }
  if (node->items.empty() && !ListMayBeEmpty(row.type)) {
    problems_.Error(path, "the list is empty", "");
    return false;
  }
  bool is_good = true;
  for (size_t i = 0; i < node->items.size(); ++i) {
    const Node& item = node->items[i];
    const std::string item_path = json::Join(path, i);
    if (item.kind != Node::Kind::kString) {
      problems_.Error(item.place, item_path,
                      "expected a string, found " + std::string(json::Name(item.kind)));
      is_good = false;
    } else if (!take(item, item_path)) {
      is_good = false;
    }
  }
  if (!is_good) problems_.MarkBroken(path);
  return is_good;
}

bool ObjectReader::Texts(std::string_view key, std::vector<std::string>& target) {
  const Key& row = Row(key, {Type::kReferences, Type::kPatterns, Type::kStrings, Type::kWords,
                             Type::kUrls, Type::kPeers});
  const bool may_be_alone = row.type != Type::kStrings && row.type != Type::kWords;
  std::vector<std::string> texts;
  std::set<std::string_view> seen;
  const bool is_good = ForEach(row, may_be_alone, [&](const Node& node, const std::string& path) {
    std::string text;
    if (!TakeText(row, node, path, text)) return false;
    if (!seen.insert(node.text).second) {
      problems_.Error(node.place, path, Quoted(node.text) + " stands in the list twice", "");
      return false;
    }
    texts.push_back(std::move(text));
    return true;
  });
  // What is right is kept even if something else is wrong, for the rules that follow.
  if (Has(key)) target = std::move(texts);
  return is_good;
}

bool ObjectReader::Networks(std::string_view key, std::vector<base::Network>& target) {
  const Key& row = Row(key, {Type::kNetworks});
  if (Has(key)) target.clear();
  return ForEach(row, true, [&](const Node& node, const std::string& path) {
    if (auto network = base::Network::Parse(node.text)) {
      target.push_back(*network);
      return true;
    }
    Refusal refusal = BadNetwork(node.text);
    problems_.Error(node.place, path, std::move(refusal.message), std::move(refusal.hint));
    return false;
  });
}

bool ObjectReader::SocketAddresses(std::string_view key, std::vector<base::SocketAddress>& target) {
  const Key& row = Row(key, {Type::kSocketAddress});
  return ForEach(row, true, [&](const Node& node, const std::string& path) {
    if (auto address = base::SocketAddress::Parse(node.text)) {
      target.push_back(*address);
      return true;
    }
    Refusal refusal = BadSocketAddress(node.text);
    problems_.Error(node.place, path, std::move(refusal.message), std::move(refusal.hint));
    return false;
  });
}

bool ObjectReader::IpAddresses(std::string_view key, std::vector<base::IpAddress>& target) {
  const Key& row = Row(key, {Type::kAddressList});
  return ForEach(row, true, [&](const Node& node, const std::string& path) {
    if (auto address = base::IpAddress::Parse(node.text)) {
      target.push_back(*address);
      return true;
    }
    Refusal refusal = BadIpAddress(node.text);
    problems_.Error(node.place, path, std::move(refusal.message), std::move(refusal.hint));
    return false;
  });
}

bool ObjectReader::StringMap(std::string_view key,
                             std::vector<std::pair<std::string, std::string>>& target) {
  const Key& row = Row(key, {Type::kStringMap});
  const Node* node = Find(row);
  if (node == nullptr) return false;
  if (node->kind != Node::Kind::kObject) {
    WrongType(row, *node, PathOf(key));
    return false;
  }
  bool is_good = true;
  for (const json::Member& member : node->members) {
    const std::string path = json::Join(PathOf(key), member.key);
    if (member.value.kind != Node::Kind::kString) {
      problems_.Error(member.value.place, path,
                      "expected a string, found " + std::string(json::Name(member.value.kind)));
      is_good = false;
    } else if (!IsOneLine(member.key) || !IsOneLine(member.value.text)) {
      problems_.Error(member.value.place, path, "control characters are not allowed here");
      is_good = false;
    } else {
      target.emplace_back(member.key, member.value.text);
    }
  }
  return is_good;
}

Value ObjectReader::Below(const Key& row, const Node& node, std::string path) const {
  const NotYet* not_yet = FindNotYet(info_.kind, row.key);
  return {&node, std::move(path), value_.is_inert || (not_yet != nullptr && not_yet->IsWhole())};
}

std::optional<Value> ObjectReader::Object(std::string_view key) {
  const Key& row = Row(key, {Type::kObject});
  const Node* node = Find(row);
  if (node == nullptr) return std::nullopt;
  if (node->kind != Node::Kind::kObject) {
    WrongType(row, *node, PathOf(key));
    return std::nullopt;
  }
  return Below(row, *node, PathOf(key));
}

std::vector<Value> ObjectReader::ObjectList(std::string_view key) {
  const Key& row = Row(key, {Type::kObjectList});
  std::vector<Value> values;
  const Node* node = Find(row);
  if (node == nullptr) return values;
  if (node->kind != Node::Kind::kArray) {
    WrongType(row, *node, PathOf(key));
    return values;
  }
  for (size_t i = 0; i < node->items.size(); ++i) {
    const std::string path = json::Join(PathOf(key), i);
    if (node->items[i].kind == Node::Kind::kObject) {
      values.push_back(Below(row, node->items[i], path));
    } else {
      problems_.Error(node->items[i].place, path,
                      "expected an object, found " + std::string(json::Name(node->items[i].kind)));
    }
  }
  return values;
}

std::vector<ObjectReader::Named> ObjectReader::ObjectMap(std::string_view key) {
  const Key& row = Row(key, {Type::kObjectMap, Type::kObjectListMap});
  std::vector<Named> values;
  const Node* node = Find(row);
  if (node == nullptr) return values;
  if (node->kind != Node::Kind::kObject) {
    WrongType(row, *node, PathOf(key));
    return values;
  }
  const Node::Kind wanted = row.type == Type::kObjectMap ? Node::Kind::kObject : Node::Kind::kArray;
  for (const json::Member& member : node->members) {
    const std::string path = json::Join(PathOf(key), member.key);
    if (!IsName(member.key)) {
      problems_.Error(member.key_place, path, Quoted(member.key) + " is not a name",
                      "1 to 64 letters, digits, '.', '_' and '-'; not '.' or '-' first");
    }
    if (member.value.kind == wanted) {
      values.push_back({member.key, Below(row, member.value, path)});
    } else {
      problems_.Error(member.value.place, path,
                      "expected " + std::string(json::Name(wanted)) + ", found " +
                          std::string(json::Name(member.value.kind)));
    }
  }
  return values;
}

std::optional<Value> ObjectReader::ObjectOrWord(std::string_view key, std::string& word) {
  const Key& row = Row(key, {Type::kObjectOrWord});
  const Node* node = Find(row);
  if (node == nullptr) return std::nullopt;
  if (node->kind == Node::Kind::kObject) return Below(row, *node, PathOf(key));
  const std::string_view allowed = row.values.substr(row.values.find(' ') + 1);
  if (node->kind == Node::Kind::kString && node->text == allowed) {
    word = node->text;
  } else {
    problems_.Error(PathOf(key),
                    "expected an object or " + Quoted(allowed) + ", found " +
                        (node->kind == Node::Kind::kString ? Quoted(node->text)
                                                           : std::string(json::Name(node->kind))));
  }
  return std::nullopt;
}

}  // namespace postern::conf
