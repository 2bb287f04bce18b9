// mini_schema: judges a JSON value by a JSON Schema, for the few keywords that Postern's has; any
// other keyword is a failure, so that none is passed over.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <regex>
#include <set>
#include <string>

#include <nlohmann/json.hpp>

namespace postern::conf {

class MiniSchema {
 public:
  using Json = nlohmann::json;
  explicit MiniSchema(const Json& root) : root_(root) {}

  // Empty if the value is valid; else where and why not.
  [[nodiscard]] std::string Fault(const Json& value) const { return Fault(root_, value, ""); }

 private:
  [[nodiscard]] std::string Fault(const Json& schema, const Json& value,
                                  const std::string& path) const {
    if (schema.is_boolean()) return schema.get<bool>() ? "" : path + ": not allowed";
    for (const auto& [keyword, rule] : schema.items()) {
      const std::string fault = ByKeyword(keyword, rule, schema, value, path);
      if (!fault.empty()) return fault;
    }
    return "";
  }

  [[nodiscard]] std::string ByKeyword(const std::string& keyword, const Json& rule,
                                      const Json& schema, const Json& value,
                                      const std::string& path) const {
    static const std::set<std::string> kNoRule = {"$schema",     "$defs",   "title",
                                                  "description", "default", "then"};
    const auto fail_unless = [&](bool is_good) {
      return is_good ? "" : path + ": " + keyword + " " + rule.dump().substr(0, 80);
    };
    if (kNoRule.count(keyword) > 0) return "";
    if (keyword == "$ref")
      return Fault(root_.at(Json::json_pointer(rule.get<std::string>().substr(1))), value, path);
    if (keyword == "type") return fail_unless(IsOfType(rule, value));
    if (keyword == "const") return fail_unless(value == rule);
    if (keyword == "enum")
      return fail_unless(std::find(rule.begin(), rule.end(), value) != rule.end());
    if (keyword == "anyOf") {
      bool is_good = false;
      for (const Json& option : rule) is_good = is_good || Fault(option, value, path).empty();
      return fail_unless(is_good);
    }
    if (keyword == "allOf") {
      for (const Json& part : rule)
        if (std::string fault = Fault(part, value, path); !fault.empty()) return fault;
      return "";
    }
    if (keyword == "if")
      return Fault(rule, value, path).empty() ? Fault(schema.at("then"), value, path) : "";
    if (keyword == "minimum") return fail_unless(!value.is_number() || value >= rule);
    if (keyword == "maximum") return fail_unless(!value.is_number() || value <= rule);
    if (keyword == "minLength")
      return fail_unless(!value.is_string() || value.get<std::string>().size() >= rule);
    if (keyword == "pattern") {
      return fail_unless(
          !value.is_string() ||
          std::regex_search(value.get<std::string>(), std::regex(rule.get<std::string>())));
    }
    if (keyword == "items") {
      for (size_t i = 0; value.is_array() && i < value.size(); ++i) {
        std::string fault = Fault(rule, value[i], path + "/" + std::to_string(i));
        if (!fault.empty()) return fault;
      }
      return "";
    }
    return OfObjects(keyword, rule, schema, value, path);
  }

  [[nodiscard]] std::string OfObjects(const std::string& keyword, const Json& rule,
                                      const Json& schema, const Json& value,
                                      const std::string& path) const {
    if (!value.is_object()) return "";
    if (keyword == "required") {
      for (const Json& key : rule)
        if (!value.contains(key.get<std::string>())) return path + ": lacks " + key.dump();
      return "";
    }
    for (const auto& [key, member] : value.items()) {
      std::string fault;
      const std::string below = path + "/" + key;
      if (keyword == "properties") {
        if (rule.contains(key)) fault = Fault(rule.at(key), member, below);
      } else if (keyword == "additionalProperties") {
        const bool is_known = schema.contains("properties") && schema["properties"].contains(key);
        if (!is_known) fault = Fault(rule, member, below);
      } else if (keyword == "propertyNames") {
        fault = Fault(rule, Json(key), below);
      } else {
        fault = path + ": unknown keyword " + keyword;
      }
      if (!fault.empty()) return fault;
    }
    return "";
  }

  static bool IsOfType(const std::string& type, const Json& value) {
    if (type == "object") return value.is_object();
    if (type == "array") return value.is_array();
    if (type == "string") return value.is_string();
    if (type == "boolean") return value.is_boolean();
    if (type == "integer") return value.is_number_integer();
    return type == "number" && value.is_number();
  }

  const Json& root_;
};

}  // namespace postern::conf
