// reader: one JSON object, read key by key against its rows in the table of keys.
//
// Unknown, missing, mistyped and out-of-range keys become errors here, keys without effect
// warnings; the target keeps its default then. In debug builds every row of the object must have
// been asked for when the reader dies, and each target's default must be the row's.
// Tests:    test/conf/values_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "conf/json.h"
#include "conf/keys.h"
#include "conf/problems.h"
#include "lb/base/address.h"
#include "lb/base/secret.h"

namespace postern::conf {

// What reading needs besides the text.
struct Sources {
  std::string folder;  // absolute; relative paths are taken from here
  [[nodiscard]] std::string Absolute(std::string_view path) const;
};

// Whether an object stands alone, or its keys are laid over values that came from elsewhere.
enum class Layer : uint8_t { kBase, kOverlay };

// A value and where it stands.
struct Value {
  const json::Node* node = nullptr;
  std::string path;
  bool is_inert = false;  // inside something that has no effect as a whole
};

class ObjectReader {
 public:
  ObjectReader(Problems& problems, const Sources& sources, const Value& value, ObjectKind kind,
               Layer layer = Layer::kBase);
  ~ObjectReader();
  ObjectReader(const ObjectReader&) = delete;
  ObjectReader& operator=(const ObjectReader&) = delete;

  [[nodiscard]] const std::string& path() const { return value_.path; }
  [[nodiscard]] std::string PathOf(std::string_view key) const {
    return json::Join(value_.path, key);
  }
  [[nodiscard]] bool Has(std::string_view key) const { return value_.node->Find(key) != nullptr; }

  // Each fills the target if the key is there and right, and says whether it did.
  bool Bool(std::string_view key, bool& target);
  bool Number(std::string_view key, double& target);
  bool Number(std::string_view key, std::optional<double>& target);
  bool Duration(std::string_view key, std::chrono::milliseconds& target);
  bool Duration(std::string_view key, std::optional<std::chrono::milliseconds>& target);
  bool Size(std::string_view key, uint64_t& target);
  bool Rate(std::string_view key, uint64_t& count, std::chrono::milliseconds& window);
  // Counts and ports.
  template <typename Unsigned>
  bool Count(std::string_view key, Unsigned& target) {
    uint64_t wide = target;
    if (!WideCount(key, wide, std::numeric_limits<Unsigned>::max())) return false;
    target = static_cast<Unsigned>(wide);
    return true;
  }
  bool Count(std::string_view key, std::optional<uint64_t>& target);
  // The enum's values stand in the order of the row's words, beginning with `first`.
  template <typename Enum>
  bool Word(std::string_view key, Enum& target, Enum first = static_cast<Enum>(0)) {
    size_t index = static_cast<size_t>(target) - static_cast<size_t>(first);
    if (!WordIndex(key, index)) return false;
    target = static_cast<Enum>(static_cast<size_t>(first) + index);
    return true;
  }
  // Every type of one text; paths become absolute.
  bool Text(std::string_view key, std::string& target);
  // Every type of several texts, one alone included where the type allows it.
  bool Texts(std::string_view key, std::vector<std::string>& target);
  bool Networks(std::string_view key, std::vector<base::Network>& target);
  bool SocketAddresses(std::string_view key, std::vector<base::SocketAddress>& target);
  bool IpAddresses(std::string_view key, std::vector<base::IpAddress>& target);
  bool Secret(std::string_view key, base::Secret& target);
  bool SecretMap(std::string_view key, std::map<std::string, base::Secret>& target);
  // In file order.
  bool StringMap(std::string_view key, std::vector<std::pair<std::string, std::string>>& target);

  // An object below; nothing if it is not there, or is no object.
  [[nodiscard]] std::optional<Value> Object(std::string_view key);
  [[nodiscard]] std::vector<Value> ObjectList(std::string_view key);
  struct Named {
    std::string name;
    Value value;
  };
  // Objects, or lists of them, by name; names that are not right are reported, and delivered.
  [[nodiscard]] std::vector<Named> ObjectMap(std::string_view key);
  // An object, or a word (then `word` is set).
  [[nodiscard]] std::optional<Value> ObjectOrWord(std::string_view key, std::string& word);

  // The value of the discriminator: from now on keys of other variants are errors, missing ones of
  // this one too.
  void SetVariant(std::string_view variant);

 private:
  bool WideCount(std::string_view key, uint64_t& target, uint64_t type_maximum);
  bool WordIndex(std::string_view key, size_t& index);
  const Key& Row(std::string_view key, std::initializer_list<Type> types);
  const json::Node* Find(const Key& row);
  // The string of a key, or null; anything else is an error.
  const std::string* StringOf(const Key& row);
  bool TakeText(const Key& row, const json::Node& node, const std::string& path,
                std::string& target);
  bool ReadSecret(const json::Node& node, const std::string& path, base::Secret& target);
  bool ReadSecretFile(const std::string& file, const std::string& path, base::Secret& target);
  bool TakeSecret(std::string_view text, const std::string& path, base::Secret& target);
  void WrongType(const Key& row, const json::Node& node, const std::string& path);
  bool InRange(const Key& row, double number, const std::string& shown);
  // One string or a list of strings, each given to `take`; false if anything is wrong.
  template <typename Take>
  bool ForEach(const Key& row, bool may_be_alone, Take take);
  [[nodiscard]] Value Below(const Key& row, const json::Node& node, std::string path) const;
  template <typename IsSame>
  void CheckDefault(const Key& row, IsSame is_same) const;
  void Missing(const Key& row);

  Problems& problems_;
  const Sources& sources_;
  Value value_;
  const ObjectInfo& info_;
  const Layer layer_;
  std::vector<bool> is_asked_;  // per row
};

}  // namespace postern::conf
