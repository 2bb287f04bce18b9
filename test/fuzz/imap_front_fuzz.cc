// imap_front_fuzz: any bytes of a client, to IMAP's front machine.
// SPDX-License-Identifier: Apache-2.0
#include "test/fuzz/front_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  postern::fuzz::FuzzFront(postern::proto::MailProtocol::kImap, data, size);
  return 0;
}
