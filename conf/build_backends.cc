// build_backends: backends, pools, and how their health is judged.
// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "conf/build.h"
#include "conf/values.h"

namespace postern::conf {

void Builder::ReadBackend(const ObjectReader::Named& named) {
  Backend& backend = built_.config.backends.emplace_back();
  backend.name = named.name;
  ObjectReader reader(problems_, sources_, named.value, ObjectKind::kBackend);
  reader.Text("host", backend.host);
  reader.Text("site", backend.site);
  reader.Count("priority", backend.priority);
  reader.Count("weight", backend.weight);
  reader.Count("max_sessions", backend.max_sessions);
  reader.IpAddresses("source_addresses", backend.source_addresses);
  std::string off;
  if (const auto verify = reader.ObjectOrWord("verify", off)) ReadVerify(*verify, backend.verify);
  backend.verify.off = !off.empty();
  if (const auto queue = reader.Object("queue")) ReadQueue(*queue, backend.queue.emplace());
  bool has_endpoint = false;
  for (int i = 0; i < kNumProtocols; ++i) {
    const auto protocol = static_cast<Protocol>(i);
    has_endpoint = has_endpoint || reader.Has(Name(protocol));
    if (const auto endpoint = reader.Object(Name(protocol)))
      ReadEndpoint(*endpoint, protocol, backend);
  }
  if (!has_endpoint) {
    problems_.Error(named.value.path, "the backend has no endpoint",
                    "for example \"imap\": {\"port\": 993, \"tls\": \"implicit\"}");
  }
}

void Builder::ReadEndpoint(const Value& value, Protocol protocol, Backend& backend) {
  ObjectReader reader(problems_, sources_, value, ObjectKind::kEndpoint);
  Endpoint& endpoint = backend.endpoints.emplace_back();
  endpoint.protocol = protocol;
  reader.Count("port", endpoint.port);
  reader.Word("tls", endpoint.tls);
  reader.Word("client_address", endpoint.client_address);
  reader.Word("reauth", endpoint.reauth);
  if (!reader.Has("tls") && protocol != Protocol::kTcp) {
    problems_.MarkBroken(reader.PathOf("tls"));
    problems_.Error(value.node->place, value.path, "\"tls\" is missing",
                    "one of none, starttls, implicit");
  }
}

void Builder::ReadVerify(const Value& value, Verify& verify) {
  ObjectReader reader(problems_, sources_, value, ObjectKind::kVerify);
  reader.Text("name", verify.name);
  reader.Text("ca", verify.ca);
  reader.Text("cert", verify.cert);
  reader.Text("key", verify.key);
}

void Builder::ReadQueue(const Value& value, QueueSource& queue) {
  ObjectReader reader(problems_, sources_, value, ObjectKind::kQueue);
  if (reader.Word("source", queue.kind)) reader.SetVariant(value.node->Find("source")->text);
  reader.Number("soft", queue.soft);
  reader.Number("hard", queue.hard);
  reader.Duration("interval", queue.interval);
  reader.Duration("stale_after", queue.stale_after);
  reader.Text("url", queue.url);
  reader.Text("metric", queue.metric);
  std::vector<std::pair<std::string, std::string>> labels;
  reader.StringMap("labels", labels);
  queue.labels.insert(labels.begin(), labels.end());
  enum class Combine : uint8_t { kSum, kMax };
  Combine combine = Combine::kSum;
  reader.Word("combine", combine);
  queue.combine_max = combine == Combine::kMax;
  reader.SecretMap("headers", queue.headers);
  reader.Text("address", queue.address);
  reader.Text("send", queue.send);
  reader.Text("pointer", queue.pointer);
  if (queue.kind == QueueSource::Kind::kShowq) queue.queues = {"incoming", "active"};
  reader.Texts("queues", queue.queues);
}

void Builder::ReadPool(const ObjectReader::Named& named) {
  Pool& pool = built_.config.pools.emplace_back();
  pool.name = named.name;
  ObjectReader reader(problems_, sources_, named.value, ObjectKind::kPool);
  reader.Texts("backends", pool.backends);
  reader.Word("balance", pool.balance);
  reader.Word("hash_on", pool.hash_on);
  reader.Word("storage", pool.storage, Storage::kShared);
  reader.Word("on_down", pool.on_down);
  reader.Number("spill_below", pool.spill_below);
  pool.health = built_.config.health;
  if (const auto health = reader.Object("health"))
    ReadHealth(*health, Layer::kOverlay, pool.health);
  pool.weights = built_.config.weights;
  if (const auto weights = reader.Object("weights"))
    ReadWeights(*weights, Layer::kOverlay, pool.weights);
}

void Builder::ReadHealth(const Value& value, Layer layer, Health& health) {
  ObjectReader reader(problems_, sources_, value, ObjectKind::kHealth, layer);
  reader.Duration("interval", health.interval);
  reader.Duration("fast_interval", health.fast_interval);
  reader.Duration("timeout", health.timeout);
  reader.Count("rise", health.rise);
  reader.Count("fall", health.fall);
  reader.Duration("slow_start", health.slow_start);
  reader.Duration("cooldown", health.cooldown);
  reader.Text("hello", health.hello);
  reader.Bool("relay_check", health.relay_check);
  reader.Bool("checks", health.checks);
  if (const auto login = reader.Object("login")) ReadLogin(*login, health.login.emplace());
  if (const auto mail = reader.Object("mail")) {
    ObjectReader envelope(problems_, sources_, *mail, ObjectKind::kMail);
    health.mail.emplace();
    envelope.Text("from", health.mail->from);
    envelope.Text("to", health.mail->to);
  }
}

void Builder::ReadWeights(const Value& value, Layer layer, Weights& weights) {
  ObjectReader reader(problems_, sources_, value, ObjectKind::kWeights, layer);
  reader.Bool("latency", weights.latency);
  reader.Bool("queue", weights.queue);
  reader.Number("min_factor", weights.min_factor);
  reader.Duration("half_life", weights.half_life);
}

void Builder::ReadLogin(const Value& value, Credentials& credentials) {
  ObjectReader reader(problems_, sources_, value, ObjectKind::kLogin);
  reader.Text("user", credentials.user);
  reader.Secret("password", credentials.password);
}

}  // namespace postern::conf
