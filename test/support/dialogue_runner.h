// dialogue_runner: runs a dialogue, a script that a mail administrator can read, against one of
// the protocol machines, and says where it went otherwise than written.
//
// One word or sign at the start of a line says what it is (all others are errors):
//   # comment                      config KEY=VALUE ...  (a comma in a value stands for a blank)
//   C: text   the client's (B: a backend's) line; C> text the same without CRLF; both may hold
//             \r \n \0 \t \\ \xNN, and {N*text} repeats
//   P: text   Postern's line, exactly; "..." at the end stands for any rest
//   tls       Postern wants TLS now, and it comes up
//   expire | drain | kill RESULT       what happens to it
//   end RESULT [PHASE]                 Ended
// Front machines (imap-front, pop3-front):
//   login MECHANISM|USER|PASSWORD      it asks; the password of a token mechanism is its message
//   unusable MECHANISM                 it asks, but for something that may not reach a backend
//   aborted MECHANISM
//   ok CAPABILITIES|TEXT, refused CODE|TEXT, unavailable, challenge BASE64    the driver's answers
//   response LINE                      the client's answer to a challenge
//   handover LEFT                      it is done, LEFT is still in the input
// Back machines (imap-back, pop3-back):
//   challenge BASE64                   it passes one on; "answer LINE" is what the client says
//   in CAPABILITIES|TEXT               logged in
//   refused CODE|bad, refused CODE|other
//   failed KIND PHASE
//   learned CAPABILITY, CAPABILITY...  what it knows by now ("learned" alone: nothing)
//   client-bytes yes|no                whether the backend has got anything that the client chose
//   left BYTES                         what it has left in the input
//
// Keys of config: tls=none|starttls|implicit; cuts; front: capabilities auth_requires_tls xoauth2
// oauthbearer pass_refusal_text line sasl_line literal bad_commands auth_failures; back:
// login=PLAIN| XOAUTH2|...|probe user password identity known ("_" in it stands for a blank) line
// lines.
//
// Every dialogue runs whole, byte by byte and in seeded cuts ("config cuts=whole" where it cannot:
// bytes behind STARTTLS), and after its end the laws of machine.h are checked.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace postern::test {

// Empty: it went as written. Else "line N: ...", with what was said instead.
[[nodiscard]] std::string RunDialogue(std::string_view script);
// Of a file.
[[nodiscard]] std::string RunDialogueFile(const std::string& path);

// Escapes as in scripts: back and forth.
[[nodiscard]] std::string Unescape(std::string_view text);
[[nodiscard]] std::string Escape(std::string_view bytes);

}  // namespace postern::test
