// smtp_books: what was sent, and where it is.
// SPDX-License-Identifier: Apache-2.0
#include "test/sim/smtp_books.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

namespace postern::test {
namespace {

// The beginning, for a failure.
std::string Shown(const std::string& text) {
  return "[" + std::to_string(text.size()) + "] " + testing::PrintToString(text.substr(0, 400));
}

std::string Words(const SmtpSent& sent) {
  return "message " + std::to_string(sent.number) + " of client " + std::to_string(sent.client);
}

}  // namespace

std::string Dotted(std::string_view text) {
  std::string made;
  made.reserve(text.size() + 16);
  bool is_start = true;
  for (size_t at = 0; at < text.size(); ++at) {
    if (is_start && text[at] == '.') made += '.';
    made += text[at];
    is_start = text[at] == '\n' && at > 0 && text[at - 1] == '\r';
  }
  return made;
}

std::string Undotted(std::string_view text) {
  std::string made;
  made.reserve(text.size());
  bool is_start = true;
  for (size_t at = 0; at < text.size(); ++at) {
    if (!is_start || text[at] != '.') made += text[at];
    is_start = text[at] == '\n' && at > 0 && text[at - 1] == '\r';
  }
  return made;
}

std::string WithWholeNewlines(std::string_view text) {
  std::string made;
  made.reserve(text.size() + 16);
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\r') {
      made += "\r\n";
      if (at + 1 < text.size() && text[at + 1] == '\n') ++at;
    } else if (text[at] == '\n') {
      made += "\r\n";
    } else {
      made += text[at];
    }
  }
  return made;
}

SmtpSent& SmtpBooks::Begin() {
  SmtpSent& sent = sent_.emplace_back();
  sent.number = static_cast<uint32_t>(sent_.size());
  return sent;
}

void SmtpBooks::OnConfig(base::MonoTime now, const conf::Config& config) {
  homes_.push_back({now, config});
}

SmtpSent* SmtpBooks::Find(std::string_view from) {
  const auto number = static_cast<size_t>(
      from.starts_with('m') ? std::strtoull(std::string(from.substr(1)).c_str(), nullptr, 10) : 0);
  if (number == 0 || number > sent_.size() || sent_[number - 1].from() != from) return nullptr;
  return &sent_[number - 1];
}

// --- at a server ---------------------------------------------------------------------------------

void SmtpBooks::OnStored(const SmtpStored& stored) {
  SmtpSent* const sent = Find(stored.from);
  if (sent == nullptr) {
    ADD_FAILURE() << "nobody has sent this: " << stored.from << " " << Shown(stored.text);
    return;
  }
  EXPECT_EQ(++sent->num_copies, 1) << Words(*sent) << " was sent twice";
  sent->stored_as = stored.queue_id;
  sent->stored_to = stored.to;
  EXPECT_TRUE(sent->is_finished) << Words(*sent) << ": a part of it was completed";
  const bool is_reset = sent->is_given_up;
  EXPECT_FALSE(is_reset) << Words(*sent) << " was given up";
  EXPECT_FALSE(sent->is_too_large) << Words(*sent) << " is too large";
  std::string wanted = sent->text;
  if (sent->has_bare_newline) {
    EXPECT_NE(sent->bare_newline, conf::BareNewline::kReject) << Words(*sent);
    if (sent->bare_newline == conf::BareNewline::kNormalize) wanted = WithWholeNewlines(wanted);
  }
  if (!stored.is_chunked && !wanted.ends_with("\r\n") && !wanted.empty()) wanted += "\r\n";
  const std::string got = stored.is_chunked ? stored.text : Undotted(stored.text);
  // No EXPECT_EQ: it would look for the edits in whole messages.
  EXPECT_TRUE(got == wanted) << Words(*sent) << ": " << Shown(got) << " in place of "
                             << Shown(wanted);
  EXPECT_FALSE(stored.to.empty());
  EXPECT_TRUE(MayBeThere(*sent, stored))
      << Words(*sent) << " for " << testing::PrintToString(stored.to) << " on server "
      << stored.server;
  const SmtpServerChoices& server = choices_.servers[static_cast<size_t>(stored.server - 1)];
  if (server.client_address != conf::ClientAddress::kNone) {
    EXPECT_EQ(stored.client_ip, sent->client_ip) << Words(*sent);
  }
  EXPECT_EQ(stored.hello, sent->hello) << Words(*sent);
  EXPECT_EQ(stored.user,
            protocol_ == conf::Protocol::kSubmission ? "u" + std::to_string(sent->client) : "")
      << Words(*sent);
}

// By one of the configurations that the session may have gone by.
bool SmtpBooks::MayBeThere(const SmtpSent& sent, const SmtpStored& stored) const {
  // Who can log in nowhere else stays where it has.
  const bool stays = protocol_ == conf::Protocol::kSubmission &&
                     choices_.servers[static_cast<size_t>(stored.server - 1)].IsForOneLogin();
  for (size_t i = 0; i < homes_.size(); ++i) {
    const bool is_over = !stays && i + 1 < homes_.size() && homes_[i + 1].since < sent.home_known;
    if (!is_over && LivesThere(homes_[i].config, sent, stored)) return true;
  }
  return false;
}

bool SmtpBooks::LivesThere(const conf::Config& config, const SmtpSent& sent,
                           const SmtpStored& stored) const {
  const ServerSet here = 1U << (stored.server - 1);
  if (protocol_ == conf::Protocol::kSubmission)
    return (HomeOfUser(config, sent.client) & here) != 0;
  ServerSet common = kAllServers;
  for (const std::string& to : stored.to) common &= HomeOf(config, to);
  // Whoever lives elsewhere has moved it, though refused there.
  const auto is_elsewhere = [&](const std::string& to) {
    return !HomeNameOf(to).empty() && HomeNameOf(to) != HomeNameOf(stored.to.front());
  };
  const bool is_mixed = std::any_of(sent.asked.begin(), sent.asked.end(), is_elsewhere);
  return ((common | (is_mixed ? RelayOf(config) : 0)) & here) != 0;
}

// --- what Postern says of it ---------------------------------------------------------------------

void SmtpBooks::OnLogged(const metrics::TransactionAccount& account) {
  SmtpSent* const sent = Find(account.from);
  if (sent == nullptr) {
    ADD_FAILURE() << "nobody has sent what was written down: " << account.from;
    return;
  }
  EXPECT_FALSE(sent->is_logged) << Words(*sent) << " was written down twice";
  sent->is_logged = true;
  sent->logged_code = std::atoi(account.reply.c_str());
  const int code = sent->logged_code;
  sent->was_lost = code == 0 && account.cause.result != base::SessionResult::kClientQuit;
  if (code / 100 == 2) ++sums_.ok;
  if (code / 100 == 4) ++sums_.put_off;
  if (code / 100 == 5) ++sums_.refused;
  if (sent->was_lost) ++sums_.lost;
  sums_.recipients += account.to.size();
  sent->logged_to = account.to;
  sent->reply = account.reply + " " + account.cause.why;
  if (code / 100 != 2) return;
  // The server's own word, and nobody else's, makes it one that was accepted.
  EXPECT_EQ(sent->num_copies, 1) << Words(*sent) << " counts as accepted";
  EXPECT_EQ(account.queue_id, sent->stored_as) << Words(*sent);
}

void SmtpBooks::OnSession(const metrics::SessionAccount&) {
  ++sums_.sessions;
}

void SmtpBooks::Check() const {
  for (const SmtpSent& sent : sent_) CheckOne(sent);
}

void SmtpBooks::CheckOne(const SmtpSent& sent) const {
  if (sent.code / 100 == 2) {
    EXPECT_EQ(sent.num_copies, 1) << Words(sent) << ": 250, and nobody has it";
    EXPECT_EQ(sent.queue_id, sent.stored_as) << Words(sent);
  }
  if (sent.code != 0 && sent.has_begun) {
    EXPECT_TRUE(sent.is_logged) << Words(sent) << " was not written down";
    EXPECT_EQ(sent.logged_code, sent.code) << Words(sent);
    EXPECT_EQ(sent.logged_to, sent.accepted) << Words(sent);
  }
  if (sent.num_copies > 0 && sent.has_heard_all) {
    EXPECT_EQ(sent.stored_to, sent.accepted) << Words(sent);
  }
  // Each of those who were told is among those asked about, once.
  for (const std::vector<std::string>* some : {&sent.stored_to, &sent.logged_to})
    for (const std::string& to : *some)
      EXPECT_EQ(std::count(some->begin(), some->end(), to) *
                    std::count(sent.asked.begin(), sent.asked.end(), to),
                1)
          << Words(sent) << ": " << to;
  if (!choices_.is_quiet || !sent.is_finished || sent.accepted.empty()) return;
  const bool is_refused = sent.has_bare_newline && sent.bare_newline == conf::BareNewline::kReject;
  EXPECT_EQ(sent.code, is_refused ? 550 : 250)
      << Words(sent) << ", where nothing goes wrong: " << sent.reply;
}

}  // namespace postern::test
