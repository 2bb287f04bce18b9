// json: JSON text to a tree in which every key and every value knows its line and column.
//
// Does not: know any key, give a value a meaning, throw.
// Rules:    RFC 8259, and comments (// and /* */). Duplicate keys, trailing commas and bytes that
//           are not UTF-8 are errors. Columns count characters, not bytes; a tab is one character.
// Limits:   kMaxDepth; otherwise memory is a constant times the text.
// Tests:    test/conf/json_test.cc, test/fuzz/conf_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postern::conf::json {

inline constexpr size_t kMaxDepth = 32;

// Where something stands in the text, counted from 1; 0: unknown.
struct Place {
  int line = 0;
  int column = 0;
  bool operator==(const Place&) const = default;
};

struct Member;

struct Node {
  enum class Kind : uint8_t { kNull, kBool, kNumber, kString, kArray, kObject };

  Kind kind = Kind::kNull;
  bool boolean = false;
  bool is_whole = false;     // a number without fraction and exponent that fits into the next field
  bool is_negative = false;  // of a number
  uint64_t whole = 0;        // only if is_whole and not is_negative
  double number = 0;         // every number
  Place place;
  std::string text;  // of a string
  std::vector<Node> items;
  std::vector<Member> members;  // in file order, keys unique

  // The member of that key, or null; null too for anything but an object.
  [[nodiscard]] const Node* Find(std::string_view key) const;
  [[nodiscard]] const Member* FindMember(std::string_view key) const;
};

struct Member {
  std::string key;
  Place key_place;
  Node value;
};

struct Fault {
  Place place;
  std::string path;  // JSON pointer of the value that is broken
  std::string message;
  std::string hint;
};

struct Parsed {
  std::optional<Node> root;   // nothing after a syntax error
  std::vector<Fault> faults;  // duplicate keys, and at most one syntax error, which is the last
};

[[nodiscard]] Parsed Parse(std::string_view text);

// "a string", "an object", ...
[[nodiscard]] std::string_view Name(Node::Kind kind);
// One step further in a JSON pointer (RFC 6901: ~ and / escaped).
[[nodiscard]] std::string Join(std::string_view path, std::string_view key);
[[nodiscard]] std::string Join(std::string_view path, size_t index);
// What a pointer names; null if there is no such thing.
[[nodiscard]] const Node* Lookup(const Node& root, std::string_view pointer);
[[nodiscard]] inline bool IsGiven(const Node& root, std::string_view pointer) {
  return Lookup(root, pointer) != nullptr;
}
// The place of what a pointer names; of the nearest thing around it if that is missing.
[[nodiscard]] Place PlaceOf(const Node& root, std::string_view pointer);

}  // namespace postern::conf::json
