// client_hello: the name that a TLS client asks for, read from its first bytes without opening
// anything.
//
// Does not: decrypt, answer or change a byte; what was read goes to the backend as it came.
// Rules:    RFC 8446 5.1 (records, fragments), 4.1.2 (ClientHello); RFC 5246 7.4.1.2 (extensions
//           may be missing); RFC 6066 3 (server_name). A name that two readers could read
//           differently (twice, with bytes behind it, with a NUL) is no name: the hello is invalid.
// Limits:   kMaxClientHelloBytes on the wire, headers of records included.
// Owner:    one TcpSession, until the route is known.   Thread: none; a value.
// Tests:    test/proto/client_hello_test.cc, test/fuzz/client_hello_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "lb/base/bytes.h"

namespace postern::proto {

inline constexpr size_t kMaxClientHelloBytes = 16 << 10;

class ClientHelloReader {
 public:
  enum class Status : uint8_t {
    kNeedMore,
    kDone,     // server_name() holds
    kNotTls,   // another protocol
    kSslV2,    // a hello of SSL 2.0, which has no names
    kTooLong,  // more than kMaxClientHelloBytes
    kInvalid,  // begins like one, and is none
  };

  // input: all that the client has sent, from its first byte; each time the same bytes with more
  // behind them. Looks at each byte once. After anything but kNeedMore the answer stays.
  [[nodiscard]] Status Read(base::ByteView input);

  // As asked for, in lower case; empty: the client has sent none.
  [[nodiscard]] const std::string& server_name() const { return server_name_; }

 private:
  [[nodiscard]] Status GoOn(base::ByteView input);
  [[nodiscard]] Status TakeFragment(base::ByteView fragment);

  Status status_ = Status::kNeedMore;
  size_t num_read_bytes_ = 0;      // of the input
  size_t record_left_bytes_ = 0;   // of the record that is being read
  size_t message_size_bytes_ = 0;  // its header included; 0: not known yet
  std::string message_;            // of the handshake, so far
  std::string server_name_;
};

// In words, for logs; empty for kNeedMore and kDone.
[[nodiscard]] std::string_view Name(ClientHelloReader::Status status);

}  // namespace postern::proto
