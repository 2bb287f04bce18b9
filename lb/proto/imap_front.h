// imap_front: IMAP's server role towards a client, from the greeting to the login.
//
// Does not: know backends, routes or passwords' truth; after HandOver it is gone.
// Rules:    RFC 9051 6.1-6.2 (commands before login), RFC 4959 (SASL-IR), RFC 7888 (literals),
//           RFC 2971 (ID, answered here: a client's fields go nowhere), RFC 9051 11.1
//           (LOGINDISABLED). Bytes behind STARTTLS in the same read: refused, and the session ends.
//           What was said in clear is forgotten inside TLS. Capabilities after login come once: as
//           an untagged line to a client that has asked for them since (TLS began), else as the
//           code of the tagged OK.
// Owner:    one MailSession.   Thread: its worker's; no locks.
// Limits:   FrontLimits; memory is bounded by line + 2 x literal.
// Tests:    test/dialogue/imap/, test/fuzz/imap_front_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "lb/proto/front_base.h"
#include "lb/proto/imap_command_reader.h"
#include "lb/proto/imap_grammar.h"
#include "lb/proto/machine.h"
#include "lb/proto/wire_text.h"

namespace postern::proto {

class ImapFront final : public FrontBase {
 public:
  explicit ImapFront(const FrontPlan& plan);

 private:
  struct VerbRow;
  static const VerbRow kVerbs[];
  [[nodiscard]] static const VerbRow* FindVerb(base::ByteView verb);

  FrontStep ReadCommand(base::ByteView input) override;
  void ForgetClear() override { has_asked_capability_ = false; }
  void AppendGreeting() override;
  void AppendLoginOk(const LoggedIn& answer) override;
  void AppendRefusal(const Refusal& refusal) override;
  std::string_view Append(Utterance what) override;
  FrontStep Bad(Utterance what) override;
  [[nodiscard]] bool MayHideCommands(base::ByteView line) const override {
    return MayAnnounceLiteral(line);
  }
  FrontStep EndAtHidden() override { return EndAtStrayLiteral(tag_); }

  FrontStep RunCommand(base::ByteView command, base::ByteView behind);
  // One per verb; what they say is in out_.
  FrontStep RunCapability(const ImapCommandParts& command);
  FrontStep RunNoop(const ImapCommandParts& command);
  FrontStep RunId(const ImapCommandParts& command);
  FrontStep RunLogout(const ImapCommandParts& command);
  FrontStep RunStartTls(const ImapCommandParts& command);
  FrontStep RunLogin(const ImapCommandParts& command);
  FrontStep RunAuthenticate(const ImapCommandParts& command);

  // The refusal of a command that counts against bad_commands.
  FrontStep Bad(base::ByteView tag, ImapText text);
  FrontStep CountBad();
  FrontStep EndAtStrayLiteral(base::ByteView tag);
  FrontStep Say(base::ByteView tag, ImapText text);
  void AppendLine(base::ByteView tag, base::ByteView text);
  void AppendCapabilities();

  ImapCommandReader reader_;
  std::string tag_;  // of the command that is being decided
  bool has_asked_capability_ = false;
  bool has_bytes_behind_ = false;
};

}  // namespace postern::proto
