// admin: routes of the API, access, and the JSON of its answers.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/admin.h"

#include <algorithm>
#include <array>
#include <utility>

#include "conf/json.h"
#include "lb/base/bytes.h"
#include "lb/base/escape.h"
#include "lb/base/log.h"
#include "lb/base/secret.h"
#include "lb/daemon/backends_json.h"
#include "lb/daemon/json_object.h"

namespace postern::daemon {
namespace {

using base::AppendJsonString;

constexpr uint64_t kMaxWeight = 10'000;  // as in the configuration

AdminResponse Error(int status, std::string_view code, std::string_view message,
                    std::string_view path = "") {
  AdminResponse response;
  response.status = status;
  response.body = R"({"error":{"code":)";
  AppendJsonString(response.body, code);
  response.body += R"(,"message":)";
  AppendJsonString(response.body, message);
  response.body += R"(,"path":)";
  AppendJsonString(response.body, path);
  response.body += "}}\n";
  return response;
}

void AppendStrings(std::string& out, const std::vector<std::string>& strings) {
  out += '[';
  for (size_t i = 0; i < strings.size(); ++i) {
    if (i > 0) out += ',';
    AppendJsonString(out, strings[i]);
  }
  out += ']';
}

void AppendProblems(std::string& out, const std::vector<conf::Problem>& problems) {
  out += '[';
  for (size_t i = 0; i < problems.size(); ++i) {
    const conf::Problem& problem = problems[i];
    if (i > 0) out += ',';
    out += R"({"file":)";
    AppendJsonString(out, problem.file);
    out += R"(,"line":)" + std::to_string(problem.line);
    out += R"(,"column":)" + std::to_string(problem.column);
    out += R"(,"path":)";
    AppendJsonString(out, problem.path);
    out += R"(,"message":)";
    AppendJsonString(out, problem.message);
    out += R"(,"hint":)";
    AppendJsonString(out, problem.hint);
    out += '}';
  }
  out += ']';
}

AdminResponse Reloaded(const ReloadReport& report, DryRun dry_run) {
  AdminResponse response;
  std::string& out = response.body;
  if (!report.is_accepted) {
    response = Error(422, "configuration_rejected",
                     report.errors.empty() ? "rejected" : report.errors.front().ToString(),
                     report.errors.empty() ? "" : report.errors.front().path);
    out.resize(out.size() - 2);  // "}\n": more members follow
    out += R"(,"errors":)";
    AppendProblems(out, report.errors);
  } else {
    out = R"({"accepted":true,"dry_run":)";
    out += dry_run == DryRun::kYes ? "true" : "false";
  }
  out += R"(,"generation":)" + std::to_string(report.generation);
  out += R"(,"warnings":)";
  AppendProblems(out, report.warnings);
  out += "}\n";
  return response;
}

using Page = AdminPage;
// Who may ask for a path, and how.
enum class Access : uint8_t { kEverybody, kReader, kChanger };
struct PageRow {
  std::string_view path;
  std::string_view method;
  Access access;
  Page page;
};
constexpr std::array<PageRow, 9> kPages = {{
    {"/metrics", "GET", Access::kEverybody, Page::kMetrics},
    {"/livez", "GET", Access::kEverybody, Page::kLive},
    {"/readyz", "GET", Access::kEverybody, Page::kReady},
    {"/api/v1/status", "GET", Access::kReader, Page::kStatus},
    {"/api/v1/config", "GET", Access::kReader, Page::kConfig},
    {"/api/v1/reload", "POST", Access::kChanger, Page::kReload},
    {"/api/v1/backends", "GET", Access::kReader, Page::kBackends},
    {"/api/v1/events", "GET", Access::kReader, Page::kEvents},
    {"/api/v1/route", "GET", Access::kReader, Page::kRoute},
}};
constexpr PageRow kBackendState = {"", "POST", Access::kChanger, Page::kBackendState};
constexpr PageRow kBackendWeight = {"", "PUT", Access::kChanger, Page::kBackendWeight};

std::optional<balance::AdminState> StateOf(std::string_view action) {
  if (action == "drain") return balance::AdminState::kDrain;
  if (action == "resume") return balance::AdminState::kReady;
  if (action == "maintenance") return balance::AdminState::kMaintenance;
  return std::nullopt;
}

std::optional<conf::Protocol> FindProtocol(std::string_view name) {
  for (int i = 0; i < conf::kNumProtocols; ++i)
    if (conf::Name(static_cast<conf::Protocol>(i)) == name) return static_cast<conf::Protocol>(i);
  return std::nullopt;
}

const PageRow* FindPage(const AdminRequest& request) {
  for (const PageRow& row : kPages)
    if (row.path == request.path) return &row;
  // /api/v1/backends/NAME[/PROTOCOL]/ACTION; a name may hold a slash, so it is the segments that
  // count.
  const auto& words = request.segments;
  if ((words.size() != 5 && words.size() != 6) || words[0] != "api" || words[1] != "v1" ||
      words[2] != "backends")
    return nullptr;
  if (words.size() == 5 && words.back() == "weight") return &kBackendWeight;
  return StateOf(words.back()) ? &kBackendState : nullptr;
}

}  // namespace

bool Admin::HasToken(const AdminRequest& request) const {
  constexpr std::string_view kBearer = "Bearer ";
  const std::string token = backend_.token();
  if (token.empty() || !base::StartsWithIgnoreCase(request.authorization, kBearer)) return false;
  // Secret compares in constant time.
  return base::Secret(std::string_view(request.authorization).substr(kBearer.size())) ==
         base::Secret(token);
}

void Admin::Handle(const AdminRequest& request, const Done& done) {
  const PageRow* row = FindPage(request);
  if (row == nullptr) return done(Error(404, "not_found", "there is no such page", request.path));
  const bool is_trusted = request.is_unix || HasToken(request);
  const bool may_enter = row->access == Access::kEverybody || is_trusted ||
                         (row->access == Access::kReader && request.peer.is_loopback());
  if (!may_enter)
    return done(
        Error(401, "unauthorized",
              row->access == Access::kChanger
                  ? "a change needs the bearer token (admin.token_file) or the Unix socket"
                  : "reading from another machine needs the bearer token (admin.token_file)",
              request.path));
  if (request.method != row->method && !(request.method == "HEAD" && row->method == "GET")) {
    AdminResponse response =
        Error(405, "method_not_allowed", "use " + std::string(row->method), request.path);
    response.allow = row->method;
    return done(response);
  }
  if (row->page == Page::kRoute) return Explain(request, done);
  if (row->page == Page::kReload) return Reload(request, done);
  done(Show(row->page, request));
}

AdminResponse Admin::Show(AdminPage page, const AdminRequest& request) {
  switch (page) {
    case Page::kMetrics: {
      AdminResponse response;
      response.content_type = "text/plain; version=0.0.4; charset=utf-8";
      response.body = backend_.MetricsText();
      return response;
    }
    case Page::kLive: {
      AdminResponse response;
      response.body = "{\"alive\":true}\n";
      return response;
    }
    case Page::kReady:
      return Ready();
    case Page::kStatus:
      return Status();
    case Page::kConfig:
      return Configuration();
    case Page::kBackends: {
      AdminResponse response;
      response.body = "{\"backends\":" + BackendsAsJson(*backend_.Health()) + "}\n";
      return response;
    }
    case Page::kEvents:
      return Events();
    case Page::kBackendState:
      return ChangeState(request);
    case Page::kBackendWeight:
      return ChangeWeight(request);
    case Page::kReload:
    case Page::kRoute:
      break;
  }
  return Error(500, "internal", "no such page", request.path);
}

void Admin::Explain(const AdminRequest& request, const Done& done) {
  RouteQuestion question;
  std::string client;
  const std::array<std::pair<std::string_view, std::string*>, 5> parameters = {
      {{"listener", &question.listener},
       {"user", &question.user},
       {"recipient", &question.recipient},
       {"client", &client},
       {"sni", &question.sni}}};
  for (const auto& [name, value] : request.query) {
    const auto known =
        std::find_if(parameters.begin(), parameters.end(),
                     [&name = name](const auto& each) { return each.first == name; });
    if (known == parameters.end())
      return done(Error(400, "bad_query",
                        "the parameters are listener, user, recipient, client and sni",
                        request.path));
    *known->second = value;
  }
  if (question.listener.empty())
    return done(Error(400, "bad_query", "listener is missing", request.path));
  if (!client.empty()) {
    question.client = base::IpAddress::Parse(client);
    if (!question.client)
      return done(Error(400, "bad_query", "client is no IP address", request.path));
  }
  backend_.Explain(question, [done, path = request.path](const base::Result<Explanation>& made) {
    if (!made) return done(Error(400, "bad_query", made.error(), path));
    AdminResponse response;
    response.body = AsJson(*made) + "\n";
    done(response);
  });
}

AdminResponse Admin::Ready() {
  const std::vector<std::string> reasons = backend_.NotReadyReasons();
  AdminResponse response;
  response.status = reasons.empty() ? 200 : 503;
  response.body = R"({"reasons":)";
  AppendStrings(response.body, reasons);
  response.body += "}\n";
  return response;
}

AdminResponse Admin::Status() {
  const StatusReport report = backend_.Status();
  AdminResponse response;
  std::string& out = response.body;
  out = R"({"version":)";
  AppendJsonString(out, report.version);
  out += R"(,"generation":)" + std::to_string(report.generation);
  out += R"(,"started":)";
  AppendJsonString(out, base::log::FormatTime(report.started));
  out += R"(,"listeners":[)";
  for (size_t i = 0; i < report.listeners.size(); ++i) {
    if (i > 0) out += ',';
    out += R"({"name":)";
    AppendJsonString(out, report.listeners[i].name);
    out += R"(,"protocol":)";
    AppendJsonString(out, report.listeners[i].protocol);
    out += R"(,"addresses":)";
    AppendStrings(out, report.listeners[i].addresses);
    out += '}';
  }
  out += R"(],"sessions":)" + std::to_string(report.sessions);
  out += R"(,"problems":)";
  AppendStrings(out, report.problems);
  out += "}\n";
  return response;
}

// Its secrets are masked already.
AdminResponse Admin::Configuration() {
  const ConfigReport report = backend_.Configuration();
  AdminResponse response;
  JsonObject json(response.body);
  json.Text("path", report.path);
  json.Raw("generation", std::to_string(report.generation));
  json.Text("loaded", base::log::FormatTime(report.loaded));
  json.Raw("configuration", report.shown);
  json.End();
  response.body += "\n";
  return response;
}

AdminResponse Admin::Events() {
  AdminResponse response;
  std::string& out = response.body;
  out = R"({"events":[)";
  bool is_first = true;
  for (const EventRecord& event : backend_.Events().events()) {
    if (!std::exchange(is_first, false)) out += ',';
    out += R"({"time":)";
    AppendJsonString(out, base::log::FormatTime(event.time));
    out += R"(,"kind":)";
    AppendJsonString(out, event.kind);
    out += R"(,"object":)";
    AppendJsonString(out, event.object);
    out += R"(,"text":)";
    AppendJsonString(out, event.text);
    out += '}';
  }
  out += "]}\n";
  return response;
}

AdminResponse Admin::ChangeState(const AdminRequest& request) {
  const std::string& name = request.segments[3];
  const balance::AdminState state = *StateOf(request.segments.back());
  std::optional<conf::Protocol> protocol;
  if (request.segments.size() == 6) {
    protocol = FindProtocol(request.segments[4]);
    if (!protocol)
      return Error(404, "no_such_endpoint", request.segments[4] + " is no protocol", request.path);
  }
  if (!backend_.SetAdmin(name, protocol, state))
    return Error(404, protocol ? "no_such_endpoint" : "no_such_backend",
                 "no backend " + name +
                     (protocol ? " with an endpoint for " + request.segments[4] : "") +
                     " is configured",
                 request.path);
  AdminResponse response;
  std::string& out = response.body;
  out = R"({"backend":)";
  AppendJsonString(out, name);
  out += R"(,"protocol":)";
  if (protocol) {
    AppendJsonString(out, conf::Name(*protocol));
  } else {
    out += "null";
  }
  out += R"(,"admin_state":)";
  AppendJsonString(out, health::Name(state));
  out += "}\n";
  return response;
}

AdminResponse Admin::ChangeWeight(const AdminRequest& request) {
  const conf::json::Parsed parsed = conf::json::Parse(request.body);
  const conf::json::Node* weight = parsed.root ? parsed.root->Find("weight") : nullptr;
  if (!parsed.faults.empty() || weight == nullptr || parsed.root->members.size() != 1 ||
      !weight->is_whole || weight->is_negative || weight->whole > kMaxWeight)
    return Error(400, "bad_body",
                 "wanted: {\"weight\":N}, N a whole number from 0 to " + std::to_string(kMaxWeight),
                 request.path);
  const std::string& name = request.segments[3];
  if (!backend_.SetWeight(name, static_cast<uint32_t>(weight->whole)))
    return Error(404, "no_such_backend", "no backend " + name + " is configured", request.path);
  AdminResponse response;
  response.body = R"({"backend":)";
  AppendJsonString(response.body, name);
  response.body += R"(,"weight":)" + std::to_string(weight->whole) + "}\n";
  return response;
}

void Admin::Reload(const AdminRequest& request, const Done& done) {
  bool is_dry = false;
  for (const auto& [name, value] : request.query) {
    if (name != "dry_run" || (value != "0" && value != "1"))
      return done(Error(400, "bad_query", "the only parameter is dry_run=1", request.path));
    is_dry = value == "1";
  }
  const DryRun dry_run = is_dry ? DryRun::kYes : DryRun::kNo;
  backend_.Reload(dry_run,
                  [done, dry_run](const ReloadReport& report) { done(Reloaded(report, dry_run)); });
}

}  // namespace postern::daemon
