// smtp_login: AUTH on a submission listener: the client's exchange, the login at its home, and
// refusals that tell nothing.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "lb/proto/smtp_relay.h"

namespace postern::proto {

using base::ByteView;
using base::SessionResult;

void SmtpRelay::Auth(ByteView args) {
  if (!settings_.is_submission) return Bad(SmtpText::kNotImplemented);
  if (is_logged_in_) return Bad(SmtpText::kAuthTwice);
  if (mail_.stage != Stage::kNone) return Bad(SmtpText::kAuthInMail);
  if (settings_.auth_requires_tls && !has_tls_) return Bad(SmtpText::kAuthEncryption);
  if (hello_.empty()) return Bad(SmtpText::kHelloFirst);
  const size_t blank = args.find(' ');
  const std::optional<Mechanism> mechanism = FindMechanism(args.substr(0, blank));
  const bool is_offered = mechanism &&
                          (*mechanism != Mechanism::kXoauth2 || settings_.offers_xoauth2) &&
                          (*mechanism != Mechanism::kOauthBearer || settings_.offers_oauthbearer);
  if (!is_offered) return Bad(SmtpText::kAuthUnknown);
  std::optional<ByteView> initial;
  if (blank != ByteView::npos) {
    initial = args.substr(std::min(args.find_first_not_of(' ', blank), args.size()));
    if (initial->find(' ') != ByteView::npos) return Bad(SmtpText::kAuthSyntax);
  }
  mechanism_ = *mechanism;
  sasl_ = std::make_unique<SaslServer>();
  TakeSasl(sasl_->Start(mechanism_, initial));
}

void SmtpRelay::SaslLine(ByteView line) {
  front_ = Front::kCommand;
  if (sasl_ == nullptr) {
    // The word after a failure challenge; whatever it is, the login has failed.
    challenge_.clear();
    return SayRefusal();
  }
  TakeSasl(sasl_->Next(line));
}

void SmtpRelay::TakeSasl(SaslServer::Outcome outcome) {
  switch (outcome) {
    case SaslServer::Outcome::kChallenge:
      replies_.SayPart("334 ");
      replies_.SayPart(sasl_->challenge());
      replies_.SayPart("\r\n");
      front_ = Front::kSasl;
      return;
    case SaslServer::Outcome::kDone:
      login_ = std::make_unique<LoginRequest>(sasl_->TakeRequest());
      sasl_.reset();
      password_came_ = now_;
      wait_ = Wait::kRoute;
      actions_.emplace_back(AskRoute{AskRoute::By::kUser, login_->user});
      return;
    case SaslServer::Outcome::kRefused:
      sasl_.reset();
      password_came_ = now_;
      login_ = std::make_unique<LoginRequest>();
      return RefuseLogin(SmtpReports::Login::kBadCredentials);
    case SaslServer::Outcome::kMalformed:
      sasl_.reset();
      return Bad(SmtpText::kAuthSyntax);
    case SaslServer::Outcome::kCancelled:
      sasl_.reset();
      reports_.OnLogin(mechanism_, {}, SmtpReports::Login::kAborted);
      return Say(SmtpText::kAuthCancelled);
  }
}

void SmtpRelay::OnLoginRoute(const RouteAnswer& answer) {
  switch (answer.kind) {
    case RouteAnswer::Kind::kHome:
      CloseLeg(DropLeg::How::kGently);
      work_ = Work::kLogin;
      wait_ = Wait::kLogin;
      homes_.assign(1, answer.home);
      tried_.clear();
      search_began_ = now_;
      return OpenAnother();
    case RouteAnswer::Kind::kReject:
    case RouteAnswer::Kind::kUnknown:
      return RefuseLogin(SmtpReports::Login::kBadCredentials);
    case RouteAnswer::Kind::kRefused: {
      LoginRefusal refusal;
      if (!answer.text.empty()) refusal.reply = std::string(answer.text) + "\r\n";
      if (answer.text.starts_with('4'))
        return FailLogin(refusal.reply,
                         std::max(settings_.timeouts.auth_failure_delay, answer.refusal_wait));
      refusal.wait = answer.refusal_wait;
      return RefuseLogin(SmtpReports::Login::kBadCredentials, std::move(refusal));
    }
    case RouteAnswer::Kind::kBlocked:
      return RefuseLogin(SmtpReports::Login::kBlocked);
    case RouteAnswer::Kind::kTempFail:
      // By a rule, which has its words, it is a refusal; else a directory fails.
      return FailLogin(Line(SmtpText::kAuthTempFail), answer.text.empty()
                                                          ? base::Duration::zero()
                                                          : settings_.timeouts.auth_failure_delay);
  }
}

// A leg that was opened for the login cannot be used.
void SmtpRelay::OnLoginFault(SmtpLegFault fault, EndpointRef endpoint) {
  switch (fault.meaning) {
    case SmtpLegFault::Meaning::kRefusal:
      if (!settings_.pass_refusal_text) fault.reply.clear();
      return RefuseLogin(SmtpReports::Login::kBadCredentials,
                         {std::move(fault.reply), std::move(fault.challenge), {}});
    case SmtpLegFault::Meaning::kVerdict:
      return FailLogin(fault.reply);
    case SmtpLegFault::Meaning::kFault:
      break;
  }
  tried_.push_back(endpoint);
  reports_.OnMoved(SmtpReports::Moved::kBeforeEnvelope, fault.kind);
  OpenAnother();
}

void SmtpRelay::LoginOk() {
  work_ = Work::kNone;
  wait_ = Wait::kNothing;
  is_logged_in_ = true;
  stays_ = leg_.facts.reauth == conf::Reauth::kNever;
  if (stays_ || !leg_.facts.keeps_credentials) {
    login_->password.Wipe();
    login_->message.Wipe();
  }
  login_deadline_ = kNever;
  must_restart_clock_ = true;
  reports_.OnLogin(mechanism_, login_->user, SmtpReports::Login::kOk);
  reports_.OnCommand(SmtpVerb::kAuth, now_ - password_came_);
  Say(SmtpText::kLoggedIn);
}

// Nobody can say now whether the login is good.
void SmtpRelay::FailLogin(ByteView reply, base::Duration wait) {
  work_ = Work::kNone;
  reports_.OnLogin(mechanism_, login_->user, SmtpReports::Login::kTempFailure);
  reports_.OnCommand(SmtpVerb::kAuth, now_ - password_came_);
  login_.reset();
  refusal_ = reply;
  challenge_.clear();
  RefuseAfter(wait);
}

// A wrong password, an unknown user and a user without a home read alike and come alike.
void SmtpRelay::RefuseLogin(SmtpReports::Login result, LoginRefusal refusal) {
  work_ = Work::kNone;
  reports_.OnLogin(mechanism_, login_->user, result);
  reports_.OnCommand(SmtpVerb::kAuth, now_ - password_came_);
  login_.reset();
  ++num_auth_failures_;
  refusal_ =
      refusal.reply.empty() ? std::string(Line(SmtpText::kAuthRefused)) : std::move(refusal.reply);
  challenge_ = std::move(refusal.challenge);
  RefuseAfter(std::max(settings_.timeouts.auth_failure_delay, refusal.wait));
}

void SmtpRelay::RefuseAfter(base::Duration wait) {
  wait_ = Wait::kRefusal;
  refusal_due_ = password_came_ + wait;
  if (refusal_due_ <= now_) SayRefusal();
}

void SmtpRelay::SayRefusal() {
  refusal_due_ = kNever;
  wait_ = Wait::kNothing;
  must_restart_clock_ = true;
  if (!challenge_.empty()) {
    replies_.SayPart("334 ");
    replies_.SayPart(challenge_);
    replies_.SayPart("\r\n");
    front_ = Front::kSasl;  // one line more, then the refusal
    return;
  }
  Say(refusal_);
  if (num_auth_failures_ >= settings_.limits.auth_failures)
    SayGoodbye(SmtpText::kTooManyFailures, SessionResult::kLimit, "too many failed logins");
}

}  // namespace postern::proto
