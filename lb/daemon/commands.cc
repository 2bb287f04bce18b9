// commands: check, schema, version, status, explain, reload.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/commands.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <optional>
#include <utility>
#include <vector>

#include "conf/json.h"
#include "conf/load.h"
#include "lb/base/escape.h"
#include "lb/daemon/process.h"
#include "lb/daemon/system_checks.h"
#include "lb/net/http_client.h"
#include "lb/net/library_versions.h"
#include "lb/tls/tls_library.h"

namespace postern::daemon {
namespace {

using conf::json::Node;

void Print(const char* kind, const conf::Problem& problem) {
  std::fprintf(stderr, "%s: %s\n", kind, problem.ToString().c_str());
}

std::string TextOf(const Node& object, std::string_view key) {
  const Node* value = object.Find(key);
  if (value == nullptr) return "";
  return value->kind == Node::Kind::kNumber ? std::to_string(value->whole) : value->text;
}

const std::vector<Node>& ItemsOf(const Node& object, std::string_view key) {
  static const std::vector<Node> kNone;
  const Node* value = object.Find(key);
  return value == nullptr ? kNone : value->items;
}

// The problems of an answer, as `check` prints them.
void PrintProblems(const char* kind, const std::vector<Node>& problems) {
  const auto number = [](const Node& problem, std::string_view key) {
    const Node* value = problem.Find(key);
    return value == nullptr ? 0 : static_cast<int>(value->whole);
  };
  for (const Node& problem : problems)
    Print(kind, {TextOf(problem, "file"), number(problem, "line"), number(problem, "column"),
                 TextOf(problem, "path"), TextOf(problem, "message"), TextOf(problem, "hint")});
}

void PrintRefusal(const Node& answer) {
  if (const auto& errors = ItemsOf(answer, "errors"); !errors.empty())
    return PrintProblems("error", errors);
  const Node* error = answer.Find("error");
  std::fprintf(
      stderr, "error: %s\n",
      error == nullptr ? "the answer is not understood" : TextOf(*error, "message").c_str());
}

// Where the running process is asked; nothing (and it has been said why) if that is not known.
std::optional<net::HttpCall> CallTo(const std::string& config_path) {
  // The rest of the file may be broken: it is the running process that is asked.
  const conf::LoadResult loaded = conf::LoadFile(config_path, {});
  if (!loaded.admin) {
    for (const conf::Problem& error : loaded.errors) Print("error", error);
    return std::nullopt;
  }
  const conf::Admin& admin = *loaded.admin;
  net::HttpCall call;
  call.unix_path = admin.socket;
  if (!admin.socket.empty()) return call;
  if (admin.addresses.empty() || admin.addresses.front().port == 0) {
    std::fprintf(stderr,
                 "error: %s names neither admin.socket nor an admin.address with a port: the "
                 "running process cannot be found\n",
                 config_path.c_str());
    return std::nullopt;
  }
  call.address = admin.addresses.front();
  if (call.address.ip.is_unspecified())
    call.address.ip = *base::IpAddress::Parse(call.address.ip.is_v4() ? "127.0.0.1" : "::1");
  if (admin.token_file.empty()) return call;
  std::string token;
  std::ifstream file(admin.token_file);
  if (!std::getline(file, token)) {
    // Reads on loopback need none.
    std::fprintf(stderr, "warning: admin.token_file %s cannot be read: asking without the token\n",
                 admin.token_file.c_str());
    return call;
  }
  call.headers.emplace_back("Authorization", "Bearer " + token);
  return call;
}

// The body of a good answer, in `body` and as a tree; nothing, and it has been said why, otherwise.
std::optional<Node> Ask(const std::string& config_path, const std::string& method,
                        const std::string& path, std::string& body,
                        const std::string& question = "") {
  std::optional<net::HttpCall> call = CallTo(config_path);
  if (!call) return std::nullopt;
  call->method = method;
  call->target = path;
  call->body = question;
  const base::Result<net::HttpAnswer> answer = net::Fetch(*call);
  if (!answer) {
    std::fprintf(stderr, "error: cannot ask the running postern: %s (is it running, with %s?)\n",
                 answer.error().c_str(), config_path.c_str());
    return std::nullopt;
  }
  conf::json::Parsed parsed = conf::json::Parse(answer->body);
  if (!parsed.root) {
    std::fprintf(stderr, "error: what answers is no postern (HTTP status %d)\n", answer->status);
    return std::nullopt;
  }
  if (answer->status / 100 != 2) {
    PrintRefusal(*parsed.root);
    return std::nullopt;
  }
  body = answer->body;
  return std::move(parsed.root);
}

// BACKEND or BACKEND/PROTOCOL; what stands behind the last slash is a protocol only if it reads
// like one.
std::string PathOf(const std::string& backend) {
  const size_t slash = backend.rfind('/');
  if (slash == std::string::npos) return net::PercentEncode(backend);
  const std::string last = backend.substr(slash + 1);
  for (int i = 0; i < conf::kNumProtocols; ++i)
    if (conf::Name(static_cast<conf::Protocol>(i)) == last)
      return net::PercentEncode(backend.substr(0, slash)) + "/" + last;
  return net::PercentEncode(backend);
}

std::string NumberOf(const Node& object, std::string_view key) {
  const Node* value = object.Find(key);
  if (value == nullptr || value->kind != Node::Kind::kNumber) return "-";
  char text[32];
  std::snprintf(text, sizeof(text), "%.4g", value->number);
  return text;
}

using Row = std::vector<std::string>;

// A table whose columns are as wide as they must be; the last one, the reason, as long as it is.
void PrintTable(const std::vector<Row>& rows) {
  std::vector<size_t> widths(rows.front().size(), 0);
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i + 1 < row.size(); ++i)
      line += row[i] + std::string(widths[i] - row[i].size() + 2, ' ');
    std::printf("%s%s\n", line.c_str(), row.back().c_str());
  }
}

void PrintBackends(const std::vector<Node>& backends) {
  std::vector<Row> rows = {{"BACKEND", "PROTOCOL", "ADDRESS", "STATE", "ADMIN", "WEIGHT",
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
  PrintTable(rows);
}

// What a directory has said is a stranger's text.
std::string ShownOf(const Node& object, std::string_view key) {
  return base::Printable(TextOf(object, key));
}

void PrintExplanation(const Node& answer) {
  std::vector<Row> rules = {{"ROUTE", "RULE", "DECIDES", "WHY"}};
  for (const Node& rule : ItemsOf(answer, "rules")) {
    const Node* matched = rule.Find("matched");
    rules.push_back({TextOf(rule, "route"), TextOf(rule, "rule"),
                     matched != nullptr && matched->boolean ? "yes" : "no", ShownOf(rule, "why")});
  }
  PrintTable(rules);
  if (const Node* directory = answer.Find("directory");
      directory != nullptr && directory->kind == Node::Kind::kObject) {
    const std::string said = ShownOf(*directory, "answer");
    const std::string why = ShownOf(*directory, "why");
    const Node* stale = directory->Find("stale");
    std::string line =
        "directory " + TextOf(*directory, "name") + ": " + (said.empty() ? "no answer" : said);
    if (const Node* age = directory->Find("age_seconds");
        age != nullptr && age->kind == Node::Kind::kNumber)
      line += ", " + std::to_string(static_cast<uint64_t>(age->number)) + " s old";
    if (stale != nullptr && stale->boolean) line += ", past its time";
    if (!why.empty()) line += " (" + why + ")";
    std::printf("%s\n", line.c_str());
  }
  if (const std::string pool = TextOf(answer, "pool"); !pool.empty())
    std::printf("pool %s\n", pool.c_str());
  if (const auto& candidates = ItemsOf(answer, "candidates"); !candidates.empty()) {
    std::vector<Row> rows = {{"BACKEND", "TIER", "WEIGHT", "STATE", "REASON"}};
    for (const Node& each : candidates)
      rows.push_back({TextOf(each, "backend"), TextOf(each, "tier"), NumberOf(each, "weight"),
                      TextOf(each, "state"), ShownOf(each, "reason")});
    PrintTable(rows);
  }
  const std::string choice = TextOf(answer, "choice");
  std::printf("%s\n", choice.empty() ? ("no choice: " + ShownOf(answer, "answer")).c_str()
                                     : ("choice: " + choice).c_str());
}

}  // namespace

std::string VersionText() {
  return std::string("postern ") + POSTERN_VERSION + " (" + Revision() + ")\n" +
         tls::LibraryName() + (tls::HasMlkem() ? "" : ", without X25519MLKEM768") + "\n" +
         net::LibraryVersions() + "compiled by " + __VERSION__ + "\n";
}

int PrintVersion() {
  std::fputs(VersionText().c_str(), stdout);
  if (!tls::IsLibraryCurrent())
    std::fputs(
        "note: this TLS library is good for building and testing; a release wants a current "
        "BoringSSL (-DBORINGSSL_ROOT=...)\n",
        stdout);
  return 0;
}

int PrintSchema() {
  std::fputs(conf::Schema().c_str(), stdout);
  return 0;
}

int Check(const std::string& config_path) {
  const conf::LoadResult loaded = conf::LoadFile(config_path, SystemFileChecks());
  for (const conf::Problem& warning : loaded.warnings) Print("warning", warning);
  for (const conf::Problem& error : loaded.errors) Print("error", error);
  if (!loaded.config) {
    std::fprintf(stderr, "%s: %zu error%s\n", config_path.c_str(), loaded.errors.size(),
                 loaded.errors.size() == 1 ? "" : "s");
    return 1;
  }
  // What only building shows: certificates that do not load, CAs that cannot be read.
  balance::EndpointBook book(1);
  const auto built =
      BuildSnapshot(std::make_shared<const conf::Config>(*loaded.config),
                    {1, book, std::make_shared<tls::TicketKeys>(), base::SystemClock()});
  if (!built) {
    std::fprintf(stderr, "error: %s: %s\n", config_path.c_str(), built.error().c_str());
    return 1;
  }
  std::printf("%s: good (%zu listeners, %zu backends, %zu pools, %zu routes)\n",
              config_path.c_str(), loaded.config->listeners.size(), loaded.config->backends.size(),
              loaded.config->pools.size(), loaded.config->routes.size());
  return 0;
}

int ShowStatus(const std::string& config_path, StatusForm form) {
  std::string body, backends_body;
  const std::optional<Node> status = Ask(config_path, "GET", "/api/v1/status", body);
  if (!status) return 1;
  const std::optional<Node> backends = Ask(config_path, "GET", "/api/v1/backends", backends_body);
  if (!backends) return 1;
  if (form == StatusForm::kJson) {
    // Both answers as one object.
    const std::string both = body.substr(0, body.rfind('}')) + "," + backends_body.substr(1);
    std::fputs(both.c_str(), stdout);
    return 0;
  }
  std::printf("postern %s, started %s, configuration %s, %s sessions\n",
              TextOf(*status, "version").c_str(), TextOf(*status, "started").c_str(),
              TextOf(*status, "generation").c_str(), TextOf(*status, "sessions").c_str());
  for (const Node& listener : ItemsOf(*status, "listeners")) {
    std::string addresses;
    for (const Node& address : ItemsOf(listener, "addresses")) addresses += " " + address.text;
    std::printf("listener %s (%s)%s\n", TextOf(listener, "name").c_str(),
                TextOf(listener, "protocol").c_str(),
                addresses.empty() ? " is not open" : addresses.c_str());
  }
  PrintBackends(ItemsOf(*backends, "backends"));
  for (const Node& problem : ItemsOf(*status, "problems"))
    std::printf("problem: %s\n", problem.text.c_str());
  return 0;
}

int ExplainRoute(const std::string& config_path, const RouteWords& words, StatusForm form) {
  std::string path = "/api/v1/route?listener=" + net::PercentEncode(words.listener);
  for (const auto& [name, value] :
       {std::pair("user", &words.user), std::pair("recipient", &words.recipient),
        std::pair("client", &words.client), std::pair("sni", &words.sni)})
    if (!value->empty()) path += std::string("&") + name + "=" + net::PercentEncode(*value);
  std::string body;
  const std::optional<Node> answer = Ask(config_path, "GET", path, body);
  if (!answer) return 1;
  if (form == StatusForm::kJson) {
    std::fputs(body.c_str(), stdout);
  } else {
    PrintExplanation(*answer);
  }
  return 0;
}

int SayOfBackend(const std::string& config_path, const std::string& action,
                 const std::string& backend) {
  std::string body;
  const std::optional<Node> answer =
      Ask(config_path, "POST", "/api/v1/backends/" + PathOf(backend) + "/" + action, body);
  if (!answer) return 1;
  std::printf("%s: %s\n", backend.c_str(), TextOf(*answer, "admin_state").c_str());
  return 0;
}

int SetWeight(const std::string& config_path, const std::string& backend, uint64_t weight) {
  std::string body;
  const std::optional<Node> answer =
      Ask(config_path, "PUT", "/api/v1/backends/" + net::PercentEncode(backend) + "/weight", body,
          "{\"weight\":" + std::to_string(weight) + "}");
  if (!answer) return 1;
  std::printf("%s: weight %s\n", backend.c_str(), TextOf(*answer, "weight").c_str());
  return 0;
}

int AskReload(const std::string& config_path) {
  std::string body;
  const std::optional<Node> answer = Ask(config_path, "POST", "/api/v1/reload", body);
  if (!answer) return 1;
  PrintProblems("warning", ItemsOf(*answer, "warnings"));
  std::printf("reloaded: configuration %s is in force\n", TextOf(*answer, "generation").c_str());
  return 0;
}

}  // namespace postern::daemon
