// log: lines of the process's own log.
// SPDX-License-Identifier: Apache-2.0
#include "lb/base/log.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <ctime>

#include "lb/base/escape.h"

namespace postern::base::log {
namespace {

std::atomic<Level> current_level{Level::kInfo};
std::atomic<Format> current_format{Format::kJson};

constexpr std::array<std::string_view, 4> kLevels = {"error", "warn", "info", "debug"};

bool IsPlainWord(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text)
    if (c <= ' ' || c == '"' || c == '=' || c == '\\' || static_cast<unsigned char>(c) >= 0x7f)
      return false;
  return true;
}

void AppendField(std::string& line, Format format, std::string_view key, std::string_view value) {
  if (format == Format::kJson) {
    line += line.empty() ? "{" : ",";
    AppendJsonString(line, key);
    line += ':';
    AppendJsonString(line, value);
    return;
  }
  if (!line.empty()) line += ' ';
  line += key;
  line += '=';
  if (IsPlainWord(value)) {
    line += value;
  } else {
    AppendJsonString(line, value);
  }
}

}  // namespace

void Configure(Level level, Format format) {
  current_level.store(level, std::memory_order_relaxed);
  current_format.store(format, std::memory_order_relaxed);
}

bool Enabled(Level level) {
  return level <= current_level.load(std::memory_order_relaxed);
}

void Write(Level level, std::string_view event, Fields fields) {
  if (!Enabled(level)) return;
  std::string line = FormatLine(current_format.load(std::memory_order_relaxed),
                                SystemClock().WallNow(), level, event, fields);
  line += '\n';
  // One write, so that lines of several threads do not mix; a full or closed stderr loses the line,
  // not the process.
  [[maybe_unused]] const ssize_t ignored = write(STDERR_FILENO, line.data(), line.size());
}

std::string FormatLine(Format format, WallTime time, Level level, std::string_view event,
                       Fields fields) {
  std::string line;
  AppendField(line, format, "time", FormatTime(time));
  AppendField(line, format, "level", kLevels[static_cast<size_t>(level)]);
  AppendField(line, format, "event", event);
  for (const auto& [key, value] : fields) AppendField(line, format, key, value);
  if (format == Format::kJson) line += '}';
  return line;
}

std::string FormatTime(WallTime time) {
  const auto since_epoch = time.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since_epoch);
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch - seconds);
  const time_t unix_time = seconds.count();
  tm utc{};
  gmtime_r(&unix_time, &utc);
  char text[40];
  const size_t length = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
  char whole[64];
  std::snprintf(whole, sizeof(whole), "%.*s.%03dZ", static_cast<int>(length), text,
                static_cast<int>(millis.count()));
  return whole;
}

}  // namespace postern::base::log
