// server_dial: from a server of a directory to an open stream: its addresses in turn, then TLS.
//
// Does not: watch the time; its owner does, and calls GiveUp().
// Owner:    whoever asks the server; destroyed means that nothing is reported any more. Calls out
//           only when it holds no stream any more, so it can be destroyed at any time.
// Thread:   its loop's.
// Tests:    test/directory/auth_http_test.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "lb/directory/servers.h"
#include "lb/io/dialer.h"
#include "lb/io/loop.h"
#include "lb/io/stream.h"

namespace postern::directory {

// TLS from the first octet, where it is wanted.
struct DialTls {
  const io::TlsSettings* settings = nullptr;  // null: in clear; outlives the stream
  std::string server_name{};
};

class ServerDial final : private io::Stream::Observer, private Servers::Waiter {
 public:
  // stream: open, to be observed by its new owner, whom nothing was told yet (there may be input);
  // null: there is none, why, and who is to blame.
  using Done =
      std::function<void(std::unique_ptr<io::Stream> stream, const std::string& why, Blame blame)>;

  ServerDial(io::Loop& loop, io::Dialer& dialer, Servers& servers, uint32_t server, DialTls tls,
             Done done);
  ~ServerDial();
  // `done` is called once, later, and may destroy this.
  void Start();
  // It has lasted too long: why there is no stream yet. The next dial begins with the next address.
  [[nodiscard]] std::string_view GiveUp();

 private:
  void OnStream(io::Stream& stream, io::Stream::Event event) override;
  void OnResolved() override { Dial(); }
  void Dial();
  void OnEnd();
  void Report(const std::string& why, Blame blame = Blame::kServer);

  io::Loop& loop_;
  io::Dialer& dialer_;
  Servers& servers_;
  const uint32_t server_;
  const DialTls tls_;
  Done done_;
  std::unique_ptr<io::Stream> stream_;
  size_t num_dials_ = 0;
  bool is_connected_ = false;
};

// Closes a stream, from within its own event too: it goes when the loop is free.
void Drop(io::Loop& loop, std::unique_ptr<io::Stream> stream);

}  // namespace postern::directory
