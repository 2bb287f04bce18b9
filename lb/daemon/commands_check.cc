// commands_check: `postern check`, and what it can say besides.
// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <memory>
#include <utility>

#include "lb/daemon/check_diff.h"
#include "lb/daemon/check_online.h"
#include "lb/daemon/commands.h"
#include "lb/daemon/running.h"
#include "lb/daemon/snapshot.h"
#include "lb/daemon/system_checks.h"
#include "lb/tls/ticket_keys.h"

namespace postern::daemon {

int Check(const std::string& config_path, CheckMore more) {
  MapLoader maps(base::SystemClock());
  conf::LoadResult loaded = conf::LoadFile(config_path, SystemFileChecks(maps));
  for (const conf::Problem& warning : loaded.warnings) PrintProblem("warning", warning);
  for (const conf::Problem& error : loaded.errors) PrintProblem("error", error);
  if (!loaded.config) {
    std::fprintf(stderr, "%s: %zu error%s\n", config_path.c_str(), loaded.errors.size(),
                 loaded.errors.size() == 1 ? "" : "s");
    return 1;
  }
  const auto config = std::make_shared<const conf::Config>(std::move(*loaded.config));
  // What only building shows: certificates that do not load, CAs that cannot be read.
  balance::EndpointBook book(1);
  const auto built = BuildSnapshot(
      config, {1, book, std::make_shared<tls::TicketKeys>(), base::SystemClock(), maps});
  if (!built) {
    std::fprintf(stderr, "error: %s: %s\n", config_path.c_str(), built.error().c_str());
    return 1;
  }
  std::printf("%s: good (%zu listeners, %zu backends, %zu pools, %zu routes)\n",
              config_path.c_str(), config->listeners.size(), config->backends.size(),
              config->pools.size(), config->routes.size());
  switch (more) {
    case CheckMore::kNothing:
      return 0;
    case CheckMore::kDiff: {
      const auto running = AskRunning(config_path, {"GET", "/api/v1/config"});
      if (!running) return 1;
      const conf::json::Parsed shown = conf::json::Parse(loaded.shown);
      std::fputs(DiffText(running->root, *shown.root, *config).c_str(), stdout);
      return 0;
    }
    case CheckMore::kOnline:
      return CheckOnline(**built) ? 0 : 1;
  }
  return 1;
}

}  // namespace postern::daemon
