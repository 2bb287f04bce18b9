// backends_json: what health knows as JSON.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/backends_json.h"

#include "lb/base/escape.h"
#include "lb/base/log.h"
#include "lb/daemon/json_object.h"

namespace postern::daemon {
namespace {

using base::AppendJsonString;

std::string CheckAsJson(const health::EndpointReport& endpoint) {
  if (!endpoint.last_check) return "null";
  const health::EndpointReport::Check& check = *endpoint.last_check;
  std::string out;
  JsonObject json(out);
  json.Bool("ok", check.is_ok);
  json.Text("phase", base::Name(check.phase));
  json.Text("why", check.why);
  json.Text("time", base::log::FormatTime(check.at));
  json.Number("seconds", base::Seconds(check.took));
  json.End();
  return out;
}

std::string EndpointAsJson(const health::EndpointReport& endpoint) {
  std::string factors;
  JsonObject its_factors(factors);
  its_factors.Number("latency", endpoint.factors.latency);
  its_factors.Number("queue", endpoint.factors.queue);
  its_factors.Number("slow_start", endpoint.factors.slow_start);
  its_factors.Number("agent", endpoint.factors.agent);
  its_factors.End();
  std::string capabilities = "[";
  for (const std::string& capability : endpoint.capabilities) {
    if (capabilities.size() > 1) capabilities += ',';
    AppendJsonString(capabilities, capability);
  }
  capabilities += ']';
  uint64_t sessions = 0;
  for (const auto& load : endpoint.state->load)
    sessions += load.active.load(std::memory_order_relaxed);
  const std::string reason = endpoint.Words();
  std::string out;
  JsonObject json(out);
  json.Text("protocol", conf::Name(endpoint.protocol));
  json.Text("address", endpoint.address);
  json.Text("state", health::Name(endpoint.health()));
  json.Text("admin_state", health::Name(endpoint.admin()));
  json.Number("weight", endpoint.weight());
  json.Number("configured_weight", endpoint.configured_weight);
  json.Raw("factors", factors);
  json.Text("reason", reason.empty() ? "as configured" : reason);
  json.Number("sessions", static_cast<double>(sessions));
  json.Raw("capabilities", capabilities);
  json.Raw("last_check", CheckAsJson(endpoint));
  if (endpoint.certificate_not_after) {
    json.Text("certificate_not_after", base::log::FormatTime(*endpoint.certificate_not_after));
  } else {
    json.Raw("certificate_not_after", "null");
  }
  json.End();
  return out;
}

}  // namespace

std::string BackendsAsJson(const health::HealthReport& report) {
  std::string out = "[";
  for (const health::BackendReport& backend : report.backends) {
    if (out.size() > 1) out += ',';
    std::string endpoints = "[";
    for (const health::EndpointReport& endpoint : backend.endpoints) {
      if (endpoints.size() > 1) endpoints += ',';
      endpoints += EndpointAsJson(endpoint);
    }
    endpoints += ']';
    const health::QueueReport none;
    const health::QueueReport& its = backend.queue ? *backend.queue : none;
    std::string queue;
    JsonObject its_queue(queue);
    its_queue.Number("depth", its.depth);
    its_queue.TextOrNull("source", its.source);
    its_queue.Number("age_seconds", its.age_seconds);
    its_queue.Number("time_to_hard_seconds", its.time_to_hard_seconds);
    its_queue.Text("why", its.why);
    its_queue.End();
    JsonObject json(out);
    json.Text("name", backend.name);
    json.Text("site", backend.site);
    json.Number("priority", backend.priority);
    json.Raw("endpoints", endpoints);
    json.Raw("queue", queue);
    json.End();
  }
  out += ']';
  return out;
}

}  // namespace postern::daemon
