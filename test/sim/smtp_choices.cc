// smtp_choices: a seed's decisions.
// SPDX-License-Identifier: Apache-2.0
#include "test/sim/smtp_choices.h"

#include <algorithm>
#include <vector>

namespace postern::test {
namespace {

using conf::ClientAddress;
using conf::TlsMode;
using std::chrono::milliseconds;
using std::chrono::seconds;

ServerSet ServersOf(const conf::Config& config, const conf::Pool& pool) {
  ServerSet set = 0;
  for (const std::string& name : pool.backends)
    if (const conf::Backend* backend = config.FindBackend(name))
      set |= 1U << (backend->host.back() - '1');
  return set;
}

ServerSet ServersOf(const conf::Config& config, std::string_view pool) {
  const conf::Pool* found = config.FindPool(pool);
  return found == nullptr ? 0 : ServersOf(config, *found);
}

}  // namespace

SmtpChoices::SmtpChoices(conf::Protocol protocol, Dice& dice) : protocol_(protocol) {
  is_quiet = dice.OneIn(12);
  num_clients = 1 + static_cast<uint32_t>(dice.Below(8));
  num_at_once = 1 + static_cast<uint32_t>(dice.Below(4));
  most_messages = 1 + static_cast<uint32_t>(dice.Below(8));
  if (!is_quiet) {
    is_watched = dice.OneIn(10);
    num_events = dice.OneIn(3) ? 0 : static_cast<uint32_t>(dice.Below(8));
    most_late = dice.OneIn(2) ? base::Duration() : dice.UpTo(milliseconds(20));
    clients.breaks = dice.OneIn(2) ? 0 : 150;
    clients.leaves = dice.OneIn(2) ? 0 : 60;
    clients.dawdles = dice.OneIn(2) ? 0 : 30;
    clients.errs = dice.OneIn(2) ? 0 : 40;
    clients.longest_pause = dice.OneIn(3) ? seconds(20) : milliseconds(200);
  }
  shares_legs = dice.OneIn(2);
  clients.resets = dice.OneIn(2) ? 0 : 50;
  config.hostname = "mx.example";
  config.health.relay_check = false;
  conf::Listener& listener = config.listeners.emplace_back();
  listener.name = "l";
  listener.protocol = protocol;
  listener.route = "r";
  listener.tls = static_cast<TlsMode>(dice.Below(3));
  listener.auth_requires_tls = listener.tls != TlsMode::kNone && dice.OneIn(2);
  ChooseNetwork(dice);
  ChooseDisk(dice);
  ChooseServers(dice);
  Reconfigure(dice);
}

void SmtpChoices::ChooseNetwork(Dice& dice) {
  static constexpr std::array kCuts = {SimCut::kWhole, SimCut::kWhole, SimCut::kRandom,
                                       SimCut::kRandom, SimCut::kByByte};
  net.cut = dice.Of(kCuts);
  net.latency = std::chrono::microseconds(10 + dice.Below(5000));
  if (dice.OneIn(3)) net.window_bytes = 256 + dice.Below(8192);
  net.max_input_bytes = dice.OneIn(2) ? 32 << 10 : 256 << 10;
}

void SmtpChoices::ChooseDisk(Dice& dice) {
  disk.latency = std::chrono::microseconds(dice.Below(20'000));
  disk.window_bytes = dice.OneIn(3) ? 0 : dice.Below(4096);
  if (dice.OneIn(2)) disk.read_bytes = 1 + dice.Below(500);
  if (is_quiet) return;
  has_disk = !dice.OneIn(8);
  replay_total = dice.OneIn(3) ? dice.Below(4) * (16 << 10) : UINT64_MAX;
  switch (dice.Below(12)) {
    case 0:
      disk.total_bytes = dice.Below(4000);
      break;
    case 1:
      disk.disk_bytes = dice.Below(2000);
      break;
    case 2:
      disk.bad_read_offset = dice.Below(2000);
      break;
    case 3:
      disk.hangs = true;
      break;
    case 4:
      disk.latency = dice.UpTo(seconds(12));
      break;
    default:
      break;
  }
}

void SmtpChoices::ChooseServers(Dice& dice) {
  const uint32_t badness = is_quiet || dice.OneIn(6) ? 0 : 1 + static_cast<uint32_t>(dice.Below(3));
  for (SmtpServerChoices& server : servers) {
    server.is_lmtp = !is_submission() && dice.OneIn(4);
    server.has_pipelining = !dice.OneIn(3);
    server.has_chunking = dice.OneIn(2);
    server.has_8bitmime = is_quiet || !dice.OneIn(6);
    server.tls = static_cast<TlsMode>(dice.Below(3));
    server.vouches = is_submission() && dice.OneIn(4);
    server.has_reauth = is_quiet || !dice.OneIn(6);
    static constexpr std::array kTold = {ClientAddress::kNone, ClientAddress::kNone,
                                         ClientAddress::kProxyV1, ClientAddress::kProxyV2,
                                         ClientAddress::kXclient};
    server.client_address = server.vouches ? ClientAddress::kXclient : dice.Of(kTold);
    if (!is_quiet && dice.OneIn(3)) server.refuses = 100;
    server.waits = dice.OneIn(3) ? 100 : 0;
    server.longest_wait =
        is_quiet ? milliseconds(50)
                 : dice.Of(std::array<base::Duration, 4>{milliseconds(5), milliseconds(100),
                                                         seconds(3), std::chrono::minutes(2)});
    server.leaves_idle = is_quiet || dice.OneIn(2) ? 0 : 200;
    if (&server == &servers.back()) server.is_lmtp = false;  // it takes what others leave
    if (badness == 0 || dice.OneIn(3)) continue;
    server.fails = dice.Of(std::array<uint32_t, 4>{0, 15, 60, 300}) * badness / 2;
    server.breaks = dice.Of(std::array<uint32_t, 3>{0, 100, 400}) * badness / 2;
    server.reads_slowly = dice.OneIn(4) ? 200 : 0;
    server.speaks_early = dice.OneIn(4) ? 100 : 0;
  }
}

// --- what a configuration says -------------------------------------------------------------------

void SmtpChoices::Reconfigure(Dice& dice) {
  MakePools(dice);
  MakeRoute(dice);
  ChooseLimits(dice);
  ChooseTimeouts(dice);
}

void SmtpChoices::MakePools(Dice& dice) {
  config.backends.clear();
  config.pools.clear();
  for (int i = 0; i < kNumServers; ++i) {
    const SmtpServerChoices& server = servers[static_cast<size_t>(i)];
    // Server 3 is named by a rule; of the others one may be missing.
    if (!is_quiet && i != 2 && dice.OneIn(6)) continue;
    conf::Backend& backend = config.backends.emplace_back();
    backend.name = (dice.OneIn(8) ? "n" : "b") + std::to_string(i + 1);
    backend.host = "10.0.0." + std::to_string(i + 1);
    backend.weight = dice.OneIn(8) ? 0 : 1 + static_cast<uint32_t>(dice.Below(200));
    if (is_quiet) backend.weight = 100;
    if (!is_quiet && dice.OneIn(8)) backend.max_sessions = 1 + dice.Below(3);
    backend.priority = dice.OneIn(6) ? 1 : 0;
    conf::Endpoint& end = backend.endpoints.emplace_back();
    end.protocol = server.is_lmtp ? conf::Protocol::kLmtp : protocol_;
    end.port = 25;
    end.tls = server.tls;
    end.client_address = server.client_address;
    end.reauth = server.vouches      ? conf::Reauth::kXclientLogin
                 : server.has_reauth ? conf::Reauth::kReplay
                                     : conf::Reauth::kNever;
  }
  static constexpr std::array kBalances = {conf::Balance::kFirst, conf::Balance::kFirst,
                                           conf::Balance::kLeastLoad, conf::Balance::kRoundRobin,
                                           conf::Balance::kHash};
  const auto add = [&](const char* name, std::array<int, 3> wanted) {
    conf::Pool& pool = config.pools.emplace_back();
    pool.name = name;
    pool.balance = dice.Of(kBalances);
    pool.hash_on = dice.OneIn(2) ? conf::HashOn::kUser : conf::HashOn::kClient;
    if (!is_quiet && dice.OneIn(8)) pool.on_down = conf::OnDown::kOpen;
    pool.health = config.health;
    pool.health.interval = seconds(1 + dice.Below(20));
    pool.health.timeout = seconds(1 + dice.Below(10));
    pool.health.cooldown = milliseconds(dice.Below(6000));
    for (const int server : wanted)
      for (const conf::Backend& backend : config.backends)
        if (server != 0 && backend.host.back() == '0' + server)
          pool.backends.push_back(backend.name);
  };
  add("p", dice.OneIn(3) ? std::array{1, 2, 4} : std::array{1, 2, 0});
  add("q", dice.OneIn(3) ? std::array{3, 2, 0} : std::array{3, 0, 0});
  add("relay", dice.OneIn(2) ? std::array{4, 0, 0} : std::array{2, 4, 1});
  // LMTP would split what is to go as a whole.
  std::erase_if(config.pools.back().backends, [this](const std::string& name) {
    return servers[static_cast<size_t>(name.back() - '1')].is_lmtp;
  });
}

void SmtpChoices::MakeRoute(Dice& dice) {
  config.routes.clear();
  config.directories.clear();
  config.directories.emplace_back().name = "d";
  conf::Route& route = config.routes.emplace_back();
  route.name = "r";
  const bool is_relayed = dice.OneIn(2);
  const auto add = [&](const char* pattern, auto action) {
    conf::Rule& rule = route.rules.emplace_back();
    rule.name = "rule" + std::to_string(route.rules.size());
    rule.action = std::move(action);
    if (is_relayed && !is_submission() && rule.action.index() < 3) rule.mixed_relay_pool = "relay";
    if (pattern != nullptr) (is_submission() ? rule.users : rule.recipients) = {pattern};
    return &rule;
  };
  if (is_submission()) {
    for (const char* odd : {"*1", "*3", "*5", "*7", "*9"}) add(odd, conf::Rule::ToPool{"q"});
  } else {
    const auto third = std::find_if(config.backends.begin(), config.backends.end(),
                                    [](const auto& each) { return each.host.back() == '3'; });
    add("*@away.example", conf::Rule::ToPool{"q"});
    add("*@one.example", conf::Rule::ToBackend{third->name});
    add("*@nowhere.example", conf::Rule::Reject{"550 5.7.1 Relaying denied"});
    add("*@later.example", conf::Rule::TempFail{""});
    add("*@asked.example", conf::Rule::DirectoryAnswer{})->directory = "d";
  }
  add(nullptr, conf::Rule::ToPool{"p"});
}

void SmtpChoices::ChooseLimits(Dice& dice) {
  conf::Limits& limits = config.listeners[0].limits;
  conf::Smtp& smtp = config.smtp;
  limits = {};
  smtp = {};
  if (dice.OneIn(3)) limits.buffer = dice.OneIn(2) ? dice.Below(600) : 4096;
  if (dice.OneIn(3)) smtp.commit = conf::Commit::kAfterData;
  smtp.bare_newline = static_cast<conf::BareNewline>(dice.Below(3));
  smtp.replay_memory = dice.OneIn(2) ? dice.Below(2048) : dice.OneIn(2) ? 20 << 10 : 256 << 10;
  if (dice.OneIn(2)) smtp.legs_transactions = 1 + static_cast<uint32_t>(dice.Below(3));
  if (dice.OneIn(3)) smtp.legs_idle = milliseconds(dice.Below(3) * 200);
  if (is_quiet) return;
  if (dice.OneIn(4)) limits.recipients = 1 + dice.Below(3);
  if (dice.OneIn(6)) limits.message = dice.OneIn(2) ? 300 : 2000;
  if (dice.OneIn(6)) limits.line = 80 + dice.Below(500);
  if (dice.OneIn(3)) limits.bad_commands = 1 + dice.Below(4);
  if (dice.OneIn(3)) limits.auth_failures = 1 + dice.Below(3);
  if (dice.OneIn(4)) smtp.replay_limit = dice.Below(4096);
  smtp.retries = static_cast<uint32_t>(dice.Below(4));
  if (dice.OneIn(8)) smtp.spool_total = 0;
}

void SmtpChoices::ChooseTimeouts(Dice& dice) {
  conf::Timeouts& timeouts = config.listeners[0].timeouts;
  timeouts = {};
  if (is_quiet) return;
  const bool is_short = dice.OneIn(3);
  for (conf::Millis* one :
       {&timeouts.tls, &timeouts.command, &timeouts.data, &timeouts.auth_failure_delay,
        &timeouts.connect, &timeouts.greeting, &timeouts.auth, &timeouts.reply,
        &timeouts.data_start, &timeouts.data_block, &timeouts.data_done}) {
    if (dice.OneIn(4)) *one = milliseconds(20 + dice.Below(400));
    if (is_short || dice.OneIn(4))
      *one = std::min<conf::Millis>(*one, milliseconds(dice.Below(4000)));
  }
  if (dice.OneIn(8)) timeouts.login = milliseconds(100 + dice.Below(3000));
  config.listeners[0].greet_delay = milliseconds(dice.OneIn(6) ? dice.Below(300) : 0);
}

// --- who lives where -----------------------------------------------------------------------------

std::string_view HomeNameOf(std::string_view recipient) {
  const std::string_view domain = recipient.substr(recipient.find('@') + 1);
  if (domain == "away.example") return "q";
  if (domain == "one.example") return "3";
  if (domain == "nowhere.example" || domain == "later.example") return "";
  if (domain != "asked.example") return "p";
  // Whom the directory does not know the next rule takes.
  const char first = recipient.front();
  return first == 'f' ? "" : first == 'q' ? "q" : "p";
}

ServerSet HomeOf(const conf::Config& config, std::string_view recipient) {
  const std::string_view home = HomeNameOf(recipient);
  return home == "3" ? 1U << 2 : ServersOf(config, home);
}

ServerSet HomeOfUser(const conf::Config& config, uint32_t user) {
  return ServersOf(config, user % 2 == 1 ? "q" : "p");
}

ServerSet RelayOf(const conf::Config& config) {
  const auto& rules = config.routes[0].rules;
  return rules.back().mixed_relay_pool.empty() ? 0 : ServersOf(config, "relay");
}

}  // namespace postern::test
