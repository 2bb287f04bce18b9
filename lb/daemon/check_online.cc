// check_online: a list of questions, some at a time, on a loop of their own.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/check_online.h"

#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "conf/own_listener.h"
#include "health/check_plan.h"
#include "health/probe.h"
#include "health/queue_monitor.h"
#include "lb/base/escape.h"
#include "lb/base/log.h"
#include "lb/base/rng.h"
#include "lb/daemon/directories.h"
#include "lb/daemon/ldap_helper.h"
#include "lb/io/timer.h"
#include "lb/net/dns_resolver.h"
#include "lb/net/event_loop.h"
#include "lb/net/own_addresses.h"
#include "lb/net/tcp_dialer.h"
#include "metrics/recorder.h"

namespace postern::daemon {
namespace {

constexpr size_t kMaxCapabilities = 300;  // bytes
constexpr base::Duration kLookAgain = std::chrono::milliseconds(20);

// What every question needs; outlives all of them.
struct Tools {
  net::EventLoop loop;
  net::TcpDialer dialer{loop};
  net::DnsResolver resolver{loop};
  base::SeededRng rng{base::SystemSeed()};
  metrics::Registry registry;
  metrics::Recorder recorder{registry};
  LdapHelper ldap_helper;
  LdapDialer ldap_dialer{loop, ldap_helper};
};

struct Outcome {
  bool is_ok = false;
  std::string text;
};

class Question {
 public:
  using Done = std::function<void(const Outcome& outcome)>;
  virtual ~Question() = default;
  [[nodiscard]] virtual std::string name() const = 0;
  // done: once, at once or later.
  virtual void Start(Done done) = 0;
};

// --- endpoints ----------------------------------------------------------------------------------

std::string Joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + base::Printable(word);
  return text.size() <= kMaxCapabilities ? text : text.substr(0, kMaxCapabilities) + "...";
}

class EndpointQuestion final : public Question {
 public:
  EndpointQuestion(Tools& tools, const Snapshot& snapshot, const balance::Endpoint& endpoint,
                   const conf::Pool* pool)
      : tools_(tools),
        snapshot_(snapshot),
        endpoint_(endpoint),
        plan_(health::CheckPlan(*snapshot.config, pool, endpoint,
                                snapshot.health_tls[endpoint.id].get())) {}

  std::string name() const override {
    std::string where = endpoint_.backend->host + ":" + std::to_string(endpoint_.conf->port);
    return "backend " + endpoint_.backend->name + "/" +
           std::string(conf::Name(endpoint_.conf->protocol)) + " " + where;
  }
  void Start(Done done) override {
    done_ = std::move(done);
    tools_.resolver.Resolve(endpoint_.backend->host,
                            [this](const io::ResolvedName& name) { OnResolved(name); });
  }

 private:
  void OnResolved(const io::ResolvedName& name) {
    if (name.addresses.empty())
      return done_({false, "resolve: " + (name.error.empty() ? "no address" : name.error)});
    const auto listeners = conf::OwnListenersOf(*snapshot_.config);
    const auto is_own = [](const base::IpAddress& ip) { return net::OwnAddresses().contains(ip); };
    for (const base::IpAddress& ip : name.addresses) {
      const base::SocketAddress target{ip, endpoint_.conf->port};
      if (const auto* own = conf::FindOwnListener(listeners, target, is_own))
        return done_(
            {false, "a loop: " + target.ToString() + " is Postern's own listener " + own->name});
    }
    plan_.addresses = name.addresses;
    probe_ =
        std::make_unique<health::Probe>(tools_.loop, tools_.dialer, plan_,
                                        [this](const health::Observation& seen) { OnSeen(seen); });
    probe_->Start();
  }
  void OnSeen(const health::Observation& seen) {
    if (!seen.is_ok)
      return done_({false, std::string(base::Name(seen.phase)) + " " +
                               std::string(base::Name(seen.kind)) + ": " + seen.why});
    std::string text;
    if (seen.certificate_not_after)
      text += ", certificate good until " + base::log::FormatTime(*seen.certificate_not_after);
    if (seen.has_capabilities) text += ", capabilities " + Joined(seen.capabilities);
    done_({true, std::move(text)});
  }

  Tools& tools_;
  const Snapshot& snapshot_;
  const balance::Endpoint& endpoint_;
  health::ProbePlan plan_;
  Done done_;
  std::unique_ptr<health::Probe> probe_;
};

// --- queue sources ------------------------------------------------------------------------------

class QueueQuestion final : public Question {
 public:
  QueueQuestion(Tools& tools, const conf::Backend& backend,
                std::shared_ptr<const io::TlsSettings> tls)
      : tools_(tools),
        name_("queue of " + backend.name),
        tls_(std::move(tls)),
        again_(tools.loop.timers(), io::Timer::Invoke<&QueueQuestion::Look, QueueQuestion>, this) {
    config_->backends = {backend};
  }
  std::string name() const override { return name_; }
  void Start(Done done) override {
    done_ = std::move(done);
    monitor_ = std::make_unique<health::QueueMonitor>(
        tools_.loop, tools_.dialer, tools_.resolver, tools_.rng, tools_.registry, tools_.recorder,
        nullptr, [this](const health::Event& event) { failure_ = event.text; });
    monitor_->Watch(config_, {tls_});
    Look();
  }

 private:
  void Look() {
    if (failure_) return done_({false, *failure_});
    const auto standing = monitor_->Of(0);
    if (standing->depth)
      return done_({true, ", depth " + std::to_string(static_cast<uint64_t>(*standing->depth))});
    if (!standing->agent.words.empty() || standing->agent.factor)
      return done_({true, ", agent says " + standing->agent.words});
    again_.ArmAt(tools_.loop.Now() + kLookAgain);
  }

  Tools& tools_;
  const std::string name_;
  const std::shared_ptr<conf::Config> config_ = std::make_shared<conf::Config>();
  const std::shared_ptr<const io::TlsSettings> tls_;
  io::Timer again_;
  Done done_;
  std::optional<std::string> failure_;
  std::unique_ptr<health::QueueMonitor> monitor_;
};

// --- directories --------------------------------------------------------------------------------

// One server of a directory, as a directory of its own.
class DirectoryQuestion final : public Question {
 public:
  DirectoryQuestion(Tools& tools, const std::string& hostname, const conf::Directory& directory,
                    const std::string& server, std::shared_ptr<const io::TlsSettings> tls)
      : name_("directory " + directory.name + " " + server), key_("postern-check@" + hostname) {
    auto config = std::make_shared<conf::Config>();
    config->directories = {directory};
    conf::Directory& one = config->directories.front();
    (one.urls.empty() ? one.addresses : one.urls) = {server};
    OwnDirectories own(tools.loop, tools.dialer, tools.ldap_dialer, tools.resolver);
    own.Use(std::move(config), LoadedMaps(1), {{std::move(tls)}});
    directory_ = own.all().front();
  }
  std::string name() const override { return name_; }
  void Start(Done done) override {
    io::LookupQuery query;
    query.key = key_;
    const auto at_once = directory_->Ask(
        query, [done](const io::LookupAnswer& answer) { done(OutcomeOf(answer)); }, pending_);
    if (at_once) done(OutcomeOf(*at_once));
  }

 private:
  static Outcome OutcomeOf(const io::LookupAnswer& answer) {
    const bool is_ok = answer.kind != io::LookupAnswer::Kind::kFailed || answer.is_of_question;
    return {is_ok, is_ok ? ", answers" : answer.why};
  }

  const std::string name_, key_;
  std::shared_ptr<io::Directory> directory_;
  std::unique_ptr<io::Lookup> pending_;
};

// --- all of them --------------------------------------------------------------------------------

class OnlineCheck {
 public:
  explicit OnlineCheck(const Snapshot& snapshot)
      : deadline_(tools_.loop.timers(), io::Timer::Invoke<&OnlineCheck::OnDeadline, OnlineCheck>,
                  this) {
    const conf::Config& config = *snapshot.config;
    (void)tools_.registry.Configure(config);
    const auto pools = health::PoolsThatHold(config, *snapshot.endpoints);
    for (const balance::Endpoint& endpoint : snapshot.endpoints->endpoints())
      Add(std::make_unique<EndpointQuestion>(tools_, snapshot, endpoint, pools[endpoint.id]));
    for (size_t i = 0; i < config.backends.size(); ++i)
      if (config.backends[i].queue)
        Add(std::make_unique<QueueQuestion>(tools_, config.backends[i], snapshot.queue_tls[i]));
    for (size_t i = 0; i < config.directories.size(); ++i) AddDirectory(snapshot, i);
  }

  bool Run() {
    deadline_.ArmAt(tools_.loop.Now() + kOnlineLongest);
    tools_.loop.Post([this] { StartMore(); });
    tools_.loop.Run();
    deadline_.Cancel();
    const size_t num_all = items_.size();
    items_.clear();
    tools_.ldap_helper.Stop();
    if (num_failed_ == 0) {
      std::printf("all %zu answer\n", num_all);
    } else {
      std::fprintf(stderr, "error: %zu of %zu do not answer as they should\n", num_failed_,
                   num_all);
    }
    return num_failed_ == 0;
  }

 private:
  struct Item {
    std::unique_ptr<Question> question;
    bool is_done = false;
  };

  void Add(std::unique_ptr<Question> question) { items_.push_back({std::move(question)}); }

  void AddDirectory(const Snapshot& snapshot, size_t index) {
    const conf::Directory& directory = snapshot.config->directories[index];
    if (directory.type == conf::Directory::Type::kLdap)
      tools_.ldap_helper.Want(true, tools_.loop.Now());
    const auto& tls = snapshot.control.directory_tls[index];
    const auto& servers = directory.urls.empty() ? directory.addresses : directory.urls;
    for (size_t i = 0; i < servers.size(); ++i)
      Add(std::make_unique<DirectoryQuestion>(tools_, snapshot.config->hostname, directory,
                                              servers[i], i < tls.size() ? tls[i] : nullptr));
  }

  void StartMore() {
    while (num_open_ < kOnlineAtOnce && next_ < items_.size()) {
      const size_t index = next_++;
      ++num_open_;
      items_[index].question->Start([this, index](const Outcome& outcome) {
        Say(items_[index], outcome);
        --num_open_;
        // Not from within the question that has just ended.
        tools_.loop.Post([this] { StartMore(); });
      });
    }
    if (next_ == items_.size() && num_open_ == 0) tools_.loop.Stop();
  }

  void Say(Item& item, const Outcome& outcome) {
    if (std::exchange(item.is_done, true)) return;
    if (!outcome.is_ok) ++num_failed_;
    std::printf("%s: %s%s\n", item.question->name().c_str(), outcome.is_ok ? "ok" : "FAILED, ",
                base::Printable(outcome.text).c_str());
    (void)std::fflush(stdout);
  }

  void OnDeadline() {
    for (Item& item : items_) Say(item, {false, "no answer within the time of the whole check"});
    tools_.loop.Stop();
  }

  Tools tools_;
  std::vector<Item> items_;
  size_t next_ = 0;
  size_t num_open_ = 0;
  size_t num_failed_ = 0;
  io::Timer deadline_;
};

}  // namespace

bool CheckOnline(const Snapshot& snapshot) {
  // What fails is said in the lines of this check.
  base::log::Configure(base::log::Level::kError, snapshot.config->log.format);
  return OnlineCheck(snapshot).Run();
}

}  // namespace postern::daemon
