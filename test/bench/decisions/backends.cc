// backends: mail servers for the benchmark, with few workers, service times, and faults by command.
//
// backends WORKERS MEAN_MS NAME=ADDRESS...: each serves SMTP on ADDRESS:2025, IMAP on :2143 (each
// with WORKERS workers of its own), the depth of its queue as an agent's words on :2198 ("queue:N")
// and, as the percentage that an operator would make of it, on :2199. Commands on standard input:
// "NAME KEY VALUE" (loop.h: Faults).
// SPDX-License-Identifier: Apache-2.0
#include "loop.h"

#include <algorithm>
#include <deque>

namespace bench {
namespace {

constexpr double kSoft = 500, kHard = 5000, kLeastPercent = 5;  // as in contenders.py

struct Options {
  int workers = 4;
  double mean_ms = 200;
};

// A bounded number of workers; who comes later waits in turn.
class Workers {
 public:
  Workers(Loop& loop, int number) : loop_(loop), free_(number) {}
  void Serve(std::weak_ptr<Lines> client, double ms, Loop::Call done) {
    waiting_.push_back({std::move(client), ms, std::move(done)});
    Next();
  }
  double slow = 1;

 private:
  struct Job {
    std::weak_ptr<Lines> client;
    double ms;
    Loop::Call done;
  };
  void Next() {
    while (free_ > 0 && !waiting_.empty()) {
      Job job = std::move(waiting_.front());
      waiting_.pop_front();
      const auto client = job.client.lock();
      if (client == nullptr || !client->is_open()) continue;  // gave up in the queue
      --free_;
      loop_.After(job.ms * slow, [this, job = std::move(job)] {
        ++free_;
        const auto still_there = job.client.lock();
        if (still_there != nullptr && still_there->is_open()) job.done();
        Next();
      });
    }
  }
  Loop& loop_;
  int free_;
  std::deque<Job> waiting_;
};

bool Begins(std::string_view line, const char* word) {
  const size_t length = std::strlen(word);
  return line.size() >= length && strncasecmp(line.data(), word, length) == 0;
}

class Backend {
 public:
  Backend(Loop& loop, const Options& options, std::string name, const std::string& address)
      : loop_(loop), options_(options), name_(std::move(name)) {
    for (auto& workers : workers_) workers = std::make_unique<Workers>(loop, options.workers);
    Listen(address + ":2143", [this](int fd) { Greet(fd, kImap); });
    Listen(address + ":2025", [this](int fd) { Greet(fd, kSmtp); });
    Listen(address + ":2198", [this](int fd) { SayDepth(fd, false); });
    Listen(address + ":2199", [this](int fd) { SayDepth(fd, true); });
  }
  void Set(const std::string& key, double value) {
    faults_.Set(key, value);
    for (int i = 0; i < kNumProtocols; ++i) workers_[i]->slow = faults_.slow[i];
  }

 private:
  struct Client {
    std::shared_ptr<Lines> lines;
    Protocol protocol;
    double demand_ms;
    bool is_text = false;  // between 354 and the final dot
  };
  using ClientPtr = std::shared_ptr<Client>;

  void Listen(const std::string& at, std::function<void(int)> accepted) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const sockaddr_in address = AddressOf(at);
    if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        listen(fd, 1024) != 0) {
      std::fprintf(stderr, "backends: %s: %s\n", at.c_str(), std::strerror(errno));
      std::exit(1);
    }
    loop_.Watch(fd, EPOLLIN, [fd, accepted = std::move(accepted)](uint32_t) {
      for (int peer; (peer = accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;)
        accepted(peer);
    });
  }

  void SayDepth(int fd, bool as_percent) {
    char text[32];
    const double over = std::clamp((faults_.depth - kSoft) / (kHard - kSoft), 0.0, 1.0);
    if (!as_percent)
      std::snprintf(text, sizeof text, "queue:%.0f\n", faults_.depth);
    else if (faults_.depth > kHard)
      std::snprintf(text, sizeof text, "drain\n");
    else
      std::snprintf(text, sizeof text, "ready %.0f%%\n", 100 - (100 - kLeastPercent) * over);
    (void)!send(fd, text, std::strlen(text), MSG_NOSIGNAL);
    close(fd);
  }

  void Greet(int fd, Protocol protocol) {
    auto client = std::make_shared<Client>();
    client->lines = std::make_shared<Lines>(loop_, fd);
    client->protocol = protocol;
    client->demand_ms = options_.mean_ms;
    Lines* lines = client->lines.get();
    open_[lines] = client;
    lines->on_end = [this, lines] { Forget(lines); };
    lines->on_line = [this, weak = std::weak_ptr<Client>(client)](std::string_view line) {
      if (const auto known = weak.lock())
        known->protocol == kImap ? OnImap(known, line) : OnSmtp(known, line);
    };
    lines->Start();
    if (faults_.is_mute) return;
    if (faults_.refuses) {
      lines->Say(protocol == kImap ? "* BYE overloaded\r\n" : "421 4.3.2 overloaded\r\n");
      return End(client);
    }
    Work(client, kGreetingMs,
         protocol == kImap ? "* OK [CAPABILITY IMAP4rev1] ready\r\n"
                           : "220 " + name_ + " ESMTP\r\n");
  }

  void Work(const ClientPtr& client, double ms, std::string answer) {
    workers_[client->protocol]->Serve(client->lines, ms,
                                      [weak = std::weak_ptr<Client>(client), answer] {
                                        if (const auto known = weak.lock())
                                          known->lines->Say(answer);
                                      });
  }

  // Where a name such as u123456@... says the demand in microseconds.
  void TakeDemand(const ClientPtr& client, std::string_view line) {
    const size_t at = line.find("demand.");
    if (at != std::string_view::npos)
      client->demand_ms = std::atof(std::string(line.substr(at + 7)).c_str()) / 1000;
  }

  void OnImap(const ClientPtr& client, std::string_view line) {
    const size_t blank = line.find(' ');
    if (blank == std::string_view::npos) return End(client);
    const std::string tag(line.substr(0, blank));
    const std::string_view command = line.substr(blank + 1);
    if (Begins(command, "LOGIN")) {
      TakeDemand(client, command);
      if (faults_.is_unavailable)
        return client->lines->Say(tag + " NO [UNAVAILABLE] user database is away\r\n");
      Work(client, client->demand_ms * kMainPart,
           tag + " OK [CAPABILITY IMAP4rev1 IDLE] logged in\r\n");
    } else if (Begins(command, "CAPABILITY")) {
      client->lines->Say("* CAPABILITY IMAP4rev1\r\n" + tag + " OK done\r\n");
    } else if (Begins(command, "NOOP")) {
      Work(client, client->demand_ms * kSmallPart, tag + " OK at " + name_ + "\r\n");
    } else if (Begins(command, "LOGOUT")) {
      client->lines->Say("* BYE see you\r\n" + tag + " OK done\r\n");
      End(client);
    } else if (Begins(command, "SELECT")) {
      client->lines->Say("* 0 EXISTS\r\n" + tag + " OK [READ-WRITE] done\r\n");
    } else {
      client->lines->Say(tag + " BAD unknown\r\n");
    }
  }

  void OnSmtp(const ClientPtr& client, std::string_view line) {
    Lines& lines = *client->lines;
    if (client->is_text) {
      if (line != ".") return;
      client->is_text = false;
      Work(client, client->demand_ms * kMainPart, "250 2.0.0 queued at " + name_ + "\r\n");
    } else if (Begins(line, "EHLO")) {
      lines.Say("250-" + name_ +
                "\r\n250-PIPELINING\r\n250-SIZE 10000000\r\n250-8BITMIME\r\n"
                "250 ENHANCEDSTATUSCODES\r\n");
    } else if (Begins(line, "MAIL")) {
      TakeDemand(client, line);
      lines.Say("250 2.1.0 Ok\r\n");
    } else if (Begins(line, "RCPT")) {
      Work(client, client->demand_ms * kSmallPart, "250 2.1.5 Ok\r\n");
    } else if (Begins(line, "DATA")) {
      client->is_text = true;
      lines.Say("354 go ahead\r\n");
    } else if (Begins(line, "QUIT")) {
      lines.Say("221 2.0.0 bye\r\n");
      End(client);
    } else {
      lines.Say("250 2.0.0 Ok\r\n");  // RSET, NOOP
    }
  }

  void End(const ClientPtr& client) {
    client->lines->Close();
    Forget(client->lines.get());
  }
  // Not at once: its own call may be running.
  void Forget(Lines* lines) {
    loop_.After(0, [this, lines] { open_.erase(lines); });
  }

  Loop& loop_;
  const Options& options_;
  std::string name_;
  Faults faults_;
  std::unique_ptr<Workers> workers_[kNumProtocols];
  std::unordered_map<Lines*, ClientPtr> open_;
};

int Main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: backends WORKERS MEAN_MS NAME=ADDRESS...\n");
    return 2;
  }
  const Options options{std::atoi(argv[1]), std::atof(argv[2])};
  Loop loop;
  std::map<std::string, std::unique_ptr<Backend>> backends;
  for (int i = 3; i < argc; ++i) {
    const std::string text = argv[i];
    const size_t equals = text.find('=');
    const std::string name = text.substr(0, equals);
    backends[name] = std::make_unique<Backend>(loop, options, name, text.substr(equals + 1));
  }
  TakeCommands(loop, [&backends](const std::vector<std::string>& words) {
    const auto it = words.size() == 3 ? backends.find(words[0]) : backends.end();
    if (it != backends.end()) it->second->Set(words[1], std::atof(words[2].c_str()));
  });
  std::puts("ready");
  std::fflush(stdout);
  loop.Run();
  return 0;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  return bench::Main(argc, argv);
}
