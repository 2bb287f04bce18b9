// log: the process's own log: one line an event, structured, written whole.
//
// log::Info("reload", {{"generation", "3"}}) gives, as JSON or logfmt, time, level, event and the
// fields, every value escaped. One write(2) a line to stderr (or the file given), so that lines of
// several threads never mix. Thread-safe. Sessions have their own log (metrics/session_log). Tests:
// test/base/log_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "lb/base/clock.h"

namespace postern::base::log {

enum class Level : uint8_t { kError, kWarn, kInfo, kDebug };
enum class Format : uint8_t { kJson, kLogfmt };

using Field = std::pair<std::string_view, std::string>;
using Fields = std::initializer_list<Field>;

// Process-wide; changed by a reload. Starts as kInfo, kJson, stderr.
void Configure(Level level, Format format);
[[nodiscard]] bool Enabled(Level level);
void Write(Level level, std::string_view event, Fields fields);
inline void Error(std::string_view event, Fields fields) {
  Write(Level::kError, event, fields);
}
inline void Warn(std::string_view event, Fields fields) {
  Write(Level::kWarn, event, fields);
}
inline void Info(std::string_view event, Fields fields) {
  Write(Level::kInfo, event, fields);
}
inline void Debug(std::string_view event, Fields fields) {
  Write(Level::kDebug, event, fields);
}

// One line without its newline, as Write would write it: for the session log and for tests.
[[nodiscard]] std::string FormatLine(Format format, WallTime time, Level level,
                                     std::string_view event, Fields fields);
// "2026-11-24T10:05:03.123Z" (RFC 3339, UTC, milliseconds).
[[nodiscard]] std::string FormatTime(WallTime time);

}  // namespace postern::base::log
