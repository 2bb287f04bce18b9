// load: a configuration file to a Config, or to all of its errors at once.
//
// Does not: open sockets, resolve names, keep anything. Certificates, keys and other files that the
// configuration names are looked at through FileChecks, so that conf/ needs no TLS library.
// Tests:    test/conf/
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "conf/config.h"
#include "conf/map_answers.h"

namespace postern::conf {

// One thing that is wrong, or that the operator should know. Line and column count from 1; 0 means
// unknown.
struct Problem {
  std::string file;
  int line = 0;
  int column = 0;
  std::string path;  // JSON pointer: "/pools/mx/backends/0"
  std::string message;
  std::string hint;  // may be empty

  // file:line:col: /path: message (hint)
  [[nodiscard]] std::string ToString() const;
};

// Questions that need a library or the system; each returns an error text, or nothing if all is
// well. One that is not set is not asked.
struct FileChecks {
  // Readable, matching, of a kind that can be used; what lb/tls says of it.
  std::function<std::optional<std::string>(const std::string& cert, const std::string& key)> pair;
  // Whether the certificate of a good pair is valid now. A process that starts takes one that is
  // not with a warning: a certificate that has expired overnight must not take all mail down.
  std::function<std::optional<std::string>(const std::string& cert)> validity;
  enum class Invalid : uint8_t { kError, kWarning };
  Invalid invalid = Invalid::kError;
  std::function<std::optional<std::string>(const std::string& path)> ca_file;
  // The map of a directory: what it answers, and all that is wrong with it. Without it the rows are
  // read and their keys not looked at.
  std::function<MapAnswers(const std::string& path, const Users& users)> map_file;
  std::function<std::optional<std::string>(const std::string& path)> ticket_keys;
  std::function<bool(const std::string& group)> knows_group;  // this build's TLS library
  // Whether an interface of this machine has the address: a backend there, on a port of a wildcard
  // listener, is a loop. Without it only loopback and the listeners' own addresses count.
  std::function<bool(const base::IpAddress& ip)> is_own_address;
};

struct LoadResult {
  std::optional<Config> config;  // nothing if there is any error
  // Where the running process is, even if something else is wrong; nothing if that is.
  std::optional<Admin> admin;
  // The file as it may be shown (conf/shown.h); empty if there is any error.
  std::string shown;
  std::vector<Problem> errors;
  std::vector<Problem> warnings;  // keys without effect in this build, risky settings
};

// Reads the file and everything it refers to ({"file"}, {"env"} secrets).
[[nodiscard]] LoadResult LoadFile(const std::string& path, const FileChecks& checks);
// The same for text that is already in memory; `path` is its name in errors and the base of
// relative paths.
[[nodiscard]] LoadResult LoadText(std::string_view text, const std::string& path,
                                  const FileChecks& checks);

// The JSON Schema (2020-12) of the configuration, made from the table of keys.
[[nodiscard]] std::string Schema();
// The reference (Markdown), made from the same table.
[[nodiscard]] std::string Reference();

}  // namespace postern::conf
