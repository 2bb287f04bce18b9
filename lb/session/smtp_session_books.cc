// smtp_session_books: what a SmtpSession tells of itself: load, health, metrics and accounts.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "lb/base/escape.h"
#include "lb/base/log.h"
#include "lb/session/smtp_session.h"

namespace postern::session {
namespace {

using base::SessionResult;
using base::Side;

metrics::Command CommandOf(proto::SmtpVerb verb) {
  switch (verb) {
    case proto::SmtpVerb::kHelo:
    case proto::SmtpVerb::kEhlo:
    case proto::SmtpVerb::kLhlo:
      return metrics::Command::kEhlo;
    case proto::SmtpVerb::kMail:
      return metrics::Command::kMail;
    case proto::SmtpVerb::kRcpt:
      return metrics::Command::kRcpt;
    case proto::SmtpVerb::kData:
      return metrics::Command::kData;
    case proto::SmtpVerb::kRset:
      return metrics::Command::kRset;
    case proto::SmtpVerb::kNoop:
      return metrics::Command::kNoop;
    case proto::SmtpVerb::kVrfy:
      return metrics::Command::kVrfy;
    case proto::SmtpVerb::kAuth:
      return metrics::Command::kAuth;
    case proto::SmtpVerb::kQuit:
      return metrics::Command::kQuit;
    case proto::SmtpVerb::kStartTls:
    case proto::SmtpVerb::kHelp:
    case proto::SmtpVerb::kExpn:
    case proto::SmtpVerb::kEtrn:
    case proto::SmtpVerb::kBdat:
    case proto::SmtpVerb::kXclient:
    case proto::SmtpVerb::kXforward:
    case proto::SmtpVerb::kHttp:
    case proto::SmtpVerb::kUnknown:
      break;
  }
  return metrics::Command::kOther;
}

metrics::AuthResult ResultOf(proto::SmtpReports::Login result) {
  switch (result) {
    case proto::SmtpReports::Login::kOk:
      return metrics::AuthResult::kOk;
    case proto::SmtpReports::Login::kBadCredentials:
      return metrics::AuthResult::kBadCredentials;
    case proto::SmtpReports::Login::kTempFailure:
      return metrics::AuthResult::kTempFailure;
    case proto::SmtpReports::Login::kAborted:
      return metrics::AuthResult::kAborted;
    case proto::SmtpReports::Login::kBlocked:
      return metrics::AuthResult::kBlocked;
  }
  return metrics::AuthResult::kTempFailure;
}

// Are these the keyword lines of that EHLO reply? Without building anything, as it nearly always is
// so.
bool SameKeywords(const std::vector<std::string>& known, base::ByteView lines) {
  size_t index = 0;
  bool is_first = true;
  while (!lines.empty()) {
    const size_t end = lines.find("\r\n");
    const base::ByteView line = lines.substr(0, end);
    lines.remove_prefix(end == base::ByteView::npos ? lines.size() : end + 2);
    if (!is_first && line.size() > 4) {
      if (index == known.size() || known[index] != line.substr(4)) return false;
      ++index;
    }
    is_first = false;
  }
  return index == known.size();
}

}  // namespace

void SmtpSession::SetBusy() {
  if (back_.is_busy) return;
  back_.is_busy = true;
  env_.picker.Started(*back_.state);
  env_.recorder.BackendSessionStarted(back_.slots);
}

void SmtpSession::SetFree(SessionResult result) {
  if (!back_.is_busy) return;
  back_.is_busy = false;
  env_.picker.Ended(*back_.state);
  env_.recorder.BackendSessionEnded(back_.slots, result);
}

void SmtpSession::OnCommand(proto::SmtpVerb verb, base::Duration took) {
  env_.recorder.CommandDone(listener_->conf.protocol, CommandOf(verb), took);
}

void SmtpSession::OnRecipient(Recipient result) {
  metrics::RecipientResult as = metrics::RecipientResult::kRejected;
  if (result == Recipient::kAccepted) as = metrics::RecipientResult::kAccepted;
  if (result == Recipient::kDeferred) as = metrics::RecipientResult::kDeferredOtherHome;
  env_.recorder.SmtpRecipient(listener_->slots, as);
}

void SmtpSession::OnBareNewline() {
  env_.recorder.SmtpBareNewline(listener_->slots);
}

void SmtpSession::OnEarlyTalker() {
  env_.recorder.Rejected(listener_->slots, metrics::RejectReason::kEarlyTalker);
}

void SmtpSession::OnLogin(proto::Mechanism mechanism, const std::string& user, Login result) {
  env_.recorder.Auth(listener_->conf.protocol, static_cast<metrics::Mechanism>(mechanism),
                     ResultOf(result));
  if (!user.empty() && result != Login::kAborted) account_.user = user;
  if (result == Login::kOk) {
    last_fault_.clear();
    has_asked_backend_ = false;
  }
  if (user.empty() || (result != Login::kOk && result != Login::kBadCredentials)) return;
  const std::string key = (parts_ ? parts_ : env_.parts)->user_key->Key(user);
  if (result == Login::kOk) {
    env_.host.AuthSucceeded(client_.client.ip, key);
  } else {
    env_.host.AuthFailed(client_.client.ip, key);
  }
}

void SmtpSession::OnTransaction(const proto::SmtpOutcome& outcome) {
  if (outcome.code != 0 || outcome.is_lost) {
    metrics::ReplyClass reply = metrics::ReplyClass::kLost;
    if (!outcome.is_lost) {
      reply = outcome.code < 300   ? metrics::ReplyClass::k2xx
              : outcome.code < 500 ? metrics::ReplyClass::k4xx
                                   : metrics::ReplyClass::k5xx;
    }
    env_.recorder.SmtpTransaction(listener_->slots, reply);
  }
  metrics::TransactionAccount account;
  account.time = env_.loop.WallNow();
  account.session = client_.session_id;
  account.transaction = outcome.number;
  account.listener = listener_->conf.name;
  account.protocol = listener_->conf.protocol;
  account.client = client_.client;
  account.user = account_.user;
  if (const io::TlsFacts* facts = front_->tls_facts()) {
    account.tls_version = facts->version;
    account.tls_cipher = facts->cipher;
    account.tls_group = facts->group;
  }
  Charge(account);
  if (std::exchange(has_asked_backend_, false)) account.backend = account_.backend;
  account.from = outcome.from;
  account.to = outcome.to;
  account.refused = outcome.refused;
  account.size = outcome.size;
  account.reply = outcome.reply;
  account.queue_id = outcome.queue_id;
  account.phases_ms = outcome.phases_ms;
  account.cause = outcome.cause;
  // A message that came through tells nothing of what was tried before.
  if (outcome.code / 100 != 2) TellFault(account.cause);
  last_fault_.clear();
  account_.phases_ms = outcome.phases_ms;
  account_.transactions = outcome.number;
  env_.accounts.OnTransaction(account);
}

void SmtpSession::Charge(metrics::TransactionAccount& account) {
  // What the client has pipelined behind it counts as the next one's only once it is read.
  const Charged now = {account_.bytes_in + reading_bytes_,
                       account_.bytes_out + relay_.front_output().size(), relay_.num_commands()};
  account.bytes_in = now.bytes_in - std::min(now.bytes_in, charged_.bytes_in);
  account.bytes_out = now.bytes_out - charged_.bytes_out;
  account.commands = now.commands - charged_.commands;
  charged_ = {std::max(now.bytes_in, charged_.bytes_in), now.bytes_out, now.commands};
}

void SmtpSession::LeaveOut() {
  metrics::TransactionAccount nobody_reads_it;
  Charge(nobody_reads_it);
  has_asked_backend_ = false;
  last_fault_.clear();
}

void SmtpSession::OpenBooks() {
  env_.recorder.SessionStarted(listener_->slots);
}

void SmtpSession::CloseBooks(base::EndCause cause) {
  if (const io::TlsFacts* facts = front_->tls_facts()) {
    account_.tls_version = facts->version;
    account_.tls_cipher = facts->cipher;
    account_.tls_group = facts->group;
  } else {
    env_.recorder.PlaintextSession(Side::kFront, listener_->conf.protocol);
  }
  account_.time = env_.loop.WallNow();
  account_.commands = relay_.num_commands();
  TellFault(cause);
  account_.cause = std::move(cause);
  env_.recorder.Bytes(listener_->slots, Side::kFront, metrics::Direction::kIn, account_.bytes_in);
  env_.recorder.Bytes(listener_->slots, Side::kFront, metrics::Direction::kOut, account_.bytes_out);
  env_.recorder.SessionEnded(listener_->slots, account_.cause.result,
                             env_.loop.Now() - client_.accepted);
  env_.accounts.OnSession(account_);
}

void SmtpSession::TellFault(base::EndCause& cause) const {
  if (last_fault_.empty() || cause.why == last_fault_) return;
  if (!cause.why.empty()) cause.why += "; ";
  cause.why += last_fault_;
}

void SmtpSession::OnPhase(proto::LegId leg, base::Phase phase, base::Duration took) {
  if (leg != back_.leg) return;
  env_.recorder.BackendPhase(back_.slots, phase, took);
  const size_t index = balance::TimedIndex(phase);
  if (index == balance::kTimedPhases.size()) return;
  if (back_.is_ladder_done) {
    back_.state->CountPhase(env_.picker.worker(), phase, took);
  } else {
    back_.ladder_s[index] = std::max(back_.ladder_s[index], 0.0) + base::Seconds(took);
  }
}

void SmtpSession::OnLegFault(proto::LegId leg, const proto::SmtpLegFault& fault) {
  if (leg != back_.leg) return;
  last_fault_ = FaultInWords(*back_.endpoint, fault.phase, fault.kind, fault.why);
  if (HasNoSocket()) {
    base::log::Warn("connect_impossible", {{"backend", back_.endpoint->backend->name},
                                           {"why", base::Printable(fault.why, 200)}});
    return;
  }
  env_.recorder.BackendFailure(back_.slots, fault.phase, fault.kind);
  LogFault(*back_.endpoint, fault.phase, fault.kind, fault.why);
  // A word on the client says nothing about the backend.
  if (fault.meaning != proto::SmtpLegFault::Meaning::kFault) return;
  back_.state->WantCheck();
  back_.blame = fault.is_passive ? balance::Picker::Blame::kPassive : balance::Picker::Blame::kNone;
}

void SmtpSession::OnLegReady(proto::LegId leg, base::ByteView ehlo_lines) {
  if (leg != back_.leg) return;
  // A leg of another client's said its phases then, and is in clear or not as it was.
  const bool is_new = !back_.is_ladder_done;
  env_.picker.Succeeded(*back_.endpoint);
  back_.is_ladder_done = true;
  for (size_t i = 0; i < back_.ladder_s.size(); ++i)
    if (back_.ladder_s[i] >= 0)
      back_.state->CountPhase(env_.picker.worker(), balance::kTimedPhases[i],
                              std::chrono::duration_cast<base::Duration>(
                                  std::chrono::duration<double>(back_.ladder_s[i])));
  if (is_new && !back_.stream->in_tls())
    env_.recorder.PlaintextSession(Side::kBack, back_.endpoint->conf->protocol);
  const balance::EndpointFacts* facts = back_.dial->facts();
  if (facts == nullptr || !facts->has_capabilities ||
      !SameKeywords(facts->capabilities, ehlo_lines))
    env_.host.LearnedCapabilities(*back_.endpoint, proto::EhloKeywords(ehlo_lines));
}

void SmtpSession::OnLegBusy(proto::LegId leg) {
  if (leg != back_.leg) return;
  account_.backend = back_.endpoint->backend->name;
  has_asked_backend_ = true;
  SetBusy();
}

void SmtpSession::OnLegIdle(proto::LegId leg) {
  if (leg != back_.leg) return;
  back_.pin.reset();
  SetFree(SessionResult::kClientQuit);
}

// For want of a port, descriptor or memory of our own: no fault of the backend's.
bool SmtpSession::HasNoSocket() const {
  return back_.stream != nullptr && back_.stream->end() == io::StreamEnd::kLocal;
}

void SmtpSession::OnJournalLost(proto::JournalLoss why) {
  static_assert(static_cast<int>(proto::JournalLoss::kDisk) ==
                static_cast<int>(metrics::CopyLoss::kDisk));
  env_.recorder.SmtpCopyLost(static_cast<metrics::CopyLoss>(why));
}

void SmtpSession::OnMoved(Moved moved, base::FaultKind why) {
  if (HasNoSocket()) return;
  if (moved == Moved::kBeforeEnvelope) {
    env_.recorder.Retry(listener_->conf.protocol, why);
  } else {
    env_.recorder.SmtpReplay(why);
  }
}

}  // namespace postern::session
