// process_admin: what the API shows and does of the running postern.
// SPDX-License-Identifier: Apache-2.0
#include <fstream>
#include <utility>

#include "lb/daemon/endpoint_gauges.h"
#include "lb/daemon/process.h"

namespace postern::daemon {
namespace {

net::HttpResponse InHttp(const AdminResponse& answer) {
  net::HttpResponse response;
  response.status = answer.status;
  response.content_type = answer.content_type;
  response.body = answer.body;
  if (!answer.allow.empty()) response.headers.emplace_back("Allow", answer.allow);
  if (answer.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

}  // namespace

base::Result<std::string> Process::ReadToken(const std::string& path) {
  std::string token;
  if (path.empty()) return token;
  std::ifstream file(path);
  if (!std::getline(file, token) || token.empty())
    return base::Error{"admin.token_file: " + path + " cannot be read, or has an empty first line"};
  return token;
}

std::string Process::OpenAdmin(const conf::Config& config) {
  admin_ = std::make_unique<Admin>(*this);
  auto token = ReadToken(config.admin.token_file);
  if (!token) return token.error();
  token_ = std::move(token).value();
  admin_addresses_ = config.admin.addresses;
  admin_socket_ = config.admin.socket;
  http_ = std::make_unique<net::HttpServer>(
      loop_, [this](const net::HttpRequest& request, const net::HttpReply& reply) {
        AdminRequest asked;
        asked.method = request.method;
        asked.path = request.path;
        asked.segments = request.segments;
        asked.body = request.body;
        asked.query = request.query;
        asked.authorization = request.Header("authorization");
        asked.is_unix = request.is_unix;
        asked.peer = request.peer.ip;
        admin_->Handle(asked, [reply](const AdminResponse& answer) { reply.Send(InHttp(answer)); });
      });
  for (const base::SocketAddress& address : config.admin.addresses)
    if (const auto bound = http_->Listen(address); !bound) return "admin.address: " + bound.error();
  if (!config.admin.socket.empty())
    if (const auto bound = http_->ListenUnix(config.admin.socket); !bound)
      return "admin.socket: " + bound.error();
  return "";
}

StatusReport Process::Status() const {
  StatusReport report;
  report.version = POSTERN_VERSION;
  report.generation = generation_;
  report.started = started_;
  report.sessions = shared_.sessions.load(std::memory_order_relaxed);
  if (snapshot_ == nullptr) return report;
  for (const conf::Listener& listener : snapshot_->config->listeners) {
    StatusReport::Listener shown;
    shown.name = listener.name;
    shown.protocol = conf::Name(listener.protocol);
    for (size_t place = 0; place < listener.addresses.size(); ++place)
      if (const auto it =
              bindings_.find(BindingKey(listener.name, place, listener.addresses[place]));
          it != bindings_.end())
        shown.addresses.push_back(it->second.address.ToString());
    report.listeners.push_back(std::move(shown));
  }
  report.problems = snapshot_->problems;
  const auto health = Health();  // held while it is read: the next report replaces it at any time
  for (const std::string& problem : health->problems) report.problems.push_back(problem);
  return report;
}

ConfigReport Process::Configuration() const {
  if (snapshot_ == nullptr) return {config_path_, 0, {}, "{}"};
  return {snapshot_->config->path, generation_, snapshot_->loaded, snapshot_->shown};
}

std::shared_ptr<const health::HealthReport> Process::Health() const {
  return monitor_->Report();
}

bool Process::SetAdmin(const std::string& backend, std::optional<conf::Protocol> protocol,
                       balance::AdminState state) {
  bool is_found = false;
  for (const balance::Endpoint& endpoint : snapshot_->endpoints->endpoints()) {
    if (endpoint.backend->name != backend) continue;
    if (protocol && endpoint.conf->protocol != *protocol) continue;
    monitor_->SetAdmin(*endpoint.state, state);
    is_found = true;
  }
  return is_found;
}

bool Process::SetWeight(const std::string& backend, uint32_t weight) {
  bool is_found = false;
  for (const balance::Endpoint& endpoint : snapshot_->endpoints->endpoints()) {
    if (endpoint.backend->name != backend) continue;
    monitor_->SetWeight(*endpoint.state, weight);
    is_found = true;
  }
  return is_found;
}

std::string Process::MetricsText() {
  if (snapshot_ != nullptr) ShowEndpoints(*snapshot_->endpoints, registry_);
  registry_.SetSessionLogDropped(session_log_.num_dropped());
  return registry_.Text();
}

std::vector<std::string> Process::NotReadyReasons() const {
  std::vector<std::string> reasons;
  if (snapshot_ == nullptr) reasons.push_back("starting");
  if (is_draining_) reasons.push_back("draining");
  return reasons;
}

void Process::Explain(const RouteQuestion& question, Explainer::Done done) {
  explainer_.Explain(question, std::move(done));
}

}  // namespace postern::daemon
