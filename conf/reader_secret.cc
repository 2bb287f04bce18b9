// reader_secret: secrets of the configuration: given as text, as a file, or as an environment
// variable. No error text holds a part of one.
// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>

#include "conf/reader.h"
#include "conf/values.h"
#include "lb/base/check.h"

namespace postern::conf {
namespace {

using json::Node;

constexpr size_t kMaxSecretBytes = 64 << 10;

}  // namespace

bool ObjectReader::TakeSecret(std::string_view text, const std::string& path,
                              base::Secret& target) {
  if (text.empty() || !IsOneLine(text)) {
    problems_.Error(path, text.empty() ? "the secret is empty"
                                       : "the secret has control characters or several lines");
    return false;
  }
  target = base::Secret(text);
  return true;
}

bool ObjectReader::ReadSecretFile(const std::string& file, const std::string& path,
                                  base::Secret& target) {
  // A pipe or a device could keep a reload waiting for ever.
  std::error_code error;
  if (std::filesystem::exists(file, error) && !std::filesystem::is_regular_file(file, error)) {
    problems_.Error(path, file + " is not a regular file");
    return false;
  }
  errno = 0;
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> stream(std::fopen(file.c_str(), "re"),
                                                               &std::fclose);
  std::string text(kMaxSecretBytes + 1, '\0');
  const size_t num_bytes =
      stream == nullptr ? 0 : std::fread(text.data(), 1, text.size(), stream.get());
  if (stream == nullptr || std::ferror(stream.get()) != 0) {
    problems_.Error(path, "cannot read " + file + ": " + std::strerror(errno));
    return false;
  }
  std::string_view secret(text.data(), num_bytes);
  bool is_good = false;
  if (num_bytes > kMaxSecretBytes) {
    problems_.Error(path, file + " is too large for a secret", "64KiB at most");
  } else {
    if (!secret.empty() && secret.back() == '\n') {
      secret.remove_suffix(1);
      if (!secret.empty() && secret.back() == '\r') secret.remove_suffix(1);
    }
    is_good = TakeSecret(secret, path, target);
  }
  base::WipeString(text);
  return is_good;
}

bool ObjectReader::ReadSecret(const Node& node, const std::string& path, base::Secret& target) {
  if (node.kind == Node::Kind::kString) return TakeSecret(node.text, path, target);
  const json::Member* only = node.members.size() == 1 ? &node.members.front() : nullptr;
  const bool is_file = only != nullptr && only->key == "file";
  if (only == nullptr || (!is_file && only->key != "env") ||
      only->value.kind != Node::Kind::kString || only->value.text.empty()) {
    problems_.Error(path, "this is not a secret",
                    "a string, {\"file\": \"...\"} or {\"env\": \"...\"}");
    return false;
  }
  const std::string& name = only->value.text;
  if (name.find('\0') != std::string::npos) {
    problems_.Error(path, "a NUL in the name");
    return false;
  }
  if (is_file) return ReadSecretFile(sources_.Absolute(name), path, target);
  const char* value = std::getenv(name.c_str());
  if (value == nullptr) {
    problems_.Error(path, "the environment has no variable " + Quoted(name));
    return false;
  }
  std::string_view secret(value);
  if (!secret.empty() && secret.back() == '\n') secret.remove_suffix(1);
  return TakeSecret(secret, path, target);
}

bool ObjectReader::Secret(std::string_view key, base::Secret& target) {
  const Key& row = Row(key, {Type::kSecret});
  const Node* node = Find(row);
  return node != nullptr && ReadSecret(*node, PathOf(key), target);
}

bool ObjectReader::SecretMap(std::string_view key, std::map<std::string, base::Secret>& target) {
  const Key& row = Row(key, {Type::kSecretMap});
  const Node* node = Find(row);
  if (node == nullptr) return false;
  if (node->kind != Node::Kind::kObject) {
    WrongType(row, *node, PathOf(key));
    return false;
  }
  bool is_good = true;
  for (const json::Member& member : node->members) {
    const std::string path = json::Join(PathOf(key), member.key);
    if (!IsName(member.key)) {
      problems_.Error(member.key_place, path, Quoted(member.key) + " is not a header's name");
      is_good = false;
    } else {
      is_good = ReadSecret(member.value, path, target[member.key]) && is_good;
    }
  }
  return is_good;
}

}  // namespace postern::conf
