// keys: THE table of configuration keys: one row per key of every kind of object.
//
// It feeds the reader (types, ranges, required and unknown keys), suggestions, the JSON Schema and
// the reference. A key exists if and only if it has a row here; the reader checks in debug builds
// that it asks for every row of an object, and that the row's default is the one in config.h.
// Tests:    test/conf/keys_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace postern::conf {

// The kinds of objects. A kind can stand in several places (limits: of all, and of a listener).
enum class ObjectKind : uint8_t {
  kTop,
  kNode,
  kTls,
  kCertificate,
  kListener,
  kBackend,
  kEndpoint,
  kVerify,
  kQueue,
  kPool,
  kHealth,
  kLogin,
  kMail,
  kWeights,
  kDirectory,
  kCache,
  kRule,
  kMixed,
  kUsers,
  kRewrite,
  kLimits,
  kTimeouts,
  kSmtp,
  kLegs,
  kDrain,
  kMetrics,
  kProbe,
  kSend,
  kFind,
  kAdmin,
  kLog,
};

enum class Type : uint8_t {
  kString,         // one line of text
  kText,           // text that may have control characters
  kWord,           // one of the row's values
  kBool,           //
  kCount,          // a whole number
  kPort,           // 1 to 65535
  kNumber,         // with a fraction
  kDuration,       // "30s"
  kSize,           // "64KiB"
  kRate,           // "10/10m"
  kName,           // a name that this object gets
  kReference,      // the name of another object
  kReferences,     // one or a list of them
  kHostname,       // a DNS name
  kHost,           // a DNS name or an IP address
  kSocketAddress,  // one IP:port or a list
  kAddressList,    // one IP address or a list
  kNetworks,       // one network or a list
  kPath,           // of a file, relative to the configuration
  kPathOrWord,     // likewise, or one of the row's values
  kSecret,         // a string, {"file": PATH} or {"env": NAME}
  kReply,          // an SMTP reply
  kRegex,          // RE2
  kUrl,            // one
  kUrls,           // one or a list
  kPeer,           // host:port or unix:PATH
  kPeers,          // one or a list
  kPattern,        // '*' matches any run of characters
  kPatterns,       // one or a list
  kStrings,        // a list of lines of text
  kWords,          // a list of the row's values
  kStringMap,      // an object of strings
  kSecretMap,      // an object of secrets
  kObject,         // one object of the kind that the row's values name
  kObjectList,     // a list of them
  kObjectMap,      // an object whose keys are names
  kObjectListMap,  // an object whose keys are names, of lists of them
  kObjectOrWord,   // one of them, or the word: values are "kind word"
};

// When a reload makes a change felt.
enum class Reload : uint8_t { kAtOnce, kNewSessions, kRestart };

// The default of a key that must be given.
inline constexpr std::string_view kRequired = "!";

struct Key {
  std::string_view key;
  Type type;
  std::string_view values;    // words; or a range "low..high" in the type's own form; or a kind
  std::string_view fallback;  // the default as text; "" if unset; kRequired
  Reload reload;
  std::string_view help;
  // What few rows have; see below.
  std::string_view only = {};
  std::string_view note = {};

  // Only objects with one of these values of their discriminator have the key.
  [[nodiscard]] constexpr Key Only(std::string_view variants) const {
    Key row = *this;
    row.only = variants;
    return row;
  }
  // The default in words, where it is no value.
  [[nodiscard]] constexpr Key Note(std::string_view words) const {
    Key row = *this;
    row.note = words;
    return row;
  }

  [[nodiscard]] bool is_required() const { return fallback == kRequired; }
  // Whether an object with this discriminator has the key; every one of an object without any.
  [[nodiscard]] bool AppliesTo(std::string_view variant) const;
};

struct ObjectInfo {
  ObjectKind kind;
  std::string_view name;           // "listener"
  std::string_view places;         // pointer patterns, separated by spaces
  std::string_view discriminator;  // the key whose value decides which others there are
  std::span<const Key> keys;
  std::string_view help;

  [[nodiscard]] const Key* Find(std::string_view key) const;
  [[nodiscard]] std::vector<std::string_view> Names() const;
};

[[nodiscard]] const ObjectInfo& Info(ObjectKind kind);
[[nodiscard]] const ObjectInfo* FindKind(std::string_view name);
[[nodiscard]] std::span<const ObjectInfo> AllObjects();

// A key of the contract that this build does not act on, or not on some of its values. All of them
// stand in conf/not_yet.cc; `check`, the problems of the API and the reference name them.
struct NotYet {
  ObjectKind kind;
  std::string_view key;
  std::string_view values;     // words of the key; empty: whatever its value
  std::string_view meanwhile;  // what happens instead; may be empty

  [[nodiscard]] bool IsWhole() const { return values.empty(); }
  [[nodiscard]] bool Names(std::string_view value) const;
};
[[nodiscard]] std::span<const NotYet> AllNotYet();
[[nodiscard]] const NotYet* FindNotYet(ObjectKind kind, std::string_view key);

[[nodiscard]] std::string_view Name(Reload reload);
// "duration", "network or list of networks", ...: for the reference and for error texts.
[[nodiscard]] std::string_view Name(Type type);

}  // namespace postern::conf
