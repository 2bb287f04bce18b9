// dialogue: a client's side of one conversation with a mail server, as the driver of a delivery
// probe's legs (dialogue_leg) sees it.
//
// Pure: bytes in, bytes out, appended to `out` (they may hold credentials). The owner gives an
// order, and the dialogue says kTurn when it is carried out and kOver when it has ended.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "lb/base/address.h"
#include "lb/base/bytes.h"
#include "lb/base/end_cause.h"

namespace postern::health {

struct DialogueFault {
  base::Phase phase = base::Phase::kConnect;
  base::FaultKind kind = base::FaultKind::kProtocol;
  std::string why;  // may hold the server's words
  // The server is at fault before it was asked for anything: another one may do better.
  [[nodiscard]] bool is_early() const {
    return phase == base::Phase::kConnect || phase == base::Phase::kTls ||
           phase == base::Phase::kGreeting || phase == base::Phase::kHello;
  }
};

class Dialogue {
 public:
  enum class Want : uint8_t {
    kBytes,     // Next again: at once if something was consumed, else when more has come
    kStartTls,  // send what is there, then the handshake, then OnTls; there is no input left
    kTurn,      // the order is carried out; Next again as after kBytes
    kOver,      // send what is there, and close
  };
  struct Step {
    size_t consumed = 0;
    Want want = Want::kBytes;
  };
  virtual ~Dialogue() = default;
  // The ends of the connection.
  struct Ends {
    base::SocketAddress local, peer;
  };
  [[nodiscard]] virtual Step OnConnected(const Ends& ends, std::string& out) = 0;
  [[nodiscard]] virtual Step OnTls(std::string& out) = 0;
  [[nodiscard]] virtual Step Next(base::ByteView input, std::string& out) = 0;
  // A deadline has passed, or the connection is gone: what is to be said still, if anything.
  virtual void Farewell(std::string& out) = 0;

  [[nodiscard]] virtual base::Phase phase() const = 0;
  // Why it is over, where that is not as it should be.
  [[nodiscard]] const std::optional<DialogueFault>& fault() const { return fault_; }

 protected:
  Step Fail(base::Phase phase, base::FaultKind kind, std::string why, size_t consumed = 0) {
    if (!fault_) fault_ = DialogueFault{phase, kind, std::move(why)};
    return {consumed, Want::kOver};
  }
  std::optional<DialogueFault> fault_;
};

}  // namespace postern::health
