// back_fuzz: what is fuzzed of the back machines of IMAP and POP3.
//
// Input: two bytes of settings, then the backend's bytes. The machine gets them whole and byte by
// byte: what it sends and concludes must be the same, no line break of a credential may get
// through, nothing in clear where TLS is wanted, and its end an end.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

#include "lb/base/check.h"
#include "lb/proto/machine.h"

namespace postern::fuzz {

class BackRun {
 public:
  BackRun(proto::MailProtocol protocol, uint8_t settings, uint8_t login) {
    proto::BackPlan plan;
    plan.tls = static_cast<conf::TlsMode>(settings % 3);
    is_clear_forbidden_ = plan.tls == conf::TlsMode::kStartTls;
    if ((settings & 4) != 0)
      plan.identity = proto::ClientIdentity{*base::SocketAddress::Parse("192.0.2.7:4711"),
                                            *base::SocketAddress::Parse("[2001:db8::1]:993"), 7};
    if ((settings & 8) != 0) plan.known = &known_;
    if ((settings & 16) != 0) user_ = "a \"b\\\xc3\xa4";
    request_.user = user_;
    request_.password = base::Secret((settings & 32) != 0 ? "p\xc3\xa4ss" : "se cr\"et");
    request_.mechanism = static_cast<proto::Mechanism>(login % 6);
    if (IsToken(request_.mechanism)) request_.message = base::Secret("user=a\x01\x01");
    if (login < 200) plan.login = &request_;
    plan.user = user_;
    plan.max_line_bytes = 200;
    plan.max_lines = 10;
    machine_ = proto::MakeBack(protocol, plan);
    Pump();
  }

  void Feed(std::string_view bytes) {
    input_ += bytes;
    Pump();
  }
  void Finish() {
    if (!is_over_) return;
    const std::string said = said_;
    const size_t input_bytes = input_.size();
    machine_->TlsUp();
    machine_->Respond(base::Secret("x"));
    Pump();
    POSTERN_CHECK(input_.size() == input_bytes && said_ == said);
  }
  [[nodiscard]] const std::string& said() const { return said_; }
  [[nodiscard]] bool has_started_tls() const { return has_started_tls_; }
  // The backend had said something before it was asked.
  [[nodiscard]] bool is_out_of_turn() const {
    return is_out_of_turn_ || said_.ends_with("out of turn>");
  }

 private:
  void Pump() {
    for (int i = 0; i < 100000; ++i) {
      const proto::BackStep step = machine_->Next(input_);
      POSTERN_CHECK(step.consumed <= input_.size());
      input_.erase(0, step.consumed);
      input_.shrink_to_fit();
      if (!Take(step.event)) return;
    }
    std::abort();  // never stops
  }

  void Conclude(const std::string& text) {
    if (!is_over_) said_ += text;
    is_over_ = true;
  }

  bool Take(const proto::BackEvent& event) {
    return std::visit(
        [this](const auto& what) {
          using What = std::decay_t<decltype(what)>;
          if constexpr (std::is_same_v<What, proto::NeedBytes>) {
            POSTERN_CHECK(input_.size() <= 202);
            return false;
          } else if constexpr (std::is_same_v<What, proto::Wait>) {
            std::abort();
            return false;
          } else if constexpr (std::is_same_v<What, proto::Send>) {
            POSTERN_CHECK(what.bytes.ends_with("\r\n"));
            if (is_clear_forbidden_ && !has_started_tls_) {
              POSTERN_CHECK(!machine_->has_sent_client_bytes());
              POSTERN_CHECK(what.bytes.find("cr") == std::string_view::npos);
            }
            said_ += what.bytes;
            is_out_of_turn_ = is_out_of_turn_ || !input_.empty();
            return true;
          } else if constexpr (std::is_same_v<What, proto::StartTls>) {
            POSTERN_CHECK(input_.empty());
            POSTERN_CHECK(machine_->capabilities().empty());
            has_started_tls_ = true;
            said_ += "<tls>";
            machine_->TlsUp();
            return true;
          } else if constexpr (std::is_same_v<What, proto::Challenge>) {
            POSTERN_CHECK(what.base64.find('\n') == std::string_view::npos);
            said_ += "<challenge>";
            machine_->Respond(base::Secret("AQ=="));
            return true;
          } else if constexpr (std::is_same_v<What, proto::LoggedIn>) {
            POSTERN_CHECK(machine_->has_sent_client_bytes());
            POSTERN_CHECK(what.text.find_first_of("\r\n") == std::string_view::npos);
            Conclude("<in " + std::string(what.capabilities) + "|" + std::string(what.text) + ">");
            return false;
          } else if constexpr (std::is_same_v<What, proto::Refusal>) {
            Conclude("<refused " + std::string(what.code) + ">");
            return false;
          } else if constexpr (std::is_same_v<What, proto::Failed>) {
            Conclude("<failed " + std::string(what.text) + ">");
            return false;
          } else {
            Conclude("<ended>");
            return false;
          }
        },
        event);
  }

  proto::LoginRequest request_;
  std::string user_ = "alice";
  proto::Capabilities known_ = {"IMAP4rev1", "AUTH=PLAIN", "USER", "SASL PLAIN"};
  std::unique_ptr<proto::BackMachine> machine_;
  std::string input_, said_;
  bool is_over_ = false;
  bool is_clear_forbidden_ = false;
  bool has_started_tls_ = false;
  bool is_out_of_turn_ = false;
};

inline void FuzzBack(proto::MailProtocol protocol, const uint8_t* data, size_t size) {
  if (size < 2) return;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  BackRun whole(protocol, data[0], data[1]);
  whole.Feed(bytes);
  whole.Finish();
  BackRun pieces(protocol, data[0], data[1]);
  for (const char c : bytes) pieces.Feed(std::string_view(&c, 1));
  pieces.Finish();
  // Bytes behind the go-ahead end the one; the other's come after the handshake.
  if (pieces.has_started_tls()) return;
  // What was there before its command is no answer; byte by byte, each comes behind it.
  if (whole.is_out_of_turn()) return;
  POSTERN_CHECK(whole.said() == pieces.said());
}

}  // namespace postern::fuzz
