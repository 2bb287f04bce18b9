// pop3_front: POP3's server role towards a client, from the greeting to the login.
//
// Does not: know backends, routes or passwords' truth; after HandOver it is gone. Offers no APOP:
// its digest needs the clear password here.
// Rules:    RFC 1939 4 (AUTHORIZATION), RFC 2449 (CAPA,
// at any point), RFC 2595 4 (STLS), RFC 5034
//           (AUTH, initial responses), RFC 3206 (codes). Bytes behind STLS in the same read:
//           refused, and the session ends. The USER given in clear is forgotten inside TLS.
// Owner:    one MailSession.   Thread: its worker's; no locks.
// Limits:   FrontLimits; memory is bounded by them.
// Tests:    test/dialogue/pop3/, test/fuzz/pop3_front_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "lb/proto/front_base.h"
#include "lb/proto/machine.h"
#include "lb/proto/pop3_grammar.h"
#include "lb/proto/wire_text.h"

namespace postern::proto {

class Pop3Front final : public FrontBase {
 public:
  explicit Pop3Front(const FrontPlan& plan) : FrontBase(plan) {}

 private:
  struct VerbRow;
  static const VerbRow kVerbs[];

  FrontStep ReadCommand(base::ByteView input) override;
  void ForgetClear() override { user_.clear(); }
  void AppendGreeting() override;
  void AppendLoginOk(const LoggedIn& answer) override;
  void AppendRefusal(const Refusal& refusal) override;
  std::string_view Append(Utterance what) override;
  FrontStep Bad(Utterance what) override;

  FrontStep RunCommand(const Pop3Command& command, bool has_bytes_behind);
  // One per verb; what they say is in out_.
  FrontStep RunCapa(const Pop3Command& command);
  FrontStep RunUser(const Pop3Command& command);
  FrontStep RunPass(const Pop3Command& command);
  FrontStep RunAuth(const Pop3Command& command);
  FrontStep RunStls(const Pop3Command& command);
  FrontStep RunNoop(const Pop3Command& command);
  FrontStep RunQuit(const Pop3Command& command);

  FrontStep Bad(Pop3Text text);  // counts against bad_commands
  FrontStep Say(Pop3Text text);
  void AppendLine(base::ByteView text);

  std::string user_;  // of USER; empty: none
  bool has_bytes_behind_ = false;
};

}  // namespace postern::proto
