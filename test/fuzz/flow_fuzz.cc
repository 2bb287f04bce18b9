// flow_fuzz: both sides of a relayed session, in pieces: where a goodbye may be said does not
// depend on how the bytes were cut.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/flow.h"

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "lb/base/check.h"

// Input: a byte of protocol, then runs: a byte whose top bit says the side and whose rest the size.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace postern::proto;
  if (size == 0) return 0;
  const MailProtocol protocol = (data[0] & 1) != 0 ? MailProtocol::kPop3 : MailProtocol::kImap;
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  MailFlow whole(protocol), pieces(protocol);
  while (!rest.empty()) {
    const auto head = static_cast<uint8_t>(rest[0]);
    const size_t run = std::min<size_t>(head & 0x7f, rest.size() - 1);
    const std::string_view bytes = rest.substr(1, run);
    rest.remove_prefix(1 + run);
    if ((head & 0x80) == 0) {
      const FlowVerdict verdict = whole.FromClient(bytes);
      FlowVerdict by_byte = FlowVerdict::kPass;
      for (size_t i = 0; i < bytes.size() && by_byte == FlowVerdict::kPass; ++i)
        by_byte = pieces.FromClient(bytes.substr(i, 1));
      POSTERN_CHECK(verdict == by_byte);
      if (verdict == FlowVerdict::kForbidden) return 0;
    } else {
      whole.FromBackend(bytes);
      for (size_t i = 0; i < bytes.size(); ++i) pieces.FromBackend(bytes.substr(i, 1));
    }
    POSTERN_CHECK(whole.num_commands() == pieces.num_commands());
    POSTERN_CHECK(whole.has_quit() == pieces.has_quit());
    // POP3's end of an answer is looked for at the end of what has come: it holds for backends that
    // speak only when asked.
    if (protocol == MailProtocol::kPop3) continue;
    POSTERN_CHECK(whole.is_safe() == pieces.is_safe());
    POSTERN_CHECK(whole.Goodbye(Farewell::kDrain) == pieces.Goodbye(Farewell::kDrain));
    POSTERN_CHECK(whole.TakeCompleted() == pieces.TakeCompleted());
  }
  return 0;
}
