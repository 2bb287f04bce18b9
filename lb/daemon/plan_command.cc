// plan_command: `postern explain --plan`: two configurations with their directories, a file of
// names, and what comes of them in words or as JSON.
// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <utility>

#include "conf/load.h"
#include "lb/base/escape.h"
#include "lb/base/log.h"
#include "lb/daemon/commands.h"
#include "lb/daemon/ldap_helper.h"
#include "lb/daemon/plan.h"
#include "lb/daemon/plan_printer.h"
#include "lb/daemon/snapshot.h"
#include "lb/net/dns_resolver.h"
#include "lb/net/event_loop.h"
#include "lb/net/tcp_dialer.h"

namespace postern::daemon {
namespace {

int Fail(const std::string& why) {
  std::fprintf(stderr, "error: %s\n", why.c_str());
  return 1;
}

// One configuration, and what its directories need.
class Side {
 public:
  Side(net::EventLoop& loop, LdapHelper& helper)
      : loop_(loop),
        dialer_(loop),
        ldap_dialer_(loop, helper),
        resolver_(loop),
        directories_(loop_, dialer_, ldap_dialer_, resolver_) {}

  // False: it has been said why not.
  // like: its maps serve again where the files are the same; null: none.
  bool Load(const std::string& path, metrics::Registry& registry, const Side* like) {
    MapLoader maps = like == nullptr ? MapLoader(base::SystemClock())
                                     : MapLoader(base::SystemClock(), like->snapshot_->config,
                                                 like->snapshot_->maps);
    conf::FileChecks checks;
    checks.map_file = [&maps](const std::string& file, const conf::Users& users) {
      return maps.Check(file, users);
    };
    conf::LoadResult loaded = conf::LoadFile(path, checks);
    for (const conf::Problem& error : loaded.errors)
      std::fprintf(stderr, "error: %s\n", error.ToString().c_str());
    if (!loaded.config) return false;
    auto config = std::make_shared<const conf::Config>(std::move(*loaded.config));
    auto built = BuildWays(config, {0, book_, nullptr, base::SystemClock(), maps});
    if (!built) {
      (void)Fail(path + ": " + built.error());
      return false;
    }
    snapshot_ = std::move(built).value();
    FillSlots(*snapshot_, registry.Configure(*config));
    auto parts = std::make_shared<session::Parts>(*snapshot_->control.parts);
    directories_.Use(config, snapshot_->maps, snapshot_->control.directory_tls);
    parts->directories = directories_.all();
    parts_ = std::move(parts);
    return true;
  }
  [[nodiscard]] const std::shared_ptr<const session::Parts>& parts() const { return parts_; }

 private:
  net::EventLoop& loop_;
  net::TcpDialer dialer_;
  LdapDialer ldap_dialer_;
  net::DnsResolver resolver_;
  OwnDirectories directories_;
  balance::EndpointBook book_{1};
  std::shared_ptr<Snapshot> snapshot_;
  std::shared_ptr<const session::Parts> parts_;
};

}  // namespace

int PlanHomes(const std::string& config_path, const std::string& against, const std::string& plan,
              const RouteWords& words, StatusForm form) {
  PlanQuestion question{words.listener, std::nullopt, words.sni};
  if (!words.client.empty()) {
    question.client = base::IpAddress::Parse(words.client);
    if (!question.client) return Fail("\"" + base::Printable(words.client) + "\" is no IP address");
  }
  std::ifstream file;
  if (plan != "-") {
    file.open(plan, std::ios::binary);
    if (!file) return Fail(plan + ": it cannot be read");
  }
  base::log::Configure(base::log::Level::kWarn, base::log::Format::kLogfmt);
  metrics::Registry registry;
  metrics::Recorder recorder(registry);
  net::EventLoop loop;
  LdapHelper helper;
  Side now(loop, helper), then(loop, helper);
  if (!now.Load(config_path, registry, nullptr)) return 1;
  if (!against.empty() && !then.Load(against, registry, &now)) return 1;
  helper.Want(UsesLdap(*now.parts()->config) ||
                  (then.parts() != nullptr && UsesLdap(*then.parts()->config)),
              loop.Now());

  PlanPrinter printer(
      form == StatusForm::kJson ? PlanPrinter::Form::kJson : PlanPrinter::Form::kText,
      !against.empty(),
      [](std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); });
  const std::string name = plan == "-" ? "standard input" : plan;
  const auto on_bad_line = [&name](uint64_t line, const std::string& why) {
    std::fprintf(stderr, "error: %s:%llu: %s\n", name.c_str(),
                 static_cast<unsigned long long>(line), why.c_str());
  };
  Plan planned(loop, recorder, {now.parts(), then.parts()}, question, plan == "-" ? std::cin : file,
               {[&printer](const PlannedName& each) { printer.Say(each); }, on_bad_line,
                [&loop] { loop.Stop(); }});
  if (const std::string fault = planned.Fault(); !fault.empty()) return Fail(fault);
  printer.Begin();
  planned.Start();
  loop.Run();
  printer.End(planned.totals());
  return planned.totals().num_unknown == 0 && planned.totals().num_bad_lines == 0 ? 0 : 1;
}

}  // namespace postern::daemon
