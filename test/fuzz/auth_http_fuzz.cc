// auth_http_fuzz: any bytes as an answer, and as the parts of a question: no crash, any cut gives
// the same verdict, a verdict keeps its bounds, and no part of a question makes a line of its own.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "lb/base/check.h"
#include "lb/base/escape.h"
#include "lb/directory/auth_http_wire.h"

namespace {

using postern::directory::AuthHttpAnswer;
using postern::directory::AuthHttpQuestion;
using postern::io::LookupAnswer;

AuthHttpAnswer Read(std::string_view text, size_t piece_bytes) {
  AuthHttpAnswer answer;
  for (size_t at = 0; at < text.size(); at += piece_bytes)
    answer.Feed(text.substr(at, piece_bytes));
  const auto before = answer.status();
  answer.End();
  POSTERN_CHECK(answer.status() != AuthHttpAnswer::Status::kMore);
  POSTERN_CHECK(before == AuthHttpAnswer::Status::kMore || before == answer.status());
  return answer;
}

bool IsPrintable(std::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

void CheckAnswer(std::string_view text, size_t piece_bytes) {
  const AuthHttpAnswer whole = Read(text, text.size() + 1);
  const AuthHttpAnswer cut = Read(text, piece_bytes);
  POSTERN_CHECK(whole.status() == cut.status() && whole.error() == cut.error());
  const LookupAnswer& answer = whole.answer();
  POSTERN_CHECK(answer.value == cut.answer().value && answer.user == cut.answer().user &&
                answer.refusal_text == cut.answer().refusal_text);
  if (whole.status() != AuthHttpAnswer::Status::kDone) {
    POSTERN_CHECK(!whole.error().empty() && IsPrintable(whole.error()));
    POSTERN_CHECK(answer.kind == LookupAnswer::Kind::kFailed);
    return;
  }
  POSTERN_CHECK(answer.kind != LookupAnswer::Kind::kUnknown);
  POSTERN_CHECK(answer.value.empty() == (answer.kind != LookupAnswer::Kind::kFound));
  POSTERN_CHECK(answer.refusal_text.empty() == (answer.kind != LookupAnswer::Kind::kRefused));
  POSTERN_CHECK(answer.value.size() < 300 && IsPrintable(answer.value));
  POSTERN_CHECK(answer.user.size() <= AuthHttpAnswer::kMaxUserBytes && IsPrintable(answer.user));
  POSTERN_CHECK(answer.refusal_text.size() <= AuthHttpAnswer::kMaxRefusalBytes &&
                IsPrintable(answer.refusal_text));
  POSTERN_CHECK(answer.refusal_code.size() <= 11 && IsPrintable(answer.refusal_code));
  POSTERN_CHECK(answer.refusal_delay <= AuthHttpAnswer::kLongestWait);
}

void CheckQuestion(std::string_view text) {
  const size_t third = text.size() / 3;
  const postern::base::Secret password(text.substr(0, third));
  postern::io::LoginFacts login;
  login.protocol = "smtp";
  login.mechanism = "none";
  login.password = &password;
  login.user = text.substr(third, third);
  login.hello = text.substr(2 * third);
  login.from = login.to = login.client_name = login.hello;
  const auto question = AuthHttpQuestion({login.hello, &login}, {});
  POSTERN_CHECK(question.ok() == IsPrintable(login.hello));
  if (!question) return;
  const std::string_view lines = question->Reveal();
  // Method, User, Pass, Protocol, Attempt, IP, Host, Helo, From, To, and the end.
  POSTERN_CHECK(std::count(lines.begin(), lines.end(), '\n') == 11);
  POSTERN_CHECK(std::count(lines.begin(), lines.end(), '\r') == 11);
  POSTERN_CHECK(lines.ends_with("\r\n\r\n") && lines.find('\0') == std::string_view::npos);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  CheckAnswer(text, 1 + data[0] / 2U);
  if (text.size() < 10'000) CheckQuestion(text);
  return 0;
}
