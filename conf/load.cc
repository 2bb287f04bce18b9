// load: text or file to a LoadResult.
// SPDX-License-Identifier: Apache-2.0
#include "conf/load.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>

#include "conf/build.h"
#include "conf/json.h"
#include "conf/problems.h"
#include "conf/shown.h"
#include "conf/validator.h"
#include "lb/base/secret.h"

namespace postern::conf {
namespace {

constexpr size_t kMaxFileBytes = 16u << 20;

std::string AbsolutePath(const std::string& path) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  return error ? path : absolute.lexically_normal().string();
}

void Report(const std::vector<json::Fault>& faults, const std::string& path, LoadResult& result) {
  for (const json::Fault& fault : faults) {
    result.errors.push_back(
        {path, fault.place.line, fault.place.column, fault.path, fault.message, fault.hint});
  }
}

}  // namespace

LoadResult LoadText(std::string_view text, const std::string& path, const FileChecks& checks) {
  LoadResult result;
  const json::Parsed parsed = json::Parse(text);
  Report(parsed.faults, path, result);
  if (!parsed.root) return result;
  if (parsed.root->kind != json::Node::Kind::kObject) {
    const json::Place place = parsed.root->place;
    result.errors.push_back(
        {path, place.line, place.column, "",
         "expected an object, found " + std::string(json::Name(parsed.root->kind)),
         "a configuration is one object: { ... }"});
    return result;
  }
  Problems problems(path, *parsed.root);
  const std::string absolute = AbsolutePath(path);
  const Sources sources{std::filesystem::path(absolute).parent_path().string()};
  Built built = Builder(problems, sources).Build(*parsed.root);
  built.config.path = absolute;
  Validator(built, checks, problems).Run();
  const bool is_admin_sound = problems.IsSound("/admin") && problems.IsSound("/admin/address") &&
                              problems.IsSound("/admin/socket");
  if (is_admin_sound) result.admin = built.config.admin;
  problems.MoveTo(result);
  if (!result.errors.empty()) return result;
  result.config = std::move(built.config);
  result.shown = Shown(*parsed.root);
  return result;
}

LoadResult LoadFile(const std::string& path, const FileChecks& checks) {
  LoadResult result;
  const auto fail = [&](std::string message) {
    result.errors.push_back({path, 0, 0, "", std::move(message), ""});
    return result;
  };
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return fail("this is a folder, not a file");
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "re"),
                                                             &std::fclose);
  if (file == nullptr) return fail(std::string("cannot be read: ") + std::strerror(errno));
  std::string text;
  std::string block(64 << 10, '\0');
  while (text.size() <= kMaxFileBytes) {
    const size_t num_bytes = std::fread(block.data(), 1, block.size(), file.get());
    if (num_bytes == 0) break;
    text.append(block, 0, num_bytes);
  }
  if (std::ferror(file.get()) != 0)
    return fail(std::string("cannot be read: ") + std::strerror(errno));
  if (text.size() > kMaxFileBytes) return fail("is larger than 16 MiB");
  result = LoadText(text, path, checks);
  base::WipeString(text);  // it may hold secrets
  base::WipeString(block);
  return result;
}

}  // namespace postern::conf
