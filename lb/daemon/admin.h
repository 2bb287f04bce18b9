// admin: the HTTP API of the running process: metrics, health of the process itself, status,
// backends and what an operator says of them, reload, who goes where.
//
// Pure: a request in, a response out; two pages' may come later. Reads are open on loopback and on
// the Unix socket; /metrics, /livez and /readyz everywhere; the rest off loopback, and every
// change, needs the bearer token, or the Unix socket.
// Thread:   control.
// Tests:    test/daemon/admin_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "conf/load.h"
#include "health/report.h"
#include "lb/balance/endpoint.h"
#include "lb/base/address.h"
#include "lb/base/clock.h"
#include "lb/daemon/event_list.h"
#include "lb/daemon/explain.h"

namespace postern::daemon {

enum class DryRun : uint8_t { kNo, kYes };

struct StatusReport {
  std::string version;
  uint64_t generation = 0;
  base::WallTime started{};
  struct Listener {
    std::string name;
    std::string protocol;
    std::vector<std::string> addresses;  // real ones
  };
  std::vector<Listener> listeners;
  uint64_t sessions = 0;
  std::vector<std::string> problems;
};

struct ReloadReport {
  bool is_accepted = false;
  uint64_t generation = 0;  // in force now
  std::vector<conf::Problem> errors;
  std::vector<conf::Problem> warnings;
};

// The configuration in force.
struct ConfigReport {
  std::string path;
  uint64_t generation = 0;
  base::WallTime loaded{};
  std::string shown;  // as conf::Shown has it
};

// What the API shows and does; the process implements it, tests fake it.
class AdminBackend {
 public:
  [[nodiscard]] virtual StatusReport Status() const = 0;
  [[nodiscard]] virtual ConfigReport Configuration() const = 0;
  [[nodiscard]] virtual std::string MetricsText() = 0;
  // Empty: ready.
  [[nodiscard]] virtual std::vector<std::string> NotReadyReasons() const = 0;
  // done: once, later, as long as the backend lives.
  using ReloadDone = std::function<void(const ReloadReport& report)>;
  virtual void Reload(DryRun dry_run, ReloadDone done) = 0;
  // Never null.
  [[nodiscard]] virtual std::shared_ptr<const health::HealthReport> Health() const = 0;
  [[nodiscard]] virtual const EventList& Events() const = 0;
  // Without a protocol: every endpoint of the backend. False: no such backend, or no such endpoint.
  [[nodiscard]] virtual bool SetAdmin(const std::string& backend,
                                      std::optional<conf::Protocol> protocol,
                                      balance::AdminState state) = 0;
  [[nodiscard]] virtual bool SetWeight(const std::string& backend, uint32_t weight) = 0;
  // done: once, at once or later, as long as the backend lives.
  virtual void Explain(const RouteQuestion& question, Explainer::Done done) = 0;
  // Empty: there is none, and changes are for the Unix socket alone.
  [[nodiscard]] virtual std::string token() const = 0;

 protected:
  ~AdminBackend() = default;
};

struct AdminRequest {
  std::string method;                                        // "GET"
  std::string path;                                          // decoded, without the query
  std::vector<std::string> segments{};                       // of the path, each decoded
  std::vector<std::pair<std::string, std::string>> query{};  // decoded
  std::string authorization{};                               // header, may be empty
  std::string body{};
  bool is_unix = false;
  base::IpAddress peer;  // meaningless on the Unix socket
};

struct AdminResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::string allow;  // header of a 405
};

enum class AdminPage : uint8_t {
  kMetrics,
  kLive,
  kReady,
  kStatus,
  kConfig,
  kReload,
  kBackends,
  kBackendState,
  kBackendWeight,
  kEvents,
  kRoute,
};

class Admin {
 public:
  using Done = std::function<void(const AdminResponse& response)>;
  explicit Admin(AdminBackend& backend) : backend_(backend) {}
  // done: once, mostly at once.
  void Handle(const AdminRequest& request, const Done& done);

 private:
  [[nodiscard]] AdminResponse Show(AdminPage page, const AdminRequest& request);
  // The two pages whose answers may have to wait, for a directory and for maps.
  void Explain(const AdminRequest& request, const Done& done);
  void Reload(const AdminRequest& request, const Done& done);
  [[nodiscard]] bool HasToken(const AdminRequest& request) const;
  [[nodiscard]] AdminResponse Ready();
  [[nodiscard]] AdminResponse Status();
  [[nodiscard]] AdminResponse Configuration();
  [[nodiscard]] AdminResponse Events();
  [[nodiscard]] AdminResponse ChangeState(const AdminRequest& request);
  [[nodiscard]] AdminResponse ChangeWeight(const AdminRequest& request);

  AdminBackend& backend_;
};

}  // namespace postern::daemon
