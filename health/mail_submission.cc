// mail_submission: one message to one SMTP server.
// SPDX-License-Identifier: Apache-2.0
#include "health/mail_submission.h"

#include <algorithm>
#include <utility>

namespace postern::health {

using base::FaultKind;
using base::Phase;
using proto::SmtpBack;

namespace {

constexpr Phase PhaseOf(int state) {
  constexpr Phase kPhases[] = {Phase::kHello,     Phase::kMail,    Phase::kRcpt,   Phase::kData,
                               Phase::kDataReply, Phase::kCommand, Phase::kCommand};
  return kPhases[state];
}

}  // namespace

Phase MailSubmission::phase() const {
  if (state_ == State::kLadder) return ladder_ ? ladder_->phase() : Phase::kConnect;
  return PhaseOf(static_cast<int>(state_));
}

Dialogue::Step MailSubmission::OnConnected(const Ends& ends, std::string& out) {
  proto::SmtpBackSettings settings;
  settings.tls = plan_.tls;
  settings.client_address = plan_.client_address;
  if (base::AnyContains(plan_.proxy_expected_from, ends.local.ip))
    settings.client_address = conf::ClientAddress::kProxyV2;
  settings.own_name = plan_.hello;
  settings.is_probe = true;
  settings.client = ends.local;
  settings.local = ends.peer;
  if (plan_.login) {
    settings.login = &*plan_.login;
    settings.login_user = plan_.login->user;
  }
  ladder_.emplace(std::move(settings));
  return TakeLadder(ladder_->OnConnected(out), out);
}

Dialogue::Step MailSubmission::OnTls(std::string& out) {
  return TakeLadder(ladder_->OnTls(out), out);
}

Dialogue::Step MailSubmission::Next(base::ByteView input, std::string& out) {
  if (state_ == State::kLadder) return TakeLadder(ladder_->Next(input, out), out);
  if (state_ == State::kOver) return {0, Want::kOver};
  const proto::SmtpReplyReader::Result result = replies_.Next(input);
  if (result.status == proto::SmtpReplyReader::Status::kNeedBytes) return {};
  if (result.status == proto::SmtpReplyReader::Status::kBad) {
    if (is_accepted_) return {0, Want::kOver};
    const Phase phase_of_fault = phase();
    state_ = State::kOver;
    return Fail(phase_of_fault, FaultKind::kProtocol, "what it says is no SMTP reply");
  }
  Step step = TakeReply(result.reply, out);
  step.consumed = result.consumed;
  return step;
}

Dialogue::Step MailSubmission::TakeLadder(SmtpBack::Step step, std::string& out) {
  switch (step.event) {
    case SmtpBack::Event::kWait:
      return {step.consumed, Want::kBytes};
    case SmtpBack::Event::kStartTls:
      return {step.consumed, Want::kStartTls};
    case SmtpBack::Event::kReady:
      state_ = State::kMail;
      out.append("MAIL FROM:<").append(plan_.from).append(">\r\n");
      return {step.consumed, Want::kBytes};
    case SmtpBack::Event::kFailed:
      state_ = State::kOver;
      out += "QUIT\r\n";
      return Fail(ladder_->fault().phase, ladder_->fault().kind, ladder_->fault().why,
                  step.consumed);
    case SmtpBack::Event::kNeedName:  // only for XCLIENT, which a probe does not use
      break;
  }
  state_ = State::kOver;
  return Fail(Phase::kHello, FaultKind::kProtocol, "it wants a client's name");
}

Dialogue::Step MailSubmission::TakeReply(const proto::SmtpReply& reply, std::string& out) {
  switch (state_) {
    case State::kMail:
      if (!reply.is_ok()) return Refused(reply, out);
      state_ = State::kRcpt;
      out.append("RCPT TO:<").append(plan_.to).append(">");
      if (ladder_->extensions().dsn) out += " NOTIFY=NEVER";
      out += "\r\n";
      return {};
    case State::kRcpt:
      if (!reply.is_ok()) return Refused(reply, out);
      state_ = State::kData;
      out += "DATA\r\n";
      return {};
    case State::kData:
      if (reply.code != 354) return Refused(reply, out);
      state_ = State::kText;
      is_sent_ = true;
      for (size_t at = 0; at < plan_.text.size();) {
        const size_t end = std::min(plan_.text.find("\r\n", at), plan_.text.size() - 2) + 2;
        if (plan_.text[at] == '.') out += '.';
        out.append(plan_.text, at, end - at);
        at = end;
      }
      out += ".\r\n";
      return {};
    case State::kText:
      if (!reply.is_ok()) return Refused(reply, out);
      is_accepted_ = true;
      state_ = State::kQuit;
      out += "QUIT\r\n";
      return {0, Want::kTurn};
    case State::kQuit:
      state_ = State::kOver;
      return {0, Want::kOver};
    case State::kLadder:
    case State::kOver:
      break;
  }
  return {0, Want::kOver};
}

Dialogue::Step MailSubmission::Refused(const proto::SmtpReply& reply, std::string& out) {
  const Phase phase_of_fault = phase();
  state_ = State::kOver;
  out += "QUIT\r\n";
  return Fail(phase_of_fault, FaultKind::kTempfail, proto::OneLine(reply.lines));
}

void MailSubmission::Farewell(std::string& out) {
  // Between DATA's go-ahead and the last dot, and before TLS is up, nothing would be understood.
  const bool can_hear = state_ == State::kMail || state_ == State::kRcpt || state_ == State::kData;
  if (can_hear) out += "QUIT\r\n";
  state_ = State::kOver;
}

}  // namespace postern::health
