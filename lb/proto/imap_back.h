// imap_back: IMAP's client role towards a backend, from its greeting to the login.
//
// A ladder: greeting, [CAPABILITY, STARTTLS,] CAPABILITY, [ID,] login; for a probe LOGOUT instead,
// for a check with a login SELECT and LOGOUT behind it.
// One command at a time: some servers lose what is pipelined here.
// Rules:    RFC 9051 7.1.5 and 6.1 (BYE or PREAUTH is no greeting for us), 6.2.1 (what was learned
//           in clear is forgotten, bytes behind the go-ahead are an attack), RFC 4959 (an initial
//           response only where SASL-IR is announced), RFC 2971 (ID, where announced); no login in
//           clear against LOGINDISABLED. An answer that was there before its command is a fault of
//           the backend, as are [UNAVAILABLE], [SERVERBUG], [INUSE] and BYE; any other NO is its
//           verdict on the login.
// Owner:    one MailSession, or a probe.   Thread: its loop's.
// Limits:   BackPlan.
// Tests:    test/dialogue/imap/, test/fuzz/imap_back_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "lb/proto/back_base.h"
#include "lb/proto/imap_grammar.h"

namespace postern::proto {

class ImapBack final : public BackBase {
 public:
  explicit ImapBack(const BackPlan& plan) : BackBase(plan) {}
  [[nodiscard]] base::Phase phase() const override;

 private:
  enum class State : uint8_t {
    kGreeting,
    kCapability,
    kStartTls,
    kHandshake,
    kId,
    kAuthenticate,  // SASL exchange
    kLogin,         // LOGIN command, with or without literals
    kSelect,        // check
    kLogout,        // probe, check
  };
  struct StateRow;
  static const StateRow kStates[];

  Maybe TakeLine(base::ByteView line, base::ByteView behind) override;
  BackEvent ContinueInTls() override;
  void Answered() override {}

  Maybe TakeUntagged(const ImapReply& reply);
  Maybe TakeContinue(const ImapReply& reply);
  Maybe TakeTagged(const ImapReply& reply, base::ByteView behind);
  BackEvent TakeLoginResult(const ImapReply& reply);

  // The next rung of the ladder.
  BackEvent Climb();
  BackEvent Command(State state, std::initializer_list<base::ByteView> parts);
  BackEvent SendId();
  BackEvent StartLogin();
  BackEvent StartAuthenticate(Mechanism mechanism);
  BackEvent StartLoginCommand();
  void SetState(State state);

  State state_ = State::kGreeting;
  uint32_t num_commands_ = 0;
  std::string tag_;
  bool has_asked_ = false;  // CAPABILITY, on this leg as it is now
  bool is_id_done_ = false;
  bool is_tail_ = false;  // the next line goes on behind a literal
  bool is_cancelled_ = false;
  std::optional<SaslClient> sasl_;
  std::vector<base::Secret> pieces_;  // of LOGIN, each after a "+"; the last first
  std::string login_capabilities_;    // untagged, during the login
};

}  // namespace postern::proto
