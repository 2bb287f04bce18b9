// running: one HTTP call, and the JSON of its answer.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/running.h"

#include <cstdio>
#include <fstream>
#include <utility>

#include "lb/net/http_client.h"

namespace postern::daemon {
namespace {

using conf::json::Node;

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
    for (const conf::Problem& error : loaded.errors) PrintProblem("error", error);
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

}  // namespace

std::optional<Answer> AskRunning(const std::string& config_path, const Question& question) {
  std::optional<net::HttpCall> call = CallTo(config_path);
  if (!call) return std::nullopt;
  call->method = question.method;
  call->target = question.path;
  call->body = question.body;
  call->timeout = question.timeout;
  base::Result<net::HttpAnswer> answer = net::Fetch(*call);
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
  return Answer{std::move(*parsed.root), std::move(answer->body)};
}

void PrintProblem(const char* kind, const conf::Problem& problem) {
  std::fprintf(stderr, "%s: %s\n", kind, problem.ToString().c_str());
}

void PrintProblems(const char* kind, const std::vector<Node>& problems) {
  const auto number = [](const Node& problem, std::string_view key) {
    const Node* value = problem.Find(key);
    return value == nullptr ? 0 : static_cast<int>(value->whole);
  };
  for (const Node& problem : problems)
    PrintProblem(kind,
                 {TextOf(problem, "file"), number(problem, "line"), number(problem, "column"),
                  TextOf(problem, "path"), TextOf(problem, "message"), TextOf(problem, "hint")});
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

std::string NumberOf(const Node& object, std::string_view key) {
  const Node* value = object.Find(key);
  if (value == nullptr || value->kind != Node::Kind::kNumber) return "-";
  char text[32];
  std::snprintf(text, sizeof(text), "%.4g", value->number);
  return text;
}

}  // namespace postern::daemon
