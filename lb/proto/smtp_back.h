// smtp_back: the client role towards one SMTP or LMTP backend, from connect until mail may begin:
// greeting, EHLO, [STARTTLS, EHLO,] [XCLIENT, EHLO,] [AUTH]; LHLO for EHLO where it speaks LMTP.
//
// Shared by sessions and probes. Does not: open connections, keep time, choose backends. What it
// wants sent is appended to the caller's buffer.
// Rules:    RFC 5321 3.2, 4.1.1.1; RFC 3207 (nothing may stand behind the go-ahead; all is
//           forgotten after it; a backend that does not announce STARTTLS where it is wanted is
//           left alone); RFC 4954; XCLIENT_README. Our own name is said in clear, the client's name
//           only on the last EHLO. RFC 2033 4.1: LHLO is EHLO by another name.
// Owner:    one leg of a SmtpRelay, or one probe.
// Limits:   SmtpReplyReader::Limits.
// Tests:    test/proto/smtp_back_test.cc, test/dialogue/smtp/
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "conf/config.h"
#include "lb/base/address.h"
#include "lb/base/bytes.h"
#include "lb/base/end_cause.h"
#include "lb/base/peer_name.h"
#include "lb/base/secret.h"
#include "lb/proto/sasl.h"
#include "lb/proto/smtp_extensions.h"
#include "lb/proto/smtp_reply.h"
#include "lb/proto/xclient.h"

namespace postern::proto {

struct SmtpBackSettings {
  conf::TlsMode tls = conf::TlsMode::kNone;                         // kPassthrough is no TLS here
  conf::ClientAddress client_address = conf::ClientAddress::kNone;  // kImapId: nothing here
  std::string own_name;     // in EHLO as long as the client is not known there
  std::string client_name;  // its EHLO name; empty: none, our own is said (a probe)
  bool is_lmtp = false;
  bool is_esmtp = true;        // the client said EHLO, not HELO
  bool is_probe = false;       // PROXY header for a connection of our own; no XCLIENT
  base::SocketAddress client;  // a probe's: its own end
  base::SocketAddress local;
  const LoginRequest* login = nullptr;  // to log in with; must outlive the ladder
  std::string login_user;               // the name the backend is told
  bool vouches = false;  // by XCLIENT LOGIN for login_user, who has logged in elsewhere; no login
  SmtpReplyReader::Limits limits;
};

// Why a leg cannot be used, and what follows from it.
struct SmtpLegFault {
  enum class Meaning : uint8_t {
    kFault,    // of the backend: another one may do better
    kVerdict,  // the backend's word on this client: said to the client
    kRefusal,  // the login is not accepted
  };
  Meaning meaning = Meaning::kFault;
  base::Phase phase = base::Phase::kConnect;
  base::FaultKind kind = base::FaultKind::kProtocol;
  // No byte that a client chose had been sent: the endpoint itself is at fault.
  bool is_passive = false;
  std::string why;        // for the log
  std::string reply;      // the backend's lines, of kVerdict and kRefusal (may be empty there)
  std::string challenge;  // kRefusal of a token mechanism: its failure challenge, in base64
};

class SmtpBack {
 public:
  enum class Event : uint8_t {
    kWait,      // for bytes, or for what was asked last
    kStartTls,  // send what is there, then start the handshake; call OnTls
    kNeedName,  // the client's name is needed: call OnPeerName
    kReady,     // mail may begin
    kFailed,    // fault() says why
  };
  struct Step {
    size_t consumed = 0;
    Event event = Event::kWait;
  };

  explicit SmtpBack(SmtpBackSettings settings);

  // TCP is up.
  Step OnConnected(std::string& out);
  // Instead: a leg that has been ready for another client says EHLO for this one.
  Step OnReused(std::string& out);
  // A handshake is done.
  Step OnTls(std::string& out);
  // Answers kNeedName; kTempUnavailable if it is not known in time.
  Step OnPeerName(const base::PeerName& name, std::string& out);
  // One reply at most; call again as long as something is consumed and the event is kWait.
  Step Next(base::ByteView input, std::string& out);
  // The connection ended or a deadline passed.
  void Fail(base::FaultKind kind, std::string why);

  [[nodiscard]] base::Phase phase() const;
  [[nodiscard]] bool is_ready() const { return state_ == State::kReady; }
  [[nodiscard]] bool is_authenticating() const { return state_ == State::kAuth; }
  // Has something been sent that a client chose?
  [[nodiscard]] bool has_client_bytes() const { return has_client_bytes_; }
  // Has the backend been told who the client is?
  [[nodiscard]] bool knows_client() const { return knows_client_; }
  [[nodiscard]] const SmtpLegFault& fault() const { return fault_; }
  [[nodiscard]] const SmtpExtensions& extensions() const { return extensions_; }
  // The last reply to EHLO, as it came.
  [[nodiscard]] base::ByteView ehlo_lines() const { return ehlo_lines_; }

 private:
  enum class State : uint8_t {
    kConnecting,
    kTls,  // implicit
    kGreeting,
    kHello,  // our own name, before STARTTLS or XCLIENT
    kStartTls,
    kStartTlsUp,  // the handshake behind the go-ahead
    kHelloInTls,  // our own name again, XCLIENT follows
    kPeerName,
    kXclient,
    kHelloAsClient,  // the client's name: what counts
    kAuth,
    kReady,
    kFailed,
  };

  Step Take(const SmtpReply& reply, std::string& out);
  Step OnHello(const SmtpReply& reply, std::string& out);
  Step BecomeReady();
  Step OnXclient(const SmtpReply& reply, std::string& out);
  Step StartAuth(std::string& out);
  Step OnAuth(const SmtpReply& reply, std::string& out);
  void SayHello(State state, std::string& out);
  [[nodiscard]] bool SaysHelo() const;
  [[nodiscard]] bool WantsXclient() const {
    return settings_.client_address == conf::ClientAddress::kXclient && !settings_.is_probe;
  }
  [[nodiscard]] bool WantsProxy() const {
    return settings_.client_address == conf::ClientAddress::kProxyV1 ||
           settings_.client_address == conf::ClientAddress::kProxyV2;
  }
  // A reply that is not the one wanted: verdict or fault.
  void Judge(const SmtpReply& reply);

  SmtpBackSettings settings_;
  State state_ = State::kConnecting;
  SmtpReplyReader reader_;
  SmtpExtensions extensions_;
  std::string ehlo_lines_;
  std::vector<std::string> xclient_;  // commands still to be sent, the first is out
  std::unique_ptr<SaslClient> sasl_;
  SmtpLegFault fault_;
  bool knows_client_ = false;
  bool has_client_bytes_ = false;  // something that a client chose was sent
};

}  // namespace postern::proto
