// make_session: which protocol has which session; the only place that knows.
// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "lb/base/check.h"
#include "lb/session/lmtp_session.h"
#include "lb/session/mail_session.h"
#include "lb/session/session_env.h"
#include "lb/session/smtp_session.h"
#include "lb/session/tcp_session.h"

namespace postern::session {

std::string_view RefusalLine(conf::Protocol protocol) {
  switch (protocol) {
    case conf::Protocol::kImap:
      return "* BYE too many connections from your address\r\n";
    case conf::Protocol::kPop3:
      return "-ERR [SYS/TEMP] too many connections from your address\r\n";
    case conf::Protocol::kSmtp:
    case conf::Protocol::kSubmission:
    case conf::Protocol::kLmtp:
      return "421 4.7.0 too many connections from your address\r\n";
    case conf::Protocol::kSieve:
      return "BYE \"too many connections from your address\"\r\n";
    case conf::Protocol::kTcp:
      break;
  }
  return "";
}

bool IsServed(conf::Protocol protocol) {
  switch (protocol) {
    case conf::Protocol::kImap:
    case conf::Protocol::kPop3:
    case conf::Protocol::kSmtp:
    case conf::Protocol::kSubmission:
    case conf::Protocol::kLmtp:
    case conf::Protocol::kTcp:
      return true;
    case conf::Protocol::kSieve:
      break;
  }
  return false;
}

std::unique_ptr<Session> MakeSession(SessionEnv& env,
                                     std::shared_ptr<const ListenerSettings> listener,
                                     ClientFacts client, std::unique_ptr<io::Stream> front) {
  switch (listener->conf.protocol) {
    case conf::Protocol::kImap:
    case conf::Protocol::kPop3:
      return std::make_unique<MailSession>(env, std::move(listener), client, std::move(front));
    case conf::Protocol::kSmtp:
    case conf::Protocol::kSubmission:
      return std::make_unique<SmtpSession>(env, std::move(listener), client, std::move(front));
    case conf::Protocol::kLmtp:
      if (HasSeveralHomes(*env.parts, listener->conf))
        return std::make_unique<LmtpSession>(env, std::move(listener), client, std::move(front));
      return std::make_unique<SmtpSession>(env, std::move(listener), client, std::move(front));
    case conf::Protocol::kTcp:
      return std::make_unique<TcpSession>(env, std::move(listener), client, std::move(front));
    case conf::Protocol::kSieve:
      break;
  }
  // No listener of another protocol is opened (IsServed).
  POSTERN_CHECK(false);
  return nullptr;
}

}  // namespace postern::session
