// pop3_front_fuzz: any bytes of a client, to POP3's front machine.
// SPDX-License-Identifier: Apache-2.0
#include "test/fuzz/front_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  postern::fuzz::FuzzFront(postern::proto::MailProtocol::kPop3, data, size);
  return 0;
}
