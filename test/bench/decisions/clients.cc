// clients: the same open-loop Poisson arrivals of mail sessions for every contender, and the
// omniscient dispatcher.
//
// clients RATE SECONDS SEED MEAN_MS SIGMA WORKERS TARGET...: RATE sessions a second of each
// protocol. A TARGET is NAME=IMAP_ADDRESS,SMTP_ADDRESS of a balancer, or NAME=@B1=ADDRESS,B2=...:
// sessions that this program itself puts where they end soonest, knowing every fault (commands on
// standard input, as those of backends) and all work under way. A line for each session that ended:
// name, protocol, intended start and duration in ms, "ok" or where it failed, backend, last words.
// Latency counts from the intended start. The last line: "lag MS" of this program's own timers.
// SPDX-License-Identifier: Apache-2.0
#include "loop.h"

#include <algorithm>
#include <random>

namespace bench {
namespace {

constexpr double kPatienceMs = 20000;

struct Step {
  const char* name;
  const char* say;     // after the answer to the step before; %s: the user
  const char* expect;  // beginning of the last line of the answer
};
constexpr Step kImapSteps[] = {{"greeting", "", "* OK"},
                               {"login", "a LOGIN %s secret\r\n", "a OK"},
                               {"noop", "b NOOP\r\n", "b OK"},
                               {"logout", "c LOGOUT\r\n", "c OK"}};
constexpr Step kSmtpSteps[] = {{"greeting", "", "220 "},
                               {"ehlo", "EHLO client.test\r\n", "250 "},
                               {"mail", "MAIL FROM:<%s>\r\n", "250 "},
                               {"rcpt", "RCPT TO:<someone@example.test>\r\n", "250 "},
                               {"data", "DATA\r\n", "354 "},
                               {"message", "Subject: hello\r\n\r\nA few words.\r\n.\r\n", "250 "},
                               {"quit", "QUIT\r\n", "221 "}};
constexpr size_t kNumSteps[] = {std::size(kImapSteps), std::size(kSmtpSteps)};
const Step& StepOf(Protocol protocol, size_t number) {
  return protocol == kImap ? kImapSteps[number] : kSmtpSteps[number];
}

struct Server {  // of the omniscient dispatcher
  std::string name;
  std::string address;
  Faults faults;
  int active[kNumProtocols] = {0, 0};
};

struct Target {
  std::string name;
  sockaddr_in balancer[kNumProtocols];
  std::vector<Server> servers;  // none: it is a balancer
};

struct Session {
  Target* target;
  Protocol protocol;
  double start_ms, demand_ms;
  Server* server = nullptr;
  size_t step = 0;
  std::shared_ptr<Lines> lines;
  std::string backend = "-";
};

class Clients {
 public:
  Clients(Loop& loop, std::vector<Target>& targets, int workers)
      : loop_(loop), targets_(targets), workers_(workers), epoch_ms_(NowMs()) {}
  [[nodiscard]] double epoch_ms() const { return epoch_ms_; }

  // Nothing more will arrive: the loop ends with the last session.
  void StopWhenDone() {
    if (open_.empty()) return loop_.Stop();
    loop_.After(100, [this] { StopWhenDone(); });
  }

  void Arrive(Protocol protocol, double start_ms, double demand_ms) {
    for (Target& target : targets_) {
      auto session = std::make_shared<Session>();
      session->target = &target;
      session->protocol = protocol;
      session->start_ms = start_ms;
      session->demand_ms = demand_ms;
      Begin(session);
    }
  }

 private:
  using SessionPtr = std::shared_ptr<Session>;

  // Where work would end soonest: a free worker's time, or what waits already, at this one's pace.
  Server* Soonest(Target& target, Protocol protocol) const {
    Server* best = nullptr;
    double least = 0;
    for (Server& server : target.servers) {
      const Faults& faults = server.faults;
      if (faults.is_dead || faults.is_mute || faults.refuses) continue;
      if (faults.is_unavailable && protocol == kImap) continue;
      const double waiting = std::max(0, server.active[protocol] + 1 - workers_);
      const double cost =
          faults.slow[protocol] * (1 + waiting / workers_) + 0.001 * server.active[protocol];
      if (best == nullptr || cost < least) best = &server, least = cost;
    }
    return best;
  }

  void Begin(const SessionPtr& session) {
    sockaddr_in address = session->target->balancer[session->protocol];
    if (!session->target->servers.empty()) {
      session->server = Soonest(*session->target, session->protocol);
      if (session->server == nullptr) return End(session, "nobody is there");
      ++session->server->active[session->protocol];
      address =
          AddressOf(session->server->address + (session->protocol == kImap ? ":2143" : ":2025"));
    }
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    session->lines = std::make_shared<Lines>(loop_, fd);
    open_[session.get()] = session;
    const std::weak_ptr<Session> weak = session;
    session->lines->on_line = [this, weak](std::string_view line) {
      if (const auto known = weak.lock()) OnLine(known, line);
    };
    session->lines->on_end = [this, weak] {
      if (const auto known = weak.lock()) End(known, "closed");
    };
    if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
        errno != EINPROGRESS)
      return End(session, std::strerror(errno));
    session->lines->Start();
    loop_.At(session->start_ms + kPatienceMs, [this, weak] {
      if (const auto known = weak.lock()) End(known, "timeout");
    });
  }

  void OnLine(const SessionPtr& session, std::string_view line) {
    const Step& step = StepOf(session->protocol, session->step);
    const bool is_more = session->protocol == kSmtp ? line.size() > 3 && line[3] == '-'
                                                    : session->step > 0 && line.starts_with("* ");
    if (is_more) return;
    if (!line.starts_with(step.expect)) return End(session, std::string(line));
    if (const size_t at = line.rfind(" at "); at != std::string_view::npos)
      session->backend = line.substr(at + 4);
    if (++session->step == kNumSteps[session->protocol]) return End(session, "");
    char user[64], text[256];
    std::snprintf(user, sizeof user, "demand.%.0f@example.test", session->demand_ms * 1000);
    std::snprintf(text, sizeof text, StepOf(session->protocol, session->step).say, user);
    session->lines->Say(text);
  }

  void End(const SessionPtr& session, const std::string& last_words) {
    const bool is_ok = session->step == kNumSteps[session->protocol];
    std::printf("%s %s %.1f %.1f %s %s %.80s\n", session->target->name.c_str(),
                session->protocol == kImap ? "imap" : "smtp", session->start_ms - epoch_ms_,
                NowMs() - session->start_ms,
                is_ok ? "ok" : StepOf(session->protocol, session->step).name,
                session->backend.c_str(), last_words.c_str());
    if (session->server != nullptr) --session->server->active[session->protocol];
    if (session->lines != nullptr) session->lines->Close();
    // Not at once: its own call may be running.
    loop_.After(0, [this, session] { open_.erase(session.get()); });
  }

  Loop& loop_;
  std::vector<Target>& targets_;
  int workers_;
  double epoch_ms_;
  std::unordered_map<Session*, SessionPtr> open_;
};

std::vector<std::string> Split(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t at = 0; at <= text.size();) {
    const size_t comma = std::min(text.size(), text.find(',', at));
    parts.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return parts;
}

Target ParseTarget(const std::string& text) {
  Target target{};
  const size_t equals = text.find('=');
  target.name = text.substr(0, equals);
  const bool is_omniscient = text[equals + 1] == '@';
  const auto parts = Split(text.substr(equals + (is_omniscient ? 2 : 1)));
  if (!is_omniscient) {
    for (int i = 0; i < kNumProtocols; ++i) target.balancer[i] = AddressOf(parts[i]);
    return target;
  }
  for (const std::string& part : parts) {
    const size_t at = part.find('=');
    target.servers.push_back({part.substr(0, at), part.substr(at + 1), {}, {0, 0}});
  }
  return target;
}

// One protocol's arrivals: exponential gaps, lognormal demands.
class Arrivals {
 public:
  Arrivals(Loop& loop, Clients& clients, Protocol protocol, double rate, double seconds,
           uint64_t seed, double mean_ms, double sigma)
      : loop_(loop),
        clients_(clients),
        protocol_(protocol),
        random_(seed * 2 + static_cast<uint64_t>(protocol)),
        gap_(rate / 1000),
        demand_(std::log(mean_ms) - sigma * sigma / 2, sigma),
        next_ms_(clients.epoch_ms()),
        end_ms_(clients.epoch_ms() + seconds * 1000) {
    Plan();
  }

 private:
  void Plan() {
    next_ms_ += gap_(random_);
    const double demand_ms = demand_(random_);
    if (next_ms_ > end_ms_) return;
    loop_.At(next_ms_, [this, start_ms = next_ms_, demand_ms] {
      clients_.Arrive(protocol_, start_ms, demand_ms);
      Plan();
    });
  }
  Loop& loop_;
  Clients& clients_;
  Protocol protocol_;
  std::mt19937_64 random_;
  std::exponential_distribution<double> gap_;
  std::lognormal_distribution<double> demand_;
  double next_ms_, end_ms_;
};

int Main(int argc, char** argv) {
  if (argc < 8) {
    std::fprintf(stderr, "usage: clients RATE SECONDS SEED MEAN_MS SIGMA WORKERS TARGET...\n");
    return 2;
  }
  const double rate = std::atof(argv[1]), seconds = std::atof(argv[2]);
  const auto seed = static_cast<uint64_t>(std::atoll(argv[3]));
  const double mean_ms = std::atof(argv[4]), sigma = std::atof(argv[5]);
  std::vector<Target> targets;
  for (int i = 7; i < argc; ++i) targets.push_back(ParseTarget(argv[i]));
  Loop loop;
  TakeCommands(loop, [&targets](const std::vector<std::string>& words) {
    for (Target& target : targets)
      for (Server& server : target.servers)
        if (words.size() == 3 && server.name == words[0])
          server.faults.Set(words[1], std::atof(words[2].c_str()));
  });
  std::puts("begin");
  std::fflush(stdout);
  Clients clients(loop, targets, std::atoi(argv[6]));
  Arrivals imap(loop, clients, kImap, rate, seconds, seed, mean_ms, sigma);
  Arrivals smtp(loop, clients, kSmtp, rate, seconds, seed, mean_ms, sigma);
  loop.After(seconds * 1000 + 100, [&clients] { clients.StopWhenDone(); });
  loop.Run();
  std::printf("lag %.1f\n", loop.worst_lag_ms());
  return 0;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  return bench::Main(argc, argv);
}
