// ldap_wire_fuzz: any bytes as what postern and its helper say: no crash, any cut gives the same
// frames, and what is read is written again as it was.
// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lb/base/check.h"
#include "lb/directory/ldap_filter.h"
#include "lb/directory/ldap_wire.h"

namespace {

namespace directory = postern::directory;

struct Outcome {
  std::vector<std::string> contents;
  bool is_broken = false;
};

Outcome Read(std::string_view text, size_t piece_bytes) {
  directory::LdapFrames frames;
  Outcome outcome;
  for (size_t at = 0; at < text.size(); at += piece_bytes) {
    frames.Feed(text.substr(at, piece_bytes));
    while (const auto content = frames.Next()) outcome.contents.emplace_back(*content);
  }
  outcome.is_broken = frames.is_broken();
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Outcome whole = Read(text, text.size() + 1);
  const Outcome cut = Read(text, 1 + data[0] / 2U);
  POSTERN_CHECK(whole.contents == cut.contents && whole.is_broken == cut.is_broken);
  for (const std::string& content : whole.contents) {
    POSTERN_CHECK(!content.empty() && content.size() <= directory::kMaxFrameBytes);
    if (const auto settings = directory::ParseLdapSettings(content)) {
      POSTERN_CHECK(!settings->urls.empty());
      POSTERN_CHECK(directory::ToFrame(*settings).substr(4) == content);
    }
    if (const auto question = directory::ParseLdapQuestion(content))
      POSTERN_CHECK(directory::ToFrame(*question).substr(4) == content);
    if (const auto reply = directory::ParseLdapReply(content))
      POSTERN_CHECK(directory::ToFrame(*reply).substr(4) == content);
  }
  const std::string escaped = directory::EscapeLdapValue(text);
  POSTERN_CHECK(escaped.find_first_of("*()") == std::string::npos);
  for (const char c : escaped) POSTERN_CHECK(c >= 0x20 && c < 0x7f);
  return 0;
}
