// dialogue_runner: runs dialogues against protocol machines.
// SPDX-License-Identifier: Apache-2.0
#include "test/support/dialogue_runner.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "lb/base/rng.h"
#include "lb/proto/machine.h"

namespace postern::test {
namespace {

using base::ByteView;
using proto::MailProtocol;

struct Line {
  int number = 0;
  std::string word;  // "C:", "tls", ...
  std::string rest;
};

std::vector<Line> Split(std::string_view script) {
  std::vector<Line> lines;
  int number = 0;
  while (!script.empty()) {
    const size_t end = std::min(script.find('\n'), script.size());
    std::string_view text = script.substr(0, end);
    script.remove_prefix(std::min(end + 1, script.size()));
    ++number;
    if (text.empty() || text.front() == '#') continue;
    const size_t blank = std::min(text.find(' '), text.size());
    Line line{number, std::string(text.substr(0, blank)), ""};
    if (blank < text.size()) line.rest = text.substr(blank + 1);
    lines.push_back(std::move(line));
  }
  return lines;
}

std::pair<std::string, std::string> SplitAtBar(std::string_view text) {
  const size_t bar = std::min(text.find('|'), text.size());
  return {std::string(text.substr(0, bar)),
          bar < text.size() ? std::string(text.substr(bar + 1)) : ""};
}

enum class Cut : uint8_t { kWhole, kByByte, kRandom };

// What a machine said or asked, as a script would say it; Send as "P: ...", a line each.
class Bench {
 public:
  virtual ~Bench() = default;
  void Feed(std::string_view bytes, Cut cut, base::Rng& rng) {
    while (!bytes.empty() && !is_over_) {
      size_t size = bytes.size();
      if (cut == Cut::kByByte) size = 1;
      if (cut == Cut::kRandom) size = 1 + rng.Below(std::min<size_t>(size, 40));
      input_ += bytes.substr(0, size);
      bytes.remove_prefix(size);
      Pump();
    }
    input_ += bytes;  // what comes after the end
  }
  virtual void Pump() = 0;
  // A word of a script that is an action on the machine; false: it is none.
  virtual bool Act(const Line& line) = 0;
  // The laws that hold at every end; what is broken.
  virtual std::string CheckLaws() = 0;

  std::vector<std::string> said;
  std::string input_;
  size_t max_unconsumed = 0;

 protected:
  void Sent(std::string_view bytes) {
    unfinished_ += bytes;
    CutLines();
  }
  void Event(std::string text) {
    if (!unfinished_.empty()) said.push_back("P> " + Escape(std::exchange(unfinished_, "")));
    said.push_back(std::move(text));
  }
  void Consume(size_t num_bytes) { input_.erase(0, num_bytes); }

  bool is_over_ = false;

 private:
  void CutLines() {
    size_t end = 0;
    while ((end = unfinished_.find("\r\n")) != std::string::npos) {
      said.push_back("P: " + Escape(unfinished_.substr(0, end)));
      unfinished_.erase(0, end + 2);
    }
  }
  std::string unfinished_;
};

std::string TextOf(const base::EndCause& cause) {
  return "end " + std::string(base::Name(cause.result)) + " " +
         std::string(base::Name(cause.phase));
}

std::string TextOf(const proto::LoginRequest& request) {
  const ByteView secret =
      IsToken(request.mechanism) ? request.message.Reveal() : request.password.Reveal();
  std::string name(Name(request.mechanism));
  if (request.mechanism == proto::Mechanism::kLoginCommand) name = "LOGIN-COMMAND";
  if (request.mechanism == proto::Mechanism::kUserPass) name = "USER-PASS";
  return name + "|" + Escape(request.user) + "|" + Escape(secret);
}

class Config {
 public:
  void Take(std::string_view text) {
    while (!text.empty()) {
      const size_t end = std::min(text.find(' '), text.size());
      const std::string_view word = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      const size_t equals = std::min(word.find('='), word.size());
      values_[std::string(word.substr(0, equals))] =
          equals < word.size() ? std::string(word.substr(equals + 1)) : "yes";
    }
  }
  [[nodiscard]] std::string Get(const std::string& key, std::string fallback) {
    const auto found = values_.find(key);
    if (found == values_.end()) return fallback;
    std::string value = found->second;
    values_.erase(found);
    std::replace(value.begin(), value.end(), ',', ' ');
    return value;
  }
  [[nodiscard]] bool Is(const std::string& key, bool fallback) {
    return Get(key, fallback ? "yes" : "no") == "yes";
  }
  [[nodiscard]] uint64_t Number(const std::string& key, uint64_t fallback) {
    return std::stoull(Get(key, std::to_string(fallback)));
  }
  [[nodiscard]] std::string Unknown() const {
    return values_.empty() ? "" : values_.begin()->first;
  }

 private:
  std::map<std::string, std::string> values_;
};

class FrontBench final : public Bench {
 public:
  FrontBench(MailProtocol protocol, Config& config)
      : capabilities_(proto::SplitAtoms(config.Get("capabilities", "IMAP4rev1 ID"))) {
    if (protocol == MailProtocol::kPop3 && capabilities_.size() == 2) capabilities_ = {"TOP"};
    proto::FrontPlan plan;
    plan.hostname = "mail.example";
    plan.capabilities = capabilities_;
    const std::string tls = config.Get("tls", "implicit");
    plan.has_starttls = tls == "starttls";
    plan.is_in_tls = tls == "implicit";
    plan.auth_requires_tls = config.Is("auth_requires_tls", true);
    plan.offers_xoauth2 = config.Is("xoauth2", false);
    plan.offers_oauthbearer = config.Is("oauthbearer", false);
    plan.pass_refusal_text = config.Is("pass_refusal_text", false);
    plan.limits.line = config.Number("line", 200);
    plan.limits.sasl_line = config.Number("sasl_line", 400);
    plan.limits.literal = config.Number("literal", 100);
    plan.limits.bad_commands = config.Number("bad_commands", 10);
    plan.limits.auth_failures = config.Number("auth_failures", 3);
    max_unconsumed = std::max(plan.limits.line, plan.limits.sasl_line) + 2;
    machine_ = proto::MakeFront(protocol, plan);
  }

  void Pump() override {
    for (int i = 0; i < 100000; ++i) {
      proto::FrontStep step = machine_->Next(input_);
      // The event's bytes belong to the machine: the input may move now.
      Consume(step.consumed);
      input_.shrink_to_fit();
      if (!Take(step.event)) return;
    }
    Event("never stops");
  }

  bool Act(const Line& line) override {
    const auto [first, second] = SplitAtBar(Unescape(line.rest));
    if (line.word == "ok") {
      machine_->LoginOk({first, second});
    } else if (line.word == "refused") {
      machine_->LoginRefused({first, second, true});
    } else if (line.word == "unavailable") {
      machine_->LoginUnavailable();
    } else if (line.word == "challenge") {
      machine_->PassChallenge(first);
    } else if (line.word == "expire") {
      machine_->Expire();
    } else if (line.word == "drain") {
      machine_->BeginDrain();
    } else if (line.word == "kill") {
      machine_->Kill(line.rest == "kicked" ? base::SessionResult::kKicked
                                           : base::SessionResult::kShutdown);
    } else if (line.word == "tls") {
      machine_->TlsUp();
    } else {
      return false;
    }
    Pump();
    return true;
  }

  std::string CheckLaws() override {
    if (!is_over_) return "";
    const size_t before = said.size();
    input_ += "a LOGIN x y\r\nUSER a\r\nPASS b\r\n";
    machine_->TlsUp();
    machine_->LoginOk({"CAP", "text"});
    machine_->LoginRefused({});
    machine_->LoginUnavailable();
    machine_->PassChallenge("");
    machine_->Expire();
    machine_->BeginDrain();
    machine_->Kill(base::SessionResult::kShutdown);
    const size_t input_bytes = input_.size();
    Pump();
    if (input_.size() != input_bytes) return "consumes input after its end";
    if (said.size() != before + 1) return "does something else after its end";
    const std::string& first = said[before - 1];
    if (first.starts_with("handover ") && said.back().starts_with("handover ")) return "";
    return said.back() == first ? "" : "ends twice, differently";
  }

 private:
  bool Take(const proto::FrontEvent& event) {
    return std::visit(
        [this](const auto& what) {
          using What = std::decay_t<decltype(what)>;
          if constexpr (std::is_same_v<What, proto::NeedBytes>) {
            if (input_.size() > max_unconsumed) Event("leaves too much unread");
            return false;
          } else if constexpr (std::is_same_v<What, proto::Wait>) {
            return false;
          } else if constexpr (std::is_same_v<What, proto::Send>) {
            Sent(what.bytes);
            return true;
          } else if constexpr (std::is_same_v<What, proto::StartTls>) {
            Event("tls");
            return false;
          } else if constexpr (std::is_same_v<What, proto::Login>) {
            Event(what.is_usable ? "login " + TextOf(*what.request)
                                 : "unusable " + std::string(Name(what.request->mechanism)));
            return false;
          } else if constexpr (std::is_same_v<What, proto::LoginAborted>) {
            Event("aborted " + std::string(Name(what.mechanism)));
            return true;
          } else if constexpr (std::is_same_v<What, proto::SaslResponse>) {
            Event("response " + Escape(what.line->Reveal()));
            return false;
          } else if constexpr (std::is_same_v<What, proto::HandOver>) {
            is_over_ = true;
            Event("handover " + Escape(input_));
            return false;
          } else {
            is_over_ = true;
            Event(TextOf(what.cause));
            return false;
          }
        },
        event);
  }

  proto::Capabilities capabilities_;
  std::unique_ptr<proto::FrontMachine> machine_;
};

class BackBench final : public Bench {
 public:
  BackBench(MailProtocol protocol, Config& config) {
    proto::BackPlan plan;
    const std::string tls = config.Get("tls", "none");
    plan.tls = tls == "starttls"   ? conf::TlsMode::kStartTls
               : tls == "implicit" ? conf::TlsMode::kImplicit
                                   : conf::TlsMode::kNone;
    if (config.Is("identity", false)) {
      plan.identity = proto::ClientIdentity{*base::SocketAddress::Parse("192.0.2.7:4711"),
                                            *base::SocketAddress::Parse("198.51.100.1:993"), 0xabc};
    }
    user_ = Unescape(config.Get("user", "alice"));
    const std::string password = Unescape(config.Get("password", "secret"));
    const std::string login = config.Get("login", "PLAIN");
    if (login != "probe") {
      request_.mechanism = *proto::FindMechanism(login);
      request_.user = user_;
      if (IsToken(request_.mechanism)) {
        request_.message = base::Secret(password);
      } else {
        request_.password = base::Secret(password);
      }
      plan.login = &request_;
      plan.user = user_;
    }
    plan.is_check = config.Is("check", false);
    const std::string known = config.Get("known", "");
    if (!known.empty()) {
      known_ = proto::SplitAtoms(known);
      for (std::string& each : known_) std::replace(each.begin(), each.end(), '_', ' ');
      plan.known = &known_;
    }
    plan.max_line_bytes = config.Number("line", 400);
    plan.max_lines = config.Number("lines", 20);
    max_unconsumed = plan.max_line_bytes + 2;
    machine_ = proto::MakeBack(protocol, plan);
  }

  void Pump() override {
    for (int i = 0; i < 100000; ++i) {
      proto::BackStep step = machine_->Next(input_);
      Consume(step.consumed);
      input_.shrink_to_fit();
      if (!Take(step.event)) return;
    }
    Event("never stops");
  }

  bool Act(const Line& line) override {
    if (line.word == "tls") {
      machine_->TlsUp();
    } else if (line.word == "answer") {
      machine_->Respond(base::Secret(Unescape(line.rest)));
    } else if (line.word == "learned") {
      std::string all;
      for (const std::string& each : machine_->capabilities())
        all += (all.empty() ? "" : ", ") + each;
      said.push_back(all.empty() ? "learned" : "learned " + all);
      return false;
    } else if (line.word == "client-bytes") {
      said.push_back(machine_->has_sent_client_bytes() ? "client-bytes yes" : "client-bytes no");
      return false;
    } else if (line.word == "left") {
      said.push_back("left " + Escape(input_));
      return false;
    } else {
      return false;
    }
    Pump();
    return true;
  }

  std::string CheckLaws() override {
    if (!is_over_) return "";
    const size_t before = said.size();
    machine_->TlsUp();
    machine_->Respond(base::Secret("x"));
    input_ += "* OK again\r\n+OK again\r\n";
    const size_t input_bytes = input_.size();
    Pump();
    if (input_.size() != input_bytes) return "consumes input after its end";
    return said.size() == before + 1 ? "" : "does something else after its end";
  }

 private:
  bool Take(const proto::BackEvent& event) {
    return std::visit(
        [this](const auto& what) {
          using What = std::decay_t<decltype(what)>;
          if constexpr (std::is_same_v<What, proto::NeedBytes>) {
            if (input_.size() > max_unconsumed) Event("leaves too much unread");
            return false;
          } else if constexpr (std::is_same_v<What, proto::Wait>) {
            return false;
          } else if constexpr (std::is_same_v<What, proto::Send>) {
            Sent(what.bytes);
            return true;
          } else if constexpr (std::is_same_v<What, proto::StartTls>) {
            Event("tls");
            return false;
          } else if constexpr (std::is_same_v<What, proto::Challenge>) {
            Event("challenge " + Escape(what.base64));
            return false;
          } else if constexpr (std::is_same_v<What, proto::LoggedIn>) {
            is_over_ = true;
            Event("in " + Escape(what.capabilities) + "|" + Escape(what.text));
            return false;
          } else if constexpr (std::is_same_v<What, proto::Refusal>) {
            is_over_ = true;
            Event("refused " + Escape(what.code) + (what.is_bad_credentials ? "|bad" : "|other"));
            return false;
          } else if constexpr (std::is_same_v<What, proto::Failed>) {
            is_over_ = true;
            Event("failed " + std::string(base::Name(what.kind)) + " " +
                  std::string(base::Name(what.phase)));
            return false;
          } else {
            is_over_ = true;
            Event("end " + std::string(base::Name(what.cause.result)));
            return false;
          }
        },
        event);
  }

  proto::LoginRequest request_;
  std::string user_;
  proto::Capabilities known_;
  std::unique_ptr<proto::BackMachine> machine_;
};

// Words that say what Postern does, rather than what is done to it. ("tls" is both: it does, then
// it happens; "refused", "challenge" depend on the side.)
bool IsExpectation(const Line& line, bool is_front) {
  static const std::vector<std::string> kBoth = {"P:", "P>", "tls", "end"};
  static const std::vector<std::string> kFront = {"login", "unusable", "aborted", "response",
                                                  "handover"};
  static const std::vector<std::string> kBack = {"challenge", "in",   "refused",     "failed",
                                                 "learned",   "left", "client-bytes"};
  const auto has = [&line](const std::vector<std::string>& words) {
    return std::find(words.begin(), words.end(), line.word) != words.end();
  };
  return has(kBoth) || has(is_front ? kFront : kBack);
}

bool Matches(std::string_view wanted, std::string_view got) {
  if (wanted.ends_with("...")) {
    wanted.remove_suffix(3);
    return got.starts_with(wanted);
  }
  // "end RESULT" without a phase.
  if (wanted.starts_with("end ") && wanted.find(' ', 4) == std::string_view::npos)
    return got.starts_with(wanted) && (got.size() == wanted.size() || got[wanted.size()] == ' ');
  return wanted == got;
}

struct Script {
  std::string machine;
  Config config;
  std::vector<Line> lines;
};

std::string RunOnce(const Script& script, Cut cut, uint64_t seed) {
  Config config = script.config;
  base::SeededRng rng(seed);
  const bool is_front = script.machine.ends_with("front");
  const MailProtocol protocol =
      script.machine.starts_with("imap") ? MailProtocol::kImap : MailProtocol::kPop3;
  (void)config.Get("cuts", "all");
  std::unique_ptr<Bench> bench;
  if (is_front) {
    bench = std::make_unique<FrontBench>(protocol, config);
  } else {
    bench = std::make_unique<BackBench>(protocol, config);
  }
  if (!config.Unknown().empty()) return "unknown config key " + config.Unknown();
  const auto fail = [&](const Line& line, const std::string& text) {
    return "line " + std::to_string(line.number) + " (cut " +
           std::to_string(static_cast<int>(cut)) + ", seed " + std::to_string(seed) + "): " + text;
  };
  size_t num_seen = 0;
  bench->Pump();
  for (size_t i = 0; i < script.lines.size(); ++i) {
    const Line& line = script.lines[i];
    if (line.word == "C:" || line.word == "C>" || line.word == "B:" || line.word == "B>") {
      std::string bytes;
      size_t last = i;
      // Lines that follow each other come in one packet.
      for (; last < script.lines.size(); ++last) {
        const Line& next = script.lines[last];
        if (next.word != line.word.substr(0, 1) + ":" && next.word != line.word.substr(0, 1) + ">")
          break;
        bytes += Unescape(next.rest);
        if (next.word.back() == ':') bytes += "\r\n";
      }
      if (num_seen != bench->said.size())
        return fail(line, "before this it also said: " + bench->said[num_seen]);
      i = last - 1;
      bench->Feed(bytes, cut, rng);
      continue;
    }
    if (IsExpectation(line, is_front)) {
      if (line.word == "learned" || line.word == "left" || line.word == "client-bytes")
        (void)bench->Act(line);
      // Both sides in the one form that Escape gives, without a blank before nothing.
      const bool is_open = line.rest.ends_with("...");
      std::string wanted = line.word;
      if (!line.rest.empty()) wanted += " " + (is_open ? line.rest : Escape(Unescape(line.rest)));
      if (num_seen == bench->said.size()) return fail(line, "it said nothing instead");
      const std::string& got = bench->said[num_seen++];
      if (!Matches(wanted, got) && wanted + " " != got)
        return fail(line, "it said instead: " + got);
      if (line.word == "tls") (void)bench->Act(line);
      continue;
    }
    if (num_seen != bench->said.size())
      return fail(line, "before this it also said: " + bench->said[num_seen]);
    if (!bench->Act(line)) return fail(line, "unknown word " + line.word);
  }
  if (num_seen != bench->said.size()) return "at the end it also said: " + bench->said[num_seen];
  return bench->CheckLaws();
}

}  // namespace

std::string Unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '{' && text.find("*", i) != std::string_view::npos) {
      const size_t star = text.find('*', i), end = text.find('}', i);
      const std::string_view digits = text.substr(i + 1, star - i - 1);
      const bool is_repeat =
          end != std::string_view::npos && star < end && !digits.empty() &&
          std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
      if (is_repeat) {
        const std::string piece = Unescape(text.substr(star + 1, end - star - 1));
        for (size_t n = std::stoul(std::string(digits)); n > 0; --n) out += piece;
        i = end;
        continue;
      }
    }
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    switch (text[++i]) {
      case 'r':
        out += '\r';
        break;
      case 'n':
        out += '\n';
        break;
      case 't':
        out += '\t';
        break;
      case '0':
        out += '\0';
        break;
      case 's':
        out += ' ';
        break;
      case 'x':
        out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
        i += 2;
        break;
      default:
        out += text[i];
    }
  }
  return out;
}

std::string Escape(std::string_view bytes) {
  static const char* const kHex = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\r') {
      out += "\\r";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\0') {
      out += "\\0";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\\') {
      out += "\\\\";
    } else if (byte < 0x20 || byte >= 0x7f) {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  return out;
}

std::string RunDialogue(std::string_view text) {
  Script script;
  for (Line& line : Split(text)) {
    if (line.word == "machine") {
      script.machine = line.rest;
    } else if (line.word == "config") {
      script.config.Take(line.rest);
    } else {
      script.lines.push_back(std::move(line));
    }
  }
  static const std::vector<std::string> kMachines = {"imap-front", "pop3-front", "imap-back",
                                                     "pop3-back"};
  if (std::find(kMachines.begin(), kMachines.end(), script.machine) == kMachines.end())
    return "no such machine: " + script.machine;
  std::string failure = RunOnce(script, Cut::kWhole, 0);
  Config config = script.config;
  if (config.Get("cuts", "all") == "whole") return failure;
  if (failure.empty()) failure = RunOnce(script, Cut::kByByte, 0);
  for (uint64_t seed = 1; seed <= 16 && failure.empty(); ++seed)
    failure = RunOnce(script, Cut::kRandom, seed);
  return failure;
}

std::string RunDialogueFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return "cannot read " + path;
  std::stringstream text;
  text << file.rdbuf();
  return RunDialogue(text.str());
}

}  // namespace postern::test
