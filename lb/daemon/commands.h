// commands: what `postern` does besides running: check, schema, version, and talking to the running
// process.
//
// Each prints to stdout (errors to stderr) and returns the exit code: 0 good, 1 failed.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace postern::daemon {

[[nodiscard]] std::string VersionText();
[[nodiscard]] int PrintVersion();
[[nodiscard]] int PrintSchema();
[[nodiscard]] int Check(const std::string& config_path);
// These find the running process by the admin socket, or address, of the configuration, whatever
// else may be wrong with it.
enum class StatusForm : uint8_t { kText, kJson };
[[nodiscard]] int ShowStatus(const std::string& config_path, StatusForm form);
// Where a user or recipient would go now, and why; words as typed, empty: not given.
struct RouteWords {
  std::string listener, user, recipient, client, sni;
};
[[nodiscard]] int ExplainRoute(const std::string& config_path, const RouteWords& words,
                               StatusForm form);
[[nodiscard]] int AskReload(const std::string& config_path);
// backend: BACKEND or BACKEND/PROTOCOL; action: drain, resume, maintenance.
[[nodiscard]] int SayOfBackend(const std::string& config_path, const std::string& action,
                               const std::string& backend);
[[nodiscard]] int SetWeight(const std::string& config_path, const std::string& backend,
                            uint64_t weight);

}  // namespace postern::daemon
