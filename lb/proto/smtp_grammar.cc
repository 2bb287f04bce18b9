// smtp_grammar: one SMTP command line, taken apart and put together again.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/smtp_grammar.h"

#include <array>
#include <cstddef>

namespace postern::proto {
namespace {

using base::ByteView;
using base::EqualsIgnoreCase;
using base::StartsWithIgnoreCase;

struct VerbName {
  std::string_view name;
  SmtpVerb verb;
};

constexpr VerbName kVerbs[] = {
    {"MAIL", SmtpVerb::kMail},   {"RCPT", SmtpVerb::kRcpt},       {"DATA", SmtpVerb::kData},
    {"LHLO", SmtpVerb::kLhlo},   {"EHLO", SmtpVerb::kEhlo},       {"HELO", SmtpVerb::kHelo},
    {"QUIT", SmtpVerb::kQuit},   {"RSET", SmtpVerb::kRset},       {"STARTTLS", SmtpVerb::kStartTls},
    {"AUTH", SmtpVerb::kAuth},   {"NOOP", SmtpVerb::kNoop},       {"VRFY", SmtpVerb::kVrfy},
    {"HELP", SmtpVerb::kHelp},   {"EXPN", SmtpVerb::kExpn},       {"ETRN", SmtpVerb::kEtrn},
    {"BDAT", SmtpVerb::kBdat},   {"XCLIENT", SmtpVerb::kXclient}, {"XFORWARD", SmtpVerb::kXforward},
    {"GET", SmtpVerb::kHttp},    {"POST", SmtpVerb::kHttp},       {"PUT", SmtpVerb::kHttp},
    {"HEAD", SmtpVerb::kHttp},   {"OPTIONS", SmtpVerb::kHttp},    {"CONNECT", SmtpVerb::kHttp},
    {"DELETE", SmtpVerb::kHttp}, {"PATCH", SmtpVerb::kHttp},      {"TRACE", SmtpVerb::kHttp},
    {"PRI", SmtpVerb::kHttp},
};

constexpr bool IsBlank(char c) {
  return c == ' ' || c == '\t';
}

constexpr bool IsControl(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

ByteView TrimBlanks(ByteView text) {
  while (!text.empty() && IsBlank(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsBlank(text.back())) text.remove_suffix(1);
  return text;
}

// Where the address ends: at the '>' that closes it, or at a blank if there were no brackets.
// Quoted strings may hold either. npos: it never ends properly.
size_t FindAddressEnd(ByteView text, bool has_bracket) {
  bool is_quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (is_quoted) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        is_quoted = false;
      }
      continue;
    }
    if (c == '"') {
      is_quoted = true;
    } else if (has_bracket ? c == '>' : IsBlank(c)) {
      return i;
    } else if (c == '<' || c == '>' || IsBlank(c)) {
      return ByteView::npos;  // brackets are put around it again: none may be inside
    }
  }
  return has_bracket || is_quoted ? ByteView::npos : text.size();
}

// "@a,@b:user@c" is "user@c" (RFC 5321 4.1.1.3: source routes are to be ignored).
ByteView WithoutSourceRoute(ByteView address) {
  if (address.empty() || address.front() != '@') return address;
  const size_t colon = address.find(':');
  return colon == ByteView::npos ? ByteView() : address.substr(colon + 1);
}

bool ParseNumber(ByteView text, uint64_t& value) {
  constexpr size_t kMaxDigits = 20;  // RFC 1870 3
  if (text.empty() || text.size() > kMaxDigits) return false;
  value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    const auto digit = static_cast<uint64_t>(c - '0');
    if (value > (UINT64_MAX - digit) / 10) {
      value = UINT64_MAX;  // larger than anything: too big, not malformed
      return true;
    }
    value = value * 10 + digit;
  }
  return true;
}

// RFC 3461 4: printable ASCII but '+' and '=', and "+XX" in upper case hexadecimal.
bool IsXtext(ByteView text) {
  const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '+') {
      if (i + 2 >= text.size() || !is_hex(text[i + 1]) || !is_hex(text[i + 2])) return false;
      i += 2;
    } else if (c <= ' ' || c > '~' || c == '=') {
      return false;
    }
  }
  return true;
}

// NEVER alone, or a list without repetition of SUCCESS, FAILURE, DELAY (RFC 3461 4.1).
bool IsNotifyValue(ByteView value) {
  if (EqualsIgnoreCase(value, "NEVER")) return true;
  unsigned seen = 0;
  while (true) {
    const size_t comma = value.find(',');
    const ByteView word = value.substr(0, comma);
    const unsigned bit = EqualsIgnoreCase(word, "SUCCESS")   ? 1
                         : EqualsIgnoreCase(word, "FAILURE") ? 2
                         : EqualsIgnoreCase(word, "DELAY")   ? 4
                                                             : 0;
    if (bit == 0 || (seen & bit) != 0) return false;
    seen |= bit;
    if (comma == ByteView::npos) return true;
    value.remove_prefix(comma + 1);
  }
}

// addr-type ";" xtext, 500 octets at most; the type is an atom (RFC 3461 4.2). RFC 6533 3 allows
// UTF-8 in the address of type utf-8, so bytes beyond ASCII pass here.
bool IsOrcptValue(ByteView value) {
  const size_t semicolon = value.find(';');
  if (value.size() > 500) return false;
  if (semicolon == ByteView::npos || semicolon == 0 || semicolon + 1 == value.size()) return false;
  for (const char c : value.substr(0, semicolon))
    if (c <= ' ' || c > '~') return false;
  return true;
}

SmtpPath::Error ParseMailParameter(ByteView word, ByteView keyword, ByteView value, bool has_value,
                                   SmtpPath& path) {
  using Error = SmtpPath::Error;
  uint16_t bit = 0;
  if (EqualsIgnoreCase(keyword, "SIZE")) {
    bit = kParamSize;
    if (!ParseNumber(value, path.size)) return Error::kParameterSyntax;
  } else if (EqualsIgnoreCase(keyword, "BODY")) {
    bit = kParamBody;
    if (EqualsIgnoreCase(value, "8BITMIME")) {
      path.body = SmtpBody::k8BitMime;
    } else if (EqualsIgnoreCase(value, "7BIT")) {
      path.body = SmtpBody::k7Bit;
    } else if (EqualsIgnoreCase(value, "BINARYMIME")) {
      path.body = SmtpBody::kBinaryMime;
    } else {
      return Error::kUnknownParameter;
    }
  } else if (EqualsIgnoreCase(keyword, "SMTPUTF8")) {
    bit = kParamSmtpUtf8;
    if (has_value) return Error::kParameterSyntax;
  } else if (EqualsIgnoreCase(keyword, "RET")) {
    bit = kParamRet;
    if (!EqualsIgnoreCase(value, "FULL") && !EqualsIgnoreCase(value, "HDRS"))
      return Error::kParameterSyntax;
    path.ret = word;
  } else if (EqualsIgnoreCase(keyword, "ENVID")) {
    bit = kParamEnvid;
    if (value.empty() || value.size() > 100 || !IsXtext(value)) return Error::kParameterSyntax;
    path.envid = word;
  } else if (EqualsIgnoreCase(keyword, "AUTH")) {
    bit = kParamAuth;
    if (value.empty() || (value != "<>" && !IsXtext(value))) return Error::kParameterSyntax;
    path.auth = word;
  } else {
    return Error::kUnknownParameter;
  }
  if ((path.parameters & bit) != 0) return Error::kParameterSyntax;
  path.parameters = static_cast<uint16_t>(path.parameters | bit);
  return Error::kNone;
}

SmtpPath::Error ParseRcptParameter(ByteView word, ByteView keyword, ByteView value, bool /*unused*/,
                                   SmtpPath& path) {
  using Error = SmtpPath::Error;
  uint16_t bit = 0;
  if (EqualsIgnoreCase(keyword, "NOTIFY")) {
    bit = kParamNotify;
    if (!IsNotifyValue(value)) return Error::kParameterSyntax;
    path.notify = word;
  } else if (EqualsIgnoreCase(keyword, "ORCPT")) {
    bit = kParamOrcpt;
    if (!IsOrcptValue(value)) return Error::kParameterSyntax;
    path.orcpt = word;
  } else {
    return Error::kUnknownParameter;
  }
  if ((path.parameters & bit) != 0) return Error::kParameterSyntax;
  path.parameters = static_cast<uint16_t>(path.parameters | bit);
  return Error::kNone;
}

template <typename ParseParameter>
SmtpPath ParsePathArgs(ByteView args, ByteView prefix, ParseParameter parse_parameter) {
  SmtpPath path;
  const auto fail = [&path](SmtpPath::Error error) {
    path.error = error;
    return path;
  };
  // "FROM :" with a blank before the colon is seen too.
  const ByteView word = prefix.substr(0, prefix.size() - 1);
  if (!StartsWithIgnoreCase(args, word)) return fail(SmtpPath::Error::kSyntax);
  args = TrimBlanks(args.substr(word.size()));
  if (args.empty() || args.front() != ':') return fail(SmtpPath::Error::kSyntax);
  args = TrimBlanks(args.substr(1));
  const bool has_bracket = !args.empty() && args.front() == '<';
  if (has_bracket) args.remove_prefix(1);
  if (args.empty()) return fail(SmtpPath::Error::kSyntax);
  const size_t end = FindAddressEnd(args, has_bracket);
  if (end == ByteView::npos) return fail(SmtpPath::Error::kBadAddress);
  const ByteView given = args.substr(0, end);
  path.address = WithoutSourceRoute(given);
  // A colon within a quoted string ends no route: what would be left is no address.
  if (FindAddressEnd(path.address, false) != path.address.size())
    return fail(SmtpPath::Error::kBadAddress);
  if (path.address.size() > kMaxSmtpAddressBytes) return fail(SmtpPath::Error::kBadAddress);
  if (path.address.empty() && !(has_bracket && given.empty()))
    return fail(SmtpPath::Error::kBadAddress);
  if (!path.address.empty() && (path.address.front() == '@' || path.address.back() == '@'))
    return fail(SmtpPath::Error::kBadAddress);
  for (const char c : path.address) {
    if (IsControl(c)) return fail(SmtpPath::Error::kBadAddress);  // a tab in a quoted string
    if (static_cast<unsigned char>(c) >= 0x80) path.has_8bit = true;
  }

  args = args.substr(has_bracket ? end + 1 : end);
  if (!args.empty() && !IsBlank(args.front())) return fail(SmtpPath::Error::kSyntax);
  for (args = TrimBlanks(args); !args.empty(); args = TrimBlanks(args)) {
    size_t size = 0;
    while (size < args.size() && !IsBlank(args[size])) ++size;
    const ByteView parameter = args.substr(0, size);
    const size_t equals = parameter.find('=');
    const bool has_value = equals != ByteView::npos;
    const ByteView value = has_value ? parameter.substr(equals + 1) : ByteView();
    const SmtpPath::Error error =
        parse_parameter(parameter, parameter.substr(0, equals), value, has_value, path);
    if (error != SmtpPath::Error::kNone) return fail(error);
    args.remove_prefix(size);
  }
  return path;
}

bool IsIdCharacter(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' ||
         c == '_' || c == '.';
}

// The word that begins at `text`, cut at the first character that no queue id has.
ByteView IdAt(ByteView text) {
  constexpr size_t kMaxIdBytes = 64;
  size_t size = 0;
  while (size < text.size() && size < kMaxIdBytes && IsIdCharacter(text[size])) ++size;
  while (size > 0 && text[size - 1] == '.') --size;
  return text.substr(0, size);
}

ByteView IdAfter(ByteView text, ByteView marker) {
  for (size_t i = 0; i + marker.size() <= text.size(); ++i)
    if (EqualsIgnoreCase(text.substr(i, marker.size()), marker))
      return IdAt(text.substr(i + marker.size()));
  return {};
}

bool HasDigit(ByteView text) {
  return text.find_first_of("0123456789") != ByteView::npos;
}

}  // namespace

SmtpCommand ParseSmtpCommand(ByteView line) {
  SmtpCommand command;
  for (const char c : line)
    if (IsControl(c) && c != '\t') command.has_control = true;
  while (!line.empty() && IsBlank(line.back())) line.remove_suffix(1);
  size_t size = 0;
  while (size < line.size() && !IsBlank(line[size])) ++size;
  const ByteView word = line.substr(0, size);
  command.args = TrimBlanks(line.substr(size));
  for (const VerbName& row : kVerbs) {
    if (!EqualsIgnoreCase(word, row.name)) continue;
    command.verb = row.verb;
    break;
  }
  return command;
}

SmtpPath ParseMailArgs(ByteView args) {
  return ParsePathArgs(args, "FROM:", ParseMailParameter);
}

SmtpPath ParseRcptArgs(ByteView args) {
  SmtpPath path = ParsePathArgs(args, "TO:", ParseRcptParameter);
  if (path.error == SmtpPath::Error::kNone && path.address.empty())
    path.error = SmtpPath::Error::kBadAddress;
  return path;
}

bool IsHelloName(ByteView name) {
  if (name.empty() || name.size() > kMaxSmtpHelloBytes) return false;
  for (const char c : name)
    if (IsControl(c) || c == ' ') return false;
  return true;
}

void AppendXtext(std::string& out, ByteView value) {
  constexpr char kHex[] = "0123456789ABCDEF";
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > ' ' && byte <= '~' && c != '+' && c != '=') {
      out.push_back(c);
    } else {
      out.push_back('+');
      out.push_back(kHex[byte >> 4]);
      out.push_back(kHex[byte & 15]);
    }
  }
}

ByteView FindQueueId(ByteView reply) {
  // "queued as 4F1D" (Postfix, Haraka, Rspamd), "id=1abC-0002" (Exim, OpenSMTPD), "InternalId=7"
  // (Exchange), "qp 1234" (qmail), "<id> Message accepted" (Sendmail).
  for (const ByteView marker : {ByteView("queued as "), ByteView("InternalId="), ByteView(" id="),
                                ByteView("id: "), ByteView(" qp ")}) {
    const ByteView id = IdAfter(reply, marker);
    if (!id.empty() && HasDigit(id)) return id;
  }
  constexpr ByteView kSendmail = " Message accepted";
  const size_t at = reply.find(kSendmail);
  if (at == ByteView::npos) return {};
  const size_t blank = reply.substr(0, at).rfind(' ');
  if (blank == ByteView::npos) return {};
  const ByteView word = reply.substr(blank + 1, at - blank - 1);
  return IdAt(word) == word && HasDigit(word) && word.size() > 5 ? word : ByteView();
}

}  // namespace postern::proto
