// build: the top level, listeners, and the objects that stand alone.
// SPDX-License-Identifier: Apache-2.0
#include "conf/build.h"

#include <unistd.h>

#include <array>
#include <utility>

#include "conf/values.h"

namespace postern::conf {
namespace {

// An object without keys: what an object that is not given is read as, so that defaults are
// checked, and set, in one place.
const json::Node& EmptyObject() {
  static const json::Node empty = [] {
    json::Node node;
    node.kind = json::Node::Kind::kObject;
    return node;
  }();
  return empty;
}

Value OrEmpty(std::optional<Value> value, std::string path) {
  if (value) return *std::move(value);
  return {&EmptyObject(), std::move(path), false};
}

std::string SystemHostname() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0 || !IsHostname(name.data()))
    return "localhost";
  return name.data();
}

}  // namespace

Built Builder::Build(const json::Node& root) {
  Config& config = built_.config;
  ObjectReader top(problems_, sources_, {&root, "", false}, ObjectKind::kTop);
  std::string schema;
  top.Text("$schema", schema);
  config.hostname = SystemHostname();
  top.Text("hostname", config.hostname);
  config.node_name = config.hostname;
  top.Count("workers", config.workers);
  ReadTls(OrEmpty(top.Object("tls"), "/tls"), config.tls);
  ReadLimits(OrEmpty(top.Object("limits"), "/limits"), Layer::kBase, config.limits);
  ReadTimeouts(OrEmpty(top.Object("timeouts"), "/timeouts"), Layer::kBase, config.timeouts);
  config.health.hello = config.hostname;
  ReadHealth(OrEmpty(top.Object("health"), "/health"), Layer::kBase, config.health);
  ReadWeights(OrEmpty(top.Object("weights"), "/weights"), Layer::kBase, config.weights);
  for (const Value& listener : top.ObjectList("listeners")) ReadListener(listener);
  for (const auto& backend : top.ObjectMap("backends")) ReadBackend(backend);
  for (const auto& pool : top.ObjectMap("pools")) ReadPool(pool);
  for (const auto& directory : top.ObjectMap("directories")) ReadDirectory(directory);
  for (const auto& route : top.ObjectMap("routes")) ReadRoute(route);
  for (const auto& probe : top.ObjectMap("probes")) ReadProbe(probe);
  ReadUsers(OrEmpty(top.Object("users"), "/users"), config.users);
  ReadSmtp(OrEmpty(top.Object("smtp"), "/smtp"), config.smtp);
  ReadSmallObjects(top, config);
  return std::move(built_);
}

void Builder::ReadTls(const Value& value, Tls& tls) {
  ObjectReader reader(problems_, sources_, value, ObjectKind::kTls);
  for (const Value& item : reader.ObjectList("certificates")) {
    ObjectReader pair(problems_, sources_, item, ObjectKind::kCertificate);
    built_.certificate_paths.push_back(item.path);
    Certificate& certificate = tls.certificates.emplace_back();
    pair.Text("cert", certificate.cert);
    pair.Text("key", certificate.key);
  }
  enum class Version : uint8_t { k12, k13 };
  Version version = Version::k12;
  reader.Word("min_version", version);
  tls.min_version = version == Version::k12 ? 0x0303 : 0x0304;
  reader.Texts("groups", tls.groups);
  reader.Text("ticket_keys", tls.ticket_keys);
}

void Builder::ReadListener(const Value& value) {
  built_.listener_paths.push_back(value.path);
  Listener& listener = built_.config.listeners.emplace_back();
  ObjectReader reader(problems_, sources_, value, ObjectKind::kListener);
  reader.Text("name", listener.name);
  reader.Word("protocol", listener.protocol);
  reader.SocketAddresses("address", listener.addresses);
  reader.Word("tls", listener.tls);
  if (!reader.Has("tls") && reader.Has("protocol") && listener.protocol != Protocol::kTcp &&
      problems_.IsSound(reader.PathOf("protocol"))) {
    problems_.MarkBroken(reader.PathOf("tls"));
    problems_.Error(value.node->place, value.path, "\"tls\" is missing",
                    "one of none, starttls, implicit");
  }
  reader.Text("route", listener.route);
  reader.Bool("auth_requires_tls", listener.auth_requires_tls);
  reader.Bool("require_tls", listener.require_tls);
  reader.Networks("accept_proxy_from", listener.accept_proxy_from);
  reader.Duration("greet_delay", listener.greet_delay);
  listener.has_capabilities = reader.Texts("capabilities", listener.capabilities);
  reader.Bool("pass_refusal_text", listener.pass_refusal_text);
  listener.timeouts = built_.config.timeouts;
  if (const auto timeouts = reader.Object("timeouts"))
    ReadTimeouts(*timeouts, Layer::kOverlay, listener.timeouts);
  listener.limits = built_.config.limits;
  if (const auto limits = reader.Object("limits"))
    ReadLimits(*limits, Layer::kOverlay, listener.limits);
}

void Builder::ReadLimits(const Value& value, Layer layer, Limits& limits) {
  ObjectReader reader(problems_, sources_, value, ObjectKind::kLimits, layer);
  reader.Count("sessions", limits.sessions);
  reader.Count("sessions_per_address", limits.sessions_per_address);
  reader.Rate("auth_failures_per_address", limits.auth_failures_per_address,
              limits.auth_failures_window);
  reader.Count("auth_failures", limits.auth_failures);
  reader.Count("bad_commands", limits.bad_commands);
  reader.Size("line", limits.line);
  reader.Size("sasl_line", limits.sasl_line);
  reader.Size("literal", limits.literal);
  reader.Count("recipients", limits.recipients);
  reader.Count("reply_lines", limits.reply_lines);
  reader.Size("message", limits.message);
  reader.Size("buffer", limits.buffer);
  reader.Size("buffers_total", limits.buffers_total);
  reader.Networks("exempt", limits.exempt);
}

void Builder::ReadTimeouts(const Value& value, Layer layer, Timeouts& timeouts) {
  ObjectReader reader(problems_, sources_, value, ObjectKind::kTimeouts, layer);
  reader.Duration("tls", timeouts.tls);
  reader.Duration("login", timeouts.login);
  reader.Duration("command", timeouts.command);
  reader.Duration("data", timeouts.data);
  reader.Duration("idle", timeouts.idle);
  reader.Duration("auth_failure_delay", timeouts.auth_failure_delay);
  reader.Duration("connect", timeouts.connect);
  reader.Duration("greeting", timeouts.greeting);
  reader.Duration("auth", timeouts.auth);
  reader.Duration("reply", timeouts.reply);
  reader.Duration("data_start", timeouts.data_start);
  reader.Duration("data_block", timeouts.data_block);
  reader.Duration("data_done", timeouts.data_done);
}

void Builder::ReadSmtp(const Value& value, Smtp& smtp) {
  ObjectReader reader(problems_, sources_, value, ObjectKind::kSmtp);
  reader.Word("bare_newline", smtp.bare_newline);
  reader.Size("replay_memory", smtp.replay_memory);
  reader.Size("replay_memory_total", smtp.replay_memory_total);
  reader.Size("replay_limit", smtp.replay_limit);
  reader.Text("spool_dir", smtp.spool_dir);
  reader.Size("spool_total", smtp.spool_total);
  reader.Count("retries", smtp.retries);
  reader.Word("commit", smtp.commit);
  ObjectReader legs(problems_, sources_, OrEmpty(reader.Object("legs"), "/smtp/legs"),
                    ObjectKind::kLegs);
  legs.Duration("idle", smtp.legs_idle);
  legs.Count("transactions", smtp.legs_transactions);
}

void Builder::ReadUsers(const Value& value, Users& users) {
  ObjectReader reader(problems_, sources_, value, ObjectKind::kUsers);
  reader.Bool("lowercase", users.lowercase);
  reader.Text("strip_extension", users.strip_extension);
  reader.Text("default_domain", users.default_domain);
  reader.Bool("send_rewritten", users.send_rewritten);
  for (const Value& item : reader.ObjectList("rewrite")) {
    ObjectReader step(problems_, sources_, item, ObjectKind::kRewrite);
    Users::Rewrite rewrite;
    step.Text("match", rewrite.match);
    step.Text("to", rewrite.to);
    if (problems_.IsSound(step.PathOf("match")) && problems_.IsSound(step.PathOf("to"))) {
      bool is_match_bad = false;
      if (auto refusal = CheckRewrite(rewrite.match, rewrite.to, is_match_bad)) {
        problems_.Error(step.PathOf(is_match_bad ? "match" : "to"), std::move(refusal->message),
                        std::move(refusal->hint));
      }
    }
    users.rewrite.push_back(std::move(rewrite));
  }
}

void Builder::ReadSmallObjects(ObjectReader& top, Config& config) {
  ObjectReader node(problems_, sources_, OrEmpty(top.Object("node"), "/node"), ObjectKind::kNode);
  node.Text("name", config.node_name);
  node.Text("site", config.node_site);

  ObjectReader drain(problems_, sources_, OrEmpty(top.Object("drain"), "/drain"),
                     ObjectKind::kDrain);
  drain.Duration("spread", config.drain.spread);
  drain.Duration("deadline", config.drain.deadline);
  drain.Duration("upgrade_deadline", config.drain.upgrade_deadline);

  ObjectReader metrics(problems_, sources_, OrEmpty(top.Object("metrics"), "/metrics"),
                       ObjectKind::kMetrics);
  enum class Label : uint8_t { kBackend, kPool };
  Label label = Label::kBackend;
  metrics.Word("phase_histograms", label);
  config.phase_histograms_by_pool = label == Label::kPool;

  ObjectReader admin(problems_, sources_, OrEmpty(top.Object("admin"), "/admin"),
                     ObjectKind::kAdmin);
  admin.SocketAddresses("address", config.admin.addresses);
  admin.Text("socket", config.admin.socket);
  admin.Text("token_file", config.admin.token_file);

  ObjectReader log(problems_, sources_, OrEmpty(top.Object("log"), "/log"), ObjectKind::kLog);
  log.Word("level", config.log.level);
  log.Word("format", config.log.format);
  log.Text("sessions", config.log.sessions);
}

}  // namespace postern::conf
