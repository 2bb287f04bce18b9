// commands_status: `postern status`, once and again.
// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <optional>

#include "lb/base/clock.h"
#include "lb/base/log.h"
#include "lb/daemon/commands.h"
#include "lb/daemon/running.h"
#include "lb/daemon/text_table.h"

namespace postern::daemon {
namespace {

using conf::json::Node;

struct StatusAnswers {
  Answer status, backends;
};

std::optional<StatusAnswers> AskStatus(const std::string& config_path, base::Duration timeout) {
  std::optional<Answer> status = AskRunning(config_path, {"GET", "/api/v1/status", "", timeout});
  if (!status) return std::nullopt;
  std::optional<Answer> backends =
      AskRunning(config_path, {"GET", "/api/v1/backends", "", timeout});
  if (!backends) return std::nullopt;
  return StatusAnswers{std::move(*status), std::move(*backends)};
}

std::string BackendsText(const std::vector<Node>& backends) {
  std::vector<TextRow> rows = {{"BACKEND", "PROTOCOL", "ADDRESS", "STATE", "ADMIN", "WEIGHT",
                                "SESSIONS", "QUEUE", "REASON"}};
  for (const Node& backend : backends)
    for (const Node& endpoint : ItemsOf(backend, "endpoints")) {
      const Node* queue = backend.Find("queue");
      rows.push_back(
          {TextOf(backend, "name"), TextOf(endpoint, "protocol"), TextOf(endpoint, "address"),
           TextOf(endpoint, "state"), TextOf(endpoint, "admin_state"),
           NumberOf(endpoint, "weight") + "/" + NumberOf(endpoint, "configured_weight"),
           NumberOf(endpoint, "sessions"), queue == nullptr ? "-" : NumberOf(*queue, "depth"),
           TextOf(endpoint, "reason")});
    }
  return TextTable(rows);
}

std::string StatusText(const StatusAnswers& answers) {
  const Node& status = answers.status.root;
  std::string text = "postern " + TextOf(status, "version") + ", started " +
                     TextOf(status, "started") + ", configuration " + TextOf(status, "generation") +
                     ", " + TextOf(status, "sessions") + " sessions\n";
  for (const Node& listener : ItemsOf(status, "listeners")) {
    std::string addresses;
    for (const Node& address : ItemsOf(listener, "addresses")) addresses += " " + address.text;
    text += "listener " + TextOf(listener, "name") + " (" + TextOf(listener, "protocol") + ")" +
            (addresses.empty() ? " is not open" : addresses) + "\n";
  }
  text += BackendsText(ItemsOf(answers.backends.root, "backends"));
  for (const Node& problem : ItemsOf(status, "problems")) text += "problem: " + problem.text + "\n";
  return text;
}

// Whether one of the blocked signals has come within the time.
bool WaitForSignal(const sigset_t& signals, std::chrono::milliseconds longest) {
  timespec time{};
  time.tv_sec = static_cast<time_t>(longest.count() / 1000);
  time.tv_nsec = static_cast<long>(longest.count() % 1000) * 1'000'000;
  return sigtimedwait(&signals, nullptr, &time) > 0;
}

}  // namespace

int ShowStatus(const std::string& config_path, StatusForm form) {
  const auto answers = AskStatus(config_path, std::chrono::seconds(30));
  if (!answers) return 1;
  if (form == StatusForm::kText) {
    std::fputs(StatusText(*answers).c_str(), stdout);
    return 0;
  }
  // Both answers as one object.
  const std::string& status = answers->status.body;
  std::fputs((status.substr(0, status.rfind('}')) + "," + answers->backends.body.substr(1)).c_str(),
             stdout);
  return 0;
}

int WatchStatus(const std::string& config_path, std::chrono::milliseconds interval) {
  // The process may hang: whoever watches wants to hear of it, and be able to leave.
  constexpr base::Duration kPatience = std::chrono::seconds(5);
  const bool is_terminal = isatty(STDOUT_FILENO) == 1;
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  (void)sigprocmask(SIG_BLOCK, &signals, nullptr);
  for (bool is_first = true;; is_first = false) {
    const auto answers = AskStatus(config_path, kPatience);
    if (!answers) return is_first ? 1 : 0;
    std::string block = is_terminal ? "\x1b[H\x1b[2J" : is_first ? "" : "\n";
    block += base::log::FormatTime(base::SystemClock().WallNow()) + "\n" + StatusText(*answers);
    std::fputs(block.c_str(), stdout);
    if (std::fflush(stdout) != 0) return 1;
    if (WaitForSignal(signals, interval)) return 0;
  }
}

}  // namespace postern::daemon
