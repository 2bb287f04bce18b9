// schema: the JSON Schema (draft 2020-12), made from the table of keys.
//
// It is for editors: what it refuses, Postern refuses; rules across keys are not in it.
// SPDX-License-Identifier: Apache-2.0
#include <cstdint>

#include "conf/keys.h"
#include "conf/load.h"
#include "conf/values.h"
#include "lb/base/escape.h"

namespace postern::conf {
namespace {

std::string Text(std::string_view text) {
  std::string quoted;
  base::AppendJsonString(quoted, text);
  return quoted;
}

std::string Array(const std::vector<std::string_view>& words) {
  std::string array = "[";
  for (const std::string_view word : words) array += (array.size() > 1 ? ", " : "") + Text(word);
  return array + "]";
}

std::string Ref(std::string_view kind) {
  return "{\"$ref\": " + Text("#/$defs/" + std::string(kind)) + "}";
}

std::string OneOrList(const std::string& item) {
  return "{\"anyOf\": [" + item + ", {\"type\": \"array\", \"items\": " + item + "}]}";
}

std::string Pattern(std::string_view pattern) {
  return "{\"type\": \"string\", \"pattern\": " + Text(pattern) + "}";
}

constexpr std::string_view kAnyString = "{\"type\": \"string\"}";
constexpr std::string_view kSomeString = "{\"type\": \"string\", \"minLength\": 1}";
constexpr std::string_view kNamePattern = "^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$";

// A number's range, without the braces around it.
std::string Bounds(const Key& row) {
  const size_t dots = row.values.find("..");
  if (dots == std::string_view::npos) return "";
  return ", \"minimum\": " + std::string(row.values.substr(0, dots)) +
         ", \"maximum\": " + std::string(row.values.substr(dots + 2));
}

std::string MapOf(const std::string& value) {
  return "{\"type\": \"object\", \"propertyNames\": {\"pattern\": " + Text(kNamePattern) +
         "}, \"additionalProperties\": " + value + "}";
}

std::string TypeSchema(const Key& row) {
  const std::string some(kSomeString);
  switch (row.type) {
    case Type::kString:
    case Type::kText:
    case Type::kReply:
      return std::string(kAnyString);
    case Type::kReference:
    case Type::kHostname:
    case Type::kHost:
    case Type::kPath:
    case Type::kPathOrWord:
    case Type::kRegex:
    case Type::kUrl:
    case Type::kPeer:
    case Type::kPattern:
      return some;
    case Type::kName:
      return Pattern(kNamePattern);
    case Type::kWord:
      return "{\"enum\": " + Array(Split(row.values)) + "}";
    case Type::kBool:
      return "{\"type\": \"boolean\"}";
    case Type::kCount:
    case Type::kPort:
      return "{\"type\": \"integer\"" + Bounds(row) + "}";
    case Type::kNumber:
      return "{\"type\": \"number\"" + Bounds(row) + "}";
    case Type::kDuration:
      return Pattern("^[0-9]+(ms|s|m|h)$");
    case Type::kSize:
      return Pattern("^[0-9]+(B|KiB|MiB|GiB)$");
    case Type::kRate:
      return Pattern("^[0-9]+/[0-9]+(ms|s|m|h)$");
    case Type::kReferences:
    case Type::kSocketAddress:
    case Type::kAddressList:
    case Type::kNetworks:
    case Type::kUrls:
    case Type::kPeers:
    case Type::kPatterns:
      return OneOrList(some);
    case Type::kSecret:
      return Ref("secret");
    case Type::kStrings:
      return "{\"type\": \"array\", \"items\": " + some + "}";
    case Type::kWords:
      return "{\"type\": \"array\", \"items\": {\"enum\": " + Array(Split(row.values)) + "}}";
    case Type::kStringMap:
      return "{\"type\": \"object\", \"additionalProperties\": " + std::string(kAnyString) + "}";
    case Type::kSecretMap:
      return MapOf(Ref("secret"));
    case Type::kObject:
      return Ref(row.values);
    case Type::kObjectList:
      return "{\"type\": \"array\", \"items\": " + Ref(row.values) + "}";
    case Type::kObjectMap:
      return MapOf(Ref(row.values));
    case Type::kObjectListMap:
      return MapOf("{\"type\": \"array\", \"items\": " + Ref(row.values) + "}");
    case Type::kObjectOrWord: {
      const auto parts = Split(row.values);
      return "{\"anyOf\": [" + Ref(parts[0]) + ", {\"const\": " + Text(parts[1]) + "}]}";
    }
  }
  return "{}";
}

// The default as JSON: numbers and truth values bare, all else as strings.
std::string DefaultText(const Key& row) {
  switch (row.type) {
    case Type::kBool:
    case Type::kCount:
    case Type::kNumber:
      return std::string(row.fallback);
    case Type::kWords:
      return Array(Split(row.fallback));
    default:
      return Text(row.fallback);
  }
}

std::string Property(const Key& row) {
  std::string schema = TypeSchema(row);
  schema.pop_back();  // the brace, for what follows
  if (schema.size() > 1) schema += ", ";
  schema += "\"description\": " + Text(row.help);
  if (!row.fallback.empty() && !row.is_required() && row.note.empty())
    schema += ", \"default\": " + DefaultText(row);
  return schema + "}";
}

// For every value of the discriminator: what must be there then, and what may not.
std::string Variants(const ObjectInfo& info) {
  std::string all;
  for (const std::string_view variant : Split(info.Find(info.discriminator)->values)) {
    std::vector<std::string_view> required;
    std::string excluded;
    for (const Key& row : info.keys) {
      if (row.only.empty()) continue;
      if (!row.AppliesTo(variant)) {
        excluded += (excluded.empty() ? "" : ", ") + Text(row.key) + ": false";
      } else if (row.is_required()) {
        required.push_back(row.key);
      }
    }
    if (!all.empty()) all += ",\n        ";
    all += "{\"if\": {\"properties\": {" + Text(info.discriminator) +
           ": {\"const\": " + Text(variant) + "}}}, \"then\": {\"required\": " + Array(required) +
           ", \"properties\": {" + excluded + "}}}";
  }
  return all;
}

std::string ObjectSchema(const ObjectInfo& info, std::string_view indent) {
  const std::string line = ",\n" + std::string(indent);
  std::string schema = "\"type\": \"object\"";
  if (!info.help.empty()) schema += line + "\"description\": " + Text(info.help);
  std::vector<std::string_view> required;
  for (const Key& row : info.keys)
    if (row.is_required() && row.only.empty()) required.push_back(row.key);
  if (!required.empty()) schema += line + "\"required\": " + Array(required);
  schema += line + "\"additionalProperties\": false";
  if (!info.discriminator.empty()) schema += line + "\"allOf\": [" + Variants(info) + "]";
  schema += line + "\"properties\": {";
  bool is_first = true;
  for (const Key& row : info.keys) {
    schema += (is_first ? "\n" : ",\n") + std::string(indent) + "  " + Text(row.key) + ": " +
              Property(row);
    is_first = false;
  }
  return schema + "\n" + std::string(indent) + "}";
}

}  // namespace

std::string Schema() {
  std::string schema =
      "{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n"
      "  \"title\": \"Postern's configuration\",\n  ";
  schema += ObjectSchema(Info(ObjectKind::kTop), "  ");
  schema += ",\n  \"$defs\": {\n    \"secret\": {\"anyOf\": [" + std::string(kSomeString);
  for (const std::string_view key : {"file", "env"}) {
    schema += ",\n      {\"type\": \"object\", \"required\": [" + Text(key) +
              "], \"additionalProperties\": false, \"properties\": {" + Text(key) + ": " +
              std::string(kSomeString) + "}}";
  }
  schema += "]}";
  for (const ObjectInfo& info : AllObjects()) {
    if (info.kind == ObjectKind::kTop) continue;
    schema +=
        ",\n    " + Text(info.name) + ": {\n      " + ObjectSchema(info, "      ") + "\n    }";
  }
  return schema + "\n  }\n}\n";
}

}  // namespace postern::conf
