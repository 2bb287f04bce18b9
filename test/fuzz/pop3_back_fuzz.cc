// pop3_back_fuzz: any bytes of a backend, to POP3's back machine.
// SPDX-License-Identifier: Apache-2.0
#include "test/fuzz/back_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  postern::fuzz::FuzzBack(postern::proto::MailProtocol::kPop3, data, size);
  return 0;
}
