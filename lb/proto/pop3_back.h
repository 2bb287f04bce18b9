// pop3_back: POP3's client role towards a backend, from its greeting to the login.
//
// A ladder: greeting, [CAPA, STLS,] CAPA, [XCLIENT,] login; for a probe QUIT instead, for a check
// with a login STAT and QUIT behind it.
// Rules:    RFC 1939 4, RFC 2449 (CAPA; a server without it has USER), RFC 2595 4 (STLS: what was
//           learned in clear is forgotten, bytes behind the go-ahead are an attack), RFC 5034
//           (AUTH; an initial response only in a line of 255 bytes). XCLIENT only where the
//           greeting offers it. An answer that was there before its command is none: a fault, as
//           is [SYS/TEMP]; any other -ERR is the backend's verdict on the login.
// Owner:    one MailSession, or a probe.   Thread: its loop's.
// Limits:   BackPlan.
// Tests:    test/dialogue/pop3/, test/fuzz/pop3_back_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "lb/proto/back_base.h"
#include "lb/proto/pop3_grammar.h"

namespace postern::proto {

class Pop3Back final : public BackBase {
 public:
  explicit Pop3Back(const BackPlan& plan) : BackBase(plan) {}
  [[nodiscard]] base::Phase phase() const override;

 private:
  enum class State : uint8_t {
    kGreeting,
    kCapa,      // its first line
    kCapaList,  // the lines up to "."
    kStls,
    kHandshake,
    kXclient,
    kUser,
    kPass,
    kAuth,  // SASL exchange
    kStat,  // check
    kQuit,  // probe, check
  };
  struct StateRow;
  static const StateRow kStates[];

  Maybe TakeLine(base::ByteView line, base::ByteView behind) override;
  BackEvent ContinueInTls() override;
  void Answered() override {}

  Maybe TakeGreeting(const Pop3Reply& reply);
  Maybe TakeCapaLine(base::ByteView line);
  BackEvent TakeChallenge(const Pop3Reply& reply);
  BackEvent TakeLoginResult(const Pop3Reply& reply);
  BackEvent TakeRefusal(const Pop3Reply& reply);

  // The next rung of the ladder.
  BackEvent Climb();
  BackEvent Command(State state, base::Secret line);
  BackEvent SendXclient();
  BackEvent StartLogin();
  BackEvent StartAuth(Mechanism mechanism);
  void SetState(State state);

  State state_ = State::kGreeting;
  bool has_asked_ = false;    // CAPA, on this leg as it is now
  bool has_xclient_ = false;  // the greeting offers it
  bool is_xclient_done_ = false;
  bool is_cancelled_ = false;
  Capabilities gathered_;
  std::optional<SaslClient> sasl_;
};

}  // namespace postern::proto
