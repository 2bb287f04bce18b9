// auth_http_wire: fields out, fields in.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/auth_http_wire.h"

#include <algorithm>
#include <charconv>
#include <system_error>
#include <utility>

#include "lb/base/address.h"
#include "lb/base/escape.h"

namespace postern::directory {
namespace {

constexpr size_t kMaxRequestBytes = 64 << 10;

bool IsControl(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}
bool HasControl(std::string_view text) {
  return std::any_of(text.begin(), text.end(), IsControl);
}
bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

// As nginx escapes what a client typed. Servers undo exactly this, some no more than this.
void AppendEscaped(std::string& out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && c != '%') {
      out += c;
    } else {
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
}

bool Has(const AuthHttpHeaders& headers, std::string_view name) {
  return std::any_of(headers.begin(), headers.end(), [name](const auto& header) {
    return base::EqualsIgnoreCase(header.first, name);
  });
}

// The lines of a question; remembers whether one of them could not be said.
class Lines {
 public:
  Lines(const AuthHttpHeaders& headers, size_t max_bytes) : headers_(headers) {
    text_.reserve(max_bytes);  // so that no copy of a password is left behind
  }
  ~Lines() { base::WipeString(text_); }
  Lines(const Lines&) = delete;
  Lines& operator=(const Lines&) = delete;

  void Add(std::string_view name, std::string_view value) {
    if (Has(headers_, name)) return;
    AddAnyway(name, value);
  }
  void AddAnyway(std::string_view name, std::string_view value) {
    if (HasControl(value) && bad_.empty()) bad_ = name;
    text_.append(name).append(": ").append(value).append("\r\n");
  }
  void AddEscaped(std::string_view name, std::string_view value) {
    if (Has(headers_, name)) return;
    text_.append(name).append(": ");
    AppendEscaped(text_, value);
    text_ += "\r\n";
  }
  // "RCPT TO: <a@b>", as nginx hands on what the client said.
  void AddCommand(std::string_view name, std::string_view command, std::string_view address) {
    std::string value(command);
    value.append(" <").append(address).append(">");
    Add(name, value);
  }
  base::Result<base::Secret> Finish() {
    text_ += "\r\n";
    if (!bad_.empty()) return base::Error{"a control character in " + std::string(bad_)};
    return base::Secret(text_);
  }

 private:
  const AuthHttpHeaders& headers_;
  std::string text_;
  std::string_view bad_;
};

// Methods are in small letters; LOGIN is PLAIN by other words.
std::string MethodFor(std::string_view mechanism) {
  if (mechanism.empty()) return "none";
  std::string method = base::ToLower(mechanism);
  return method == "login" ? "plain" : method;
}

void AddTransaction(Lines& lines, const io::LookupQuery& query) {
  if (query.login == nullptr) return lines.AddCommand("Auth-SMTP-To", "RCPT TO:", query.key);
  const io::LoginFacts& login = *query.login;
  lines.Add("Auth-SMTP-Helo", login.hello);
  lines.AddCommand("Auth-SMTP-From", "MAIL FROM:", login.from);
  lines.AddCommand("Auth-SMTP-To", "RCPT TO:", login.to.empty() ? query.key : login.to);
}

// "535", "535 5.7.8"
bool IsReplyCode(std::string_view code) {
  const auto is_number = [](std::string_view text) {
    return !text.empty() && text.size() <= 3 && std::all_of(text.begin(), text.end(), IsDigit);
  };
  if (code.size() < 3 || !is_number(code.substr(0, 3)) || (code[0] != '4' && code[0] != '5'))
    return false;
  if (code.size() == 3) return true;
  const size_t first = code.find('.');
  const size_t second = code.find('.', first + 1);
  return code[3] == ' ' && first == 5 && code[4] == code[0] && second != std::string_view::npos &&
         is_number(code.substr(6, second - 6)) && is_number(code.substr(second + 1));
}

// For a client that may know ASCII alone.
std::string OneLine(std::string_view text) {
  std::string line(text.substr(0, AuthHttpAnswer::kMaxRefusalBytes));
  for (char& c : line)
    if (IsControl(c) || static_cast<unsigned char>(c) > 0x7e) c = '?';
  return line;
}

bool IsHostName(std::string_view name) {
  return !name.empty() && name.size() <= 253 && name.front() != '.' && name.front() != '-' &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return IsDigit(c) || (c >= 'a' && c <= 'z') || c == '-' || c == '.' || c == '_';
         });
}

template <typename T>
std::optional<T> ParseNumber(std::string_view text) {
  T number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

std::string AuthHttpHead(const base::HttpUrl& url, const AuthHttpHeaders& headers) {
  // 1.0, as nginx: the connection ends with the answer, which comes in no chunks.
  std::string head = "GET " + url.target + " HTTP/1.0\r\n";
  if (!Has(headers, "Host")) head += "Host: " + url.authority + "\r\n";
  return head;
}

base::Result<base::Secret> AuthHttpQuestion(const io::LookupQuery& query,
                                            const AuthHttpHeaders& headers) {
  io::LoginFacts nobody;
  nobody.protocol = "smtp";
  nobody.mechanism = "none";
  const io::LoginFacts& login = query.login == nullptr ? nobody : *query.login;
  const std::string_view password =
      login.password == nullptr ? std::string_view() : login.password->Reveal();

  size_t num_bytes = query.key.size() + login.protocol.size() + login.mechanism.size() +
                     3 * (login.user.size() + password.size()) + login.client_name.size() +
                     login.hello.size() + login.from.size() + login.to.size();
  for (const auto& [name, value] : headers) num_bytes += name.size() + value.size() + 4;
  if (num_bytes > kMaxRequestBytes) return base::Error{"the question is too long"};

  const std::string method = MethodFor(login.mechanism);
  Lines lines(headers, num_bytes + 1024);
  lines.Add("Auth-Method", method);
  lines.AddEscaped("Auth-User", login.user);
  lines.AddEscaped("Auth-Pass", password);
  lines.Add("Auth-Protocol", login.protocol);
  lines.Add("Auth-Login-Attempt", std::to_string(login.attempt));
  if (query.login != nullptr) {
    lines.Add("Client-IP", login.client.ip.ToString());
    // SMTP has a word for it.
    if (!login.client_name.empty() || login.protocol == "smtp")
      lines.Add("Client-Host", login.client_name.empty() ? "[UNAVAILABLE]" : login.client_name);
  }
  if (method == "none") AddTransaction(lines, query);
  if (login.is_in_tls) lines.Add("Auth-SSL", "on");
  for (const auto& [name, value] : headers)
    if (!base::EqualsIgnoreCase(name, "Host")) lines.AddAnyway(name, value.Reveal());
  return lines.Finish();
}

AuthHttpAnswer::Status AuthHttpAnswer::Feed(base::ByteView input) {
  while (!input.empty() && status_ == Status::kMore) {
    const base::ByteView allowed = input.substr(0, kMaxBytes - num_bytes_);
    if (allowed.empty()) {
      Fail(Status::kBroken, "the answer is too long");
      break;
    }
    const proto::HttpResponse::Step step = response_.Next(allowed);
    if (step.field) Take(*step.field);
    num_bytes_ += step.consumed;
    input.remove_prefix(step.consumed);
    if (status_ != Status::kMore) break;
    if (response_.status() == proto::HttpResponse::Status::kBroken) {
      Fail(Status::kBroken, response_.error());
    } else if (response_.has_head()) {
      Judge();
    }
  }
  return status_;
}

AuthHttpAnswer::Status AuthHttpAnswer::End() {
  if (status_ != Status::kMore) return status_;
  response_.End(true);
  Fail(Status::kBroken, response_.error());
  return status_;
}

void AuthHttpAnswer::Fail(Status status, std::string why) {
  status_ = status;
  error_ = std::move(why);
}

void AuthHttpAnswer::Take(const proto::HttpResponse::Field& field) {
  struct Row {
    std::string_view name;
    std::optional<std::string> Fields::*slot;
  };
  static constexpr Row kRows[] = {
      {"Auth-Status", &Fields::status}, {"Auth-Server", &Fields::server},
      {"Auth-Port", &Fields::port},     {"Auth-User", &Fields::user},
      {"Auth-Wait", &Fields::wait},     {"Auth-Error-Code", &Fields::code},
  };
  for (const Row& row : kRows) {
    if (!base::EqualsIgnoreCase(field.name, row.name)) continue;
    std::optional<std::string>& slot = fields_.*row.slot;
    // Whoever lists several answers means one of them, but we cannot know which.
    if (slot && *slot != field.value)
      return Fail(Status::kUnfit, "it gives two values for " + std::string(row.name));
    slot = field.value;
  }
}

void AuthHttpAnswer::Judge() {
  if (!fields_.status || *fields_.status == "OK") return JudgeServer();
  if (fields_.status->empty()) return Fail(Status::kUnfit, "its Auth-Status is empty");
  if (*fields_.status == "WAIT") return Fail(Status::kUnfit, "it asks to come again later");
  JudgeRefusal();
}

void AuthHttpAnswer::JudgeRefusal() {
  answer_.kind = io::LookupAnswer::Kind::kRefused;
  answer_.why = base::Printable(*fields_.status, kMaxRefusalBytes);
  answer_.refusal_text = OneLine(*fields_.status);
  // A refusal stands, whatever its trimmings are.
  if (fields_.code && IsReplyCode(*fields_.code)) answer_.refusal_code = *fields_.code;
  if (fields_.wait) {
    const auto seconds = ParseNumber<uint32_t>(*fields_.wait);
    if (seconds)
      answer_.refusal_delay =
          std::min<base::Duration>(std::chrono::seconds(*seconds), kLongestWait);
  }
  status_ = Status::kDone;
}

void AuthHttpAnswer::JudgeServer() {
  if (!fields_.server || fields_.server->empty() || !fields_.port)
    return Fail(Status::kUnfit, "it names no server or no port");
  const auto port = ParseNumber<uint16_t>(*fields_.port);
  if (!port || *port == 0)
    return Fail(Status::kUnfit, "its Auth-Port is no port: " + base::Printable(*fields_.port, 40));
  std::string server = base::ToLower(*fields_.server);
  if (server.size() > 2 && server.front() == '[' && server.back() == ']')
    server = server.substr(1, server.size() - 2);
  const auto ip = base::IpAddress::Parse(server);
  if (!ip && !IsHostName(server))
    return Fail(Status::kUnfit,
                "its Auth-Server is no server: " + base::Printable(*fields_.server, 80));
  if (fields_.user && (fields_.user->size() > kMaxUserBytes || HasControl(*fields_.user)))
    return Fail(Status::kUnfit, "its Auth-User cannot be a name");
  answer_.kind = io::LookupAnswer::Kind::kFound;
  answer_.value =
      ip ? base::SocketAddress{*ip, *port}.ToString() : server + ":" + std::to_string(*port);
  answer_.user = fields_.user.value_or("");
  status_ = Status::kDone;
}

}  // namespace postern::directory
