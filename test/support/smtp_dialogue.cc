// smtp_dialogue: runs a dialogue of SMTP.
// SPDX-License-Identifier: Apache-2.0
#include "test/support/smtp_dialogue.h"

#include <cstdlib>
#include <map>
#include <sstream>
#include <vector>

#include "test/support/dialogue_runner.h"
#include "test/support/smtp_bench.h"

namespace postern::test {
namespace {

std::string Trim(std::string text) {
  while (!text.empty() && text.front() == ' ') text.erase(0, 1);
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

std::vector<std::string> Split(const std::string& text, const std::string& by) {
  std::vector<std::string> parts;
  size_t at = 0;
  while (true) {
    const size_t end = text.find(by, at);
    parts.push_back(text.substr(at, end == std::string::npos ? end : end - at));
    if (end == std::string::npos) return parts;
    at = end + by.size();
  }
}

// "{3*ab}" is "ababab"; before the escapes are read.
std::string Repeat(std::string text) {
  for (size_t open = text.find('{'); open != std::string::npos; open = text.find('{', open)) {
    const size_t star = text.find('*', open);
    const size_t close = text.find('}', open);
    if (star == std::string::npos || close == std::string::npos || star > close) break;
    std::string many;
    const int count = std::atoi(text.substr(open + 1, star - open - 1).c_str());
    for (int i = 0; i < count; ++i) many += text.substr(star + 1, close - star - 1);
    text.replace(open, close - open + 1, many);
    open += many.size();
  }
  return text;
}

std::string Text(const std::string& text) {
  return Unescape(Repeat(text));
}

base::Duration ParseDuration(const std::string& text) {
  const int number = std::atoi(text.c_str());
  if (text.size() > 2 && text.substr(text.size() - 2) == "ms")
    return std::chrono::milliseconds(number);
  return text.back() == 'm' ? base::Duration(std::chrono::minutes(number))
                            : base::Duration(std::chrono::seconds(number));
}

class Runner {
 public:
  explicit Runner(SmtpBench::Cut cut) { bench_.cut = cut; }
  bool cuts_whole_only = false;

  // Empty, or what is wrong.
  std::string Line(const std::string& line) {
    if (line.empty() || line[0] == '#') return "";
    const size_t blank = line.find(' ');
    const std::string word = line.substr(0, blank);
    const std::string rest = blank == std::string::npos ? "" : line.substr(blank + 1);
    if (word == "config") return Config(rest);
    if (word == "home") return SetHome(rest, bench_.homes);
    if (word == "relay") return SetHome(rest, bench_.relays);
    if (word[0] == 'B' && word.size() >= 2 && word[1] >= '0' && word[1] <= '9')
      return Backend(word, rest);
    if (word[0] == 'C' && word.size() == 2) return Client(word, rest);
    if (bench_.relay == nullptr) bench_.Start();
    if (word == "P:") return Postern(rest);
    if (word == "expect") return Expect(rest);
    if (word == "tls") {
      if (!bench_.wants_front_tls) return "TLS was not wanted";
      bench_.FrontTls();
    } else if (word == "eof") {
      bench_.Eof();
    } else if (word == "lost") {
      bench_.LoseClient();
    } else if (word == "drain") {
      bench_.Drain();
    } else if (word[0] == '+') {
      bench_.After(ParseDuration(word.substr(1)));
    } else {
      return "not a line of a dialogue";
    }
    return "";
  }

  std::string Finish() { return Unread(); }

 private:
  std::string Config(const std::string& rest) {
    proto::SmtpSettings& settings = bench_.settings;
    std::istringstream words(rest);
    for (std::string word; words >> word;) {
      const size_t equals = word.find('=');
      if (equals == std::string::npos) return "config wants KEY=VALUE";
      const std::string key = word.substr(0, equals);
      const std::string value = word.substr(equals + 1);
      const auto number = static_cast<uint64_t>(std::atoll(value.c_str()));
      if (key == "cuts") {
        cuts_whole_only = value == "whole";
      } else if (key == "protocol") {
        settings.is_submission = value == "submission";
        settings.is_lmtp = value == "lmtp";
        if (settings.is_submission) settings.timeouts.login = std::chrono::seconds(60);
      } else if (key == "tls") {
        settings.tls = value == "starttls"   ? proto::SmtpFrontTls::kOffered
                       : value == "implicit" ? proto::SmtpFrontTls::kActive
                                             : proto::SmtpFrontTls::kNone;
      } else if (key == "require_tls") {
        settings.require_tls = value == "yes";
      } else if (key == "xoauth2") {
        settings.offers_xoauth2 = value == "yes";
      } else if (key == "oauthbearer") {
        settings.offers_oauthbearer = value == "yes";
      } else if (key == "bare_newline") {
        settings.bare_newline = value == "normalize" ? conf::BareNewline::kNormalize
                                : value == "pass"    ? conf::BareNewline::kPass
                                                     : conf::BareNewline::kReject;
      } else if (key == "commit") {
        settings.commit =
            value == "after_data" ? conf::Commit::kAfterData : conf::Commit::kStreaming;
      } else if (key == "announces") {
        bench_.capabilities = Split(value, ",");
      } else if (key == "greet_delay") {
        settings.greet_delay = ParseDuration(value);
      } else if (key == "retries") {
        settings.retries = static_cast<uint32_t>(number);
      } else if (key == "replay_memory") {
        settings.replay_memory = number;
      } else if (key == "line") {
        settings.limits.line = number;
      } else if (key == "message") {
        settings.limits.message = number;
      } else if (key == "bad_commands") {
        settings.limits.bad_commands = number;
      } else if (key == "auth_failures") {
        settings.limits.auth_failures = number;
      } else if (key == "recipients") {
        settings.limits.recipients = number;
      } else if (key == "reply_lines") {
        settings.limits.reply_lines = number;
      } else {
        return "no such key: " + key;
      }
    }
    return "";
  }

  static std::string SetHome(const std::string& rest, std::map<std::string, std::string>& by_name) {
    const size_t equals = rest.find('=');
    if (equals == std::string::npos) return "wants RECIPIENT = BACKENDS";
    by_name[Trim(rest.substr(0, equals))] = Trim(rest.substr(equals + 1));
    return "";
  }

  std::string Backend(std::string name, const std::string& rest) {
    const bool is_saying = name.back() == ':';
    if (is_saying) name.pop_back();
    FakeBackend& backend = bench_.backend(name);
    if (is_saying) {
      if (bench_.leg_backend() != name) return name + " has no connection";
      bench_.BackSays(name, Text(rest) + "\r\n");
      return "";
    }
    const size_t blank = rest.find(' ');
    const std::string verb = rest.substr(0, blank);
    const std::string object = blank == std::string::npos ? "" : rest.substr(blank + 1);
    if (verb == "announces") {
      backend.keywords = Split(object, ", ");
    } else if (verb == "wants") {
      backend.tls = object == "starttls" ? conf::TlsMode::kStartTls : conf::TlsMode::kImplicit;
    } else if (verb == "speaks") {
      backend.is_lmtp = object == "lmtp";
    } else if (verb == "gets") {
      backend.client_address =
          object == "xclient" ? conf::ClientAddress::kXclient : conf::ClientAddress::kProxyV1;
    } else if (verb == "answers") {
      const size_t colon = object.find(": ");
      if (colon == std::string::npos) return "answers wants COMMAND: REPLY";
      std::vector<std::string>& replies = backend.answers[object.substr(0, colon)];
      replies.clear();
      for (const std::string& reply : Split(object.substr(colon + 2), " | ")) {
        std::string lines;
        for (const std::string& line : Split(reply, " / "))
          lines += (lines.empty() ? "" : "\n") + Text(line);
        replies.push_back(lines);
      }
    } else if (verb == "refuses") {
      backend.door = FakeBackend::Door::kRefuses;
    } else if (verb == "hangs") {
      backend.door = FakeBackend::Door::kHangs;
    } else if (verb == "opens") {
      backend.door = FakeBackend::Door::kOpen;
    } else if (verb == "stops") {
      backend.takes_bytes = false;
    } else if (verb == "goes") {
      bench_.TakeBytes(name);
    } else if (verb == "dies") {
      if (bench_.leg_backend() != name) return name + " has no connection";
      bench_.LoseBack(name);
    } else if (verb == "got") {
      size_t& at = lines_read_[name];
      if (at >= backend.lines.size()) return name + " got nothing more";
      if (backend.lines[at] != Text(object)) return name + " got " + Escape(backend.lines[at]);
      ++at;
    } else if (verb == "holds") {
      if (std::to_string(backend.messages.size()) != object)
        return name + " holds " + std::to_string(backend.messages.size());
    } else if (verb == "text") {
      if (backend.messages.empty()) return name + " holds no message";
      if (backend.messages.back().text != Text(object))
        return name + " has the text " + Escape(backend.messages.back().text);
    } else {
      return "a backend does no such thing";
    }
    return "";
  }

  std::string Client(const std::string& word, const std::string& rest) {
    if (bench_.relay == nullptr) bench_.Start();
    if (const std::string wrong = Unread(); !wrong.empty()) return wrong;
    if (bench_.is_over()) return "the session is over: " + bench_.end->why;
    bench_.Send(Text(rest) + (word == "C:" ? "\r\n" : ""));
    return "";
  }

  std::string Unread() {
    output_ += bench_.relay == nullptr ? "" : bench_.Replies();
    return output_.empty() ? "" : "Postern said more: " + Escape(output_);
  }

  std::string Postern(const std::string& rest) {
    output_ += bench_.Replies();
    for (const std::string& wanted : Split(rest, " / ")) {
      const size_t end = output_.find("\r\n");
      if (end == std::string::npos) return "Postern said nothing more";
      const std::string line = output_.substr(0, end);
      const bool is_begin = wanted.size() >= 3 && wanted.substr(wanted.size() - 3) == "...";
      const std::string begin = is_begin ? wanted.substr(0, wanted.size() - 3) : wanted;
      if (is_begin ? line.compare(0, begin.size(), begin) != 0 : line != begin)
        return "Postern said " + Escape(output_);
      output_.erase(0, end + 2);
    }
    return "";
  }

  std::string Expect(const std::string& rest) {
    if (rest == "open") return bench_.is_over() ? "it is over: " + bench_.end->why : "";
    if (rest.compare(0, 4, "log ") == 0) {
      if (bench_.outcomes.empty()) return "no transaction has ended";
      const std::string& reply = bench_.outcomes.back().reply;
      return reply == rest.substr(4) ? "" : "the log says " + reply;
    }
    if (rest.compare(0, 3, "end") != 0) return "expect what?";
    if (!bench_.is_over()) return "it is not over";
    std::istringstream words(rest.substr(3));
    for (std::string word; words >> word;) {
      const size_t equals = word.find('=');
      const std::string key = word.substr(0, equals);
      const std::string value = word.substr(equals + 1);
      const std::string is(key == "side"    ? base::Name(bench_.end->side)
                           : key == "phase" ? base::Name(bench_.end->phase)
                                            : base::Name(bench_.end->result));
      if (is != value) return key + " is " + is;
    }
    return "";
  }

  SmtpBench bench_;
  std::string output_;
  std::map<std::string, size_t> lines_read_;
};

}  // namespace

std::string RunSmtpDialogue(std::string_view script) {
  constexpr SmtpBench::Cut kCuts[] = {SmtpBench::Cut::kWhole, SmtpBench::Cut::kByByte,
                                      SmtpBench::Cut::kRandom};
  constexpr const char* kNames[] = {"whole", "byte by byte", "in seeded cuts"};
  for (size_t i = 0; i < 3; ++i) {
    Runner runner(kCuts[i]);
    std::istringstream lines{std::string(script)};
    int number = 0;
    for (std::string line; std::getline(lines, line);) {
      ++number;
      if (const std::string wrong = runner.Line(line); !wrong.empty())
        return "line " + std::to_string(number) + " (" + kNames[i] + "): " + wrong;
    }
    if (const std::string wrong = runner.Finish(); !wrong.empty())
      return std::string("at the end (") + kNames[i] + "): " + wrong;
    if (runner.cuts_whole_only) break;
  }
  return "";
}

}  // namespace postern::test
