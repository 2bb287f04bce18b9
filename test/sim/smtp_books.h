// smtp_books: who has sent what, what was answered, which server has it, and what Postern wrote down
// of it; and whether all that agrees.
//
// Each transaction has a number, which stands in its sender's address, in its text, and in the
// servers' answers to it, so that nothing can be taken for anything else. What must hold:
//   - a message is with one server at most, whole, unchanged, for the recipients whose 250 the
//     client has seen; one that was not finished, or refused, is with none
//   - answered 250: exactly one server has it, and has said so in those words
//   - a server has only mail of those who live there, told by whom and from where it comes
//   - Postern's own books (transactions, recipients, and their counters) say what the client heard
// Owner:    one SmtpRun.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "conf/config.h"
#include "lb/base/clock.h"
#include "metrics/account.h"
#include "test/sim/smtp_choices.h"

namespace postern::test {

struct SmtpSent {
  uint32_t number = 0;
  uint32_t client = 0;  // and user
  std::string client_ip, hello;
  conf::BareNewline bare_newline = conf::BareNewline::kReject;  // of the client's listener
  base::MonoTime home_known{};  // not before: the work that found homes began then
  std::vector<std::string> asked, accepted;
  bool has_begun = false;     // its MAIL was taken
  bool has_heard_all = true;  // of its recipients
  bool is_chunked = false;
  bool is_given_up = false;  // by the client: reset
  bool is_finished = false;  // every octet and the end of it were written
  bool is_too_large = false;
  bool has_bare_newline = false;
  std::string text;  // no dot stuffed
  int code = 0;      // of the reply that ended it; 0: none was heard
  std::string queue_id;
  // Elsewhere.
  int num_copies = 0;
  std::string stored_as;  // queue id
  std::vector<std::string> stored_to, logged_to;
  bool is_logged = false;
  std::string reply;  // and why
  int logged_code = 0;
  bool was_lost = false;

  [[nodiscard]] std::string from() const { return "m" + std::to_string(number) + "@x.example"; }
};

// What a server has taken.
struct SmtpStored {
  int server = 0;
  std::string from, text;  // as it came, dots stuffed by DATA
  std::vector<std::string> to;
  bool is_chunked = false;
  std::string client_ip, hello, user;  // as the server was told; empty: it was not
  std::string queue_id;
};

class SmtpBooks {
 public:
  SmtpBooks(const SmtpChoices& choices, conf::Protocol protocol)
      : choices_(choices), protocol_(protocol) {}

  SmtpSent& Begin();
  void OnConfig(base::MonoTime now, const conf::Config& config);
  void OnStored(const SmtpStored& stored);
  void OnLogged(const metrics::TransactionAccount& account);
  void OnSession(const metrics::SessionAccount& account);
  // Everything is over.
  void Check() const;

  [[nodiscard]] uint32_t num_transactions() const { return static_cast<uint32_t>(sent_.size()); }
  // As the counters must have grown.
  struct Sums {
    uint64_t sessions = 0, ok = 0, refused = 0, put_off = 0, lost = 0, recipients = 0;
  };
  [[nodiscard]] const Sums& sums() const { return sums_; }

 private:
  struct Homes {
    base::MonoTime since;
    conf::Config config;
  };
  [[nodiscard]] SmtpSent* Find(std::string_view from);
  [[nodiscard]] bool MayBeThere(const SmtpSent& sent, const SmtpStored& stored) const;
  [[nodiscard]] bool LivesThere(const conf::Config& config, const SmtpSent& sent,
                                const SmtpStored& stored) const;
  void CheckOne(const SmtpSent& sent) const;

  const SmtpChoices& choices_;
  const conf::Protocol protocol_;
  std::deque<SmtpSent> sent_;  // as they keep their place
  std::vector<Homes> homes_;
  Sums sums_;
};

// The text with a dot put before each line that begins with one, as it goes by DATA; and back.
[[nodiscard]] std::string Dotted(std::string_view text);
[[nodiscard]] std::string Undotted(std::string_view text);
// CRLF for each CR and LF that stands alone.
[[nodiscard]] std::string WithWholeNewlines(std::string_view text);

}  // namespace postern::test
