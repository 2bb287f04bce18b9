// commands: what `postern` does besides running: check, schema, version, and talking to the running
// process.
//
// Each prints to stdout (errors to stderr) and returns the exit code: 0 good, 1 failed.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace postern::daemon {

[[nodiscard]] std::string VersionText();
[[nodiscard]] int PrintVersion();
[[nodiscard]] int PrintSchema();
enum class CheckMore : uint8_t {
  kNothing,
  kDiff,    // and what a reload of it would change in the running process
  kOnline,  // and whether everything that it names answers (check_online.h)
};
[[nodiscard]] int Check(const std::string& config_path, CheckMore more);
// These find the running process by the admin socket, or address, of the configuration, whatever
// else may be wrong with it.
enum class StatusForm : uint8_t { kText, kJson };
[[nodiscard]] int ShowStatus(const std::string& config_path, StatusForm form);
// The same again every interval, in place on a terminal and one block after the other elsewhere,
// until SIGINT or SIGTERM, or until the process has ended: good, too.
[[nodiscard]] int WatchStatus(const std::string& config_path, std::chrono::milliseconds interval);
// Where a user or recipient would go now, and why; words as typed, empty: not given.
struct RouteWords {
  std::string listener, user, recipient, client, sni;
};
[[nodiscard]] int ExplainRoute(const std::string& config_path, const RouteWords& words,
                               StatusForm form);
// Whose home would be another one with the configuration `against`, or with none where everybody's
// home is; asks the directories itself, not the running process. plan: a file of names, "-": stdin.
// Also 1: somebody's home cannot be known, or a line is no name.
[[nodiscard]] int PlanHomes(const std::string& config_path, const std::string& against,
                            const std::string& plan, const RouteWords& words, StatusForm form);
[[nodiscard]] int AskReload(const std::string& config_path);
// backend: BACKEND or BACKEND/PROTOCOL; action: drain, resume, maintenance.
[[nodiscard]] int SayOfBackend(const std::string& config_path, const std::string& action,
                               const std::string& backend);
[[nodiscard]] int SetWeight(const std::string& config_path, const std::string& backend,
                            uint64_t weight);

}  // namespace postern::daemon
