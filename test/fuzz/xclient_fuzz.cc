// xclient_fuzz: whatever a client calls itself, XCLIENT says one address, last, in lines of 512.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "lb/base/check.h"
#include "lb/proto/xclient.h"

namespace {

std::string_view TakeField(std::string_view& input) {
  if (input.empty()) return {};
  const size_t size = std::min<size_t>(static_cast<unsigned char>(input[0]) * 4U, input.size() - 1);
  const std::string_view field = input.substr(1, size);
  input.remove_prefix(1 + size);
  return field;
}

size_t Count(std::string_view text, std::string_view word) {
  size_t count = 0;
  for (size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1))
    ++count;
  return count;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace postern;
  if (size < 3) return 0;
  std::string_view input(reinterpret_cast<const char*>(data) + 3, size - 3);
  proto::XclientFacts facts;
  facts.client = *base::SocketAddress::Parse(data[0] % 2 == 0 ? "192.0.2.7:1" : "[2001:db8::7]:2");
  facts.local = *base::SocketAddress::Parse("192.0.2.1:25");
  facts.is_esmtp = data[0] % 4 < 2;
  facts.name_kind = static_cast<base::PeerName::Kind>(data[1] % 3);
  facts.name = TakeField(input);
  facts.helo = TakeField(input);
  facts.login = TakeField(input);
  std::string all;
  const std::vector<std::string> lines = proto::BuildXclient(facts, data[2]);
  for (const std::string& line : lines) {
    POSTERN_CHECK(line.size() <= 512);
    POSTERN_CHECK(line.substr(0, 8) == "XCLIENT ");
    POSTERN_CHECK(line.find_first_of(std::string_view("\r\n\0", 3)) == line.size() - 2);
    for (const char c : line.substr(0, line.size() - 2)) POSTERN_CHECK(c >= ' ' && c <= '~');
    all += line;
  }
  POSTERN_CHECK(lines.empty() == ((data[2] & proto::kXclientAddr) == 0));
  if (lines.empty()) return 0;
  POSTERN_CHECK(Count(all, " ADDR=") == 1);
  const std::string wanted =
      data[0] % 2 == 0 ? " ADDR=192.0.2.7\r\n" : " ADDR=IPV6:2001:db8::7\r\n";
  POSTERN_CHECK(all.substr(all.size() - wanted.size()) == wanted);
  for (const char* name : {" NAME=", " HELO=", " LOGIN=", " PROTO=", " PORT="})
    POSTERN_CHECK(Count(all, name) <= 1);
  static_cast<void>(proto::ParseXclientAttributes(facts.helo));
  return 0;
}
