// smtp_dialogue: runs a dialogue of SMTP, a script that a mail administrator can read, against a
// relay between a client and fake backends, and says where it went otherwise than written.
//
// One word or sign at the start of a line says what it is (all others are errors):
//   # comment
//   config KEY=VALUE ...           test/README.md lists the keys
//   home RECIPIENT = B1 B2         or: reject REPLY, tempfail REPLY, unknown, blocked;
//                                  without RECIPIENT: of everybody else
//   relay RECIPIENT = B5           takes the transaction with others, where this one is the first
//   B1 announces KEYWORD, ...      B1 wants starttls|implicit; B1 gets xclient|proxy-v1
//   B1 answers COMMAND: REPLY      lines of a reply are joined by " / ", replies to the same
//                                  command, one after the other, by " | "; also hang, die, usual;
//                                  GREETING, TEXT (within the text) and "." are commands too
//   B1 refuses | hangs | opens     what happens to who connects
//   B1 stops | goes on             taking bytes
//   B1 dies                        its connection is lost
//   B1: LINE                       it says this now
//   B1 got LINE                    the next line that it was sent
//   B1 holds N                     it has that many messages
//   B1 text TEXT                   of the last one
//   C: LINE                        the client's line; C> text the same without CRLF
//   P: LINE / LINE                 Postern's next lines, exactly; "..." at the end is any rest
//   tls, eof, lost, drain, +30s    what happens
//   expect end KEY=VALUE ...       side, kind, phase; expect open; expect log REPLY (in the account
//                                  of the last transaction)
// Text may hold \r \n \0 \t \\ \xNN, and {N*text} repeats. What Postern says and nobody expects is
// an error at the next line of the client's, and at the end.
// Every dialogue runs whole, byte by byte and in seeded cuts ("config cuts=whole" where it cannot).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace postern::test {

// Empty: it went as written. Else "line N: ...", with what was said instead.
[[nodiscard]] std::string RunSmtpDialogue(std::string_view script);

}  // namespace postern::test
