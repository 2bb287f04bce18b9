// smtp_command_fuzz: a client's command lines: what is understood of MAIL and RCPT is bounded, goes
// out as one line, and means there what it meant here.
// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <string>

#include "lb/base/check.h"
#include "lb/proto/smtp_grammar.h"

namespace {

using namespace postern;
using base::ByteView;
using proto::SmtpPath;

bool IsOneLine(ByteView text) {
  for (const char c : text)
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) return false;
  return true;
}

bool HasOuterBlanks(ByteView text) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  return !text.empty() && (is_blank(text.front()) || is_blank(text.back()));
}

// As it is put together for a backend.
std::string Print(ByteView prefix, const SmtpPath& path) {
  std::string line(prefix);
  line.append("<").append(path.address).append(">");
  if ((path.parameters & proto::kParamSize) != 0)
    line.append(" SIZE=").append(std::to_string(path.size));
  if (path.body == proto::SmtpBody::k7Bit) line += " BODY=7BIT";
  if (path.body == proto::SmtpBody::k8BitMime) line += " BODY=8BITMIME";
  if (path.body == proto::SmtpBody::kBinaryMime) line += " BODY=BINARYMIME";
  if ((path.parameters & proto::kParamSmtpUtf8) != 0) line += " SMTPUTF8";
  for (const ByteView word : {path.ret, path.envid, path.auth, path.notify, path.orcpt})
    if (!word.empty()) line.append(" ").append(word);
  return line;
}

void CheckPath(ByteView prefix, const SmtpPath& path, SmtpPath (*parse)(ByteView)) {
  POSTERN_CHECK(path.address.size() <= proto::kMaxSmtpAddressBytes);
  POSTERN_CHECK(IsOneLine(path.address));
  const std::string line = Print(prefix, path);
  POSTERN_CHECK(IsOneLine(line));
  const SmtpPath again = parse(line);
  POSTERN_CHECK(again.error == SmtpPath::Error::kNone);
  POSTERN_CHECK(again.address == path.address && again.has_8bit == path.has_8bit);
  POSTERN_CHECK(again.parameters == path.parameters && again.size == path.size);
  POSTERN_CHECK(again.body == path.body && again.ret == path.ret && again.envid == path.envid);
  POSTERN_CHECK(again.auth == path.auth && again.notify == path.notify);
  POSTERN_CHECK(again.orcpt == path.orcpt);
  POSTERN_CHECK(Print(prefix, again) == line);
}

}  // namespace

// Input: one line without its end. A relay parses no path of a line with control characters.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView line(reinterpret_cast<const char*>(data), size);
  const proto::SmtpCommand command = proto::ParseSmtpCommand(line);
  POSTERN_CHECK(command.args.size() <= line.size() && !HasOuterBlanks(command.args));
  const SmtpPath mail = proto::ParseMailArgs(command.args);
  const SmtpPath rcpt = proto::ParseRcptArgs(command.args);
  POSTERN_CHECK(mail.error != SmtpPath::Error::kNone || rcpt.error != SmtpPath::Error::kNone);
  if (!command.has_control && mail.error == SmtpPath::Error::kNone)
    CheckPath("FROM:", mail, proto::ParseMailArgs);
  if (!command.has_control && rcpt.error == SmtpPath::Error::kNone)
    CheckPath("TO:", rcpt, proto::ParseRcptArgs);
  if (proto::IsHelloName(command.args)) POSTERN_CHECK(IsOneLine(command.args));
  std::string xtext = "FROM:<> ENVID=";
  proto::AppendXtext(xtext, line.substr(0, 33));
  POSTERN_CHECK(line.empty() || proto::ParseMailArgs(xtext).error == SmtpPath::Error::kNone);
  return 0;
}
