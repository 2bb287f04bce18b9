// commands: schema, version, explain, reload, and what operators say of backends.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/commands.h"

#include <cstdio>
#include <optional>
#include <utility>
#include <vector>

#include "conf/json.h"
#include "conf/load.h"
#include "lb/base/escape.h"
#include "lb/daemon/process.h"
#include "lb/daemon/running.h"
#include "lb/daemon/text_table.h"
#include "lb/net/http_client.h"
#include "lb/net/library_versions.h"
#include "lb/tls/tls_library.h"

namespace postern::daemon {
namespace {

using conf::json::Node;

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

// What a directory has said is a stranger's text.
std::string ShownOf(const Node& object, std::string_view key) {
  return base::Printable(TextOf(object, key));
}

void PrintExplanation(const Node& answer) {
  std::vector<TextRow> rules = {{"ROUTE", "RULE", "DECIDES", "WHY"}};
  for (const Node& rule : ItemsOf(answer, "rules")) {
    const Node* matched = rule.Find("matched");
    rules.push_back({TextOf(rule, "route"), TextOf(rule, "rule"),
                     matched != nullptr && matched->boolean ? "yes" : "no", ShownOf(rule, "why")});
  }
  std::fputs(TextTable(rules).c_str(), stdout);
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
  if (const Node* mixed = answer.Find("mixed"); mixed != nullptr) {
    const std::string relay = TextOf(*mixed, "relay");
    std::printf("with recipients who live elsewhere: %s\n",
                relay.empty() ? "they come in another transaction (452 4.5.3)"
                              : ("all of the transaction goes to pool " + relay).c_str());
  }
  if (const auto& candidates = ItemsOf(answer, "candidates"); !candidates.empty()) {
    std::vector<TextRow> rows = {{"BACKEND", "TIER", "WEIGHT", "STATE", "REASON"}};
    for (const Node& each : candidates)
      rows.push_back({TextOf(each, "backend"), TextOf(each, "tier"), NumberOf(each, "weight"),
                      TextOf(each, "state"), ShownOf(each, "reason")});
    std::fputs(TextTable(rows).c_str(), stdout);
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

int ExplainRoute(const std::string& config_path, const RouteWords& words, StatusForm form) {
  std::string path = "/api/v1/route?listener=" + net::PercentEncode(words.listener);
  for (const auto& [name, value] :
       {std::pair("user", &words.user), std::pair("recipient", &words.recipient),
        std::pair("client", &words.client), std::pair("sni", &words.sni)})
    if (!value->empty()) path += std::string("&") + name + "=" + net::PercentEncode(*value);
  const std::optional<Answer> answer = AskRunning(config_path, {"GET", path});
  if (!answer) return 1;
  if (form == StatusForm::kJson) {
    std::fputs(answer->body.c_str(), stdout);
  } else {
    PrintExplanation(answer->root);
  }
  return 0;
}

int SayOfBackend(const std::string& config_path, const std::string& action,
                 const std::string& backend) {
  const std::optional<Answer> answer =
      AskRunning(config_path, {"POST", "/api/v1/backends/" + PathOf(backend) + "/" + action});
  if (!answer) return 1;
  std::printf("%s: %s\n", backend.c_str(), TextOf(answer->root, "admin_state").c_str());
  return 0;
}

int SetWeight(const std::string& config_path, const std::string& backend, uint64_t weight) {
  const std::optional<Answer> answer =
      AskRunning(config_path, {"PUT", "/api/v1/backends/" + net::PercentEncode(backend) + "/weight",
                               "{\"weight\":" + std::to_string(weight) + "}"});
  if (!answer) return 1;
  std::printf("%s: weight %s\n", backend.c_str(), TextOf(answer->root, "weight").c_str());
  return 0;
}

int AskReload(const std::string& config_path) {
  const std::optional<Answer> answer = AskRunning(config_path, {"POST", "/api/v1/reload"});
  if (!answer) return 1;
  PrintProblems("warning", ItemsOf(answer->root, "warnings"));
  std::printf("reloaded: configuration %s is in force\n",
              TextOf(answer->root, "generation").c_str());
  return 0;
}

}  // namespace postern::daemon
