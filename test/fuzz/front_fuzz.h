// front_fuzz: what is fuzzed of the front machines of IMAP and POP3.
//
// Input: one byte of settings, four of answers to logins, then the client's bytes. The machine gets
// them whole and byte by byte: what it says and asks must be the same, whole lines, of bounded
// size, and its end an end.
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

class FrontRun {
 public:
  FrontRun(proto::MailProtocol protocol, uint8_t settings, std::string_view answers)
      : answers_(answers) {
    proto::FrontPlan plan;
    plan.hostname = "h";
    plan.is_in_tls = (settings & 1) != 0;
    plan.has_starttls = (settings & 2) != 0;
    plan.auth_requires_tls = (settings & 4) != 0;
    plan.offers_xoauth2 = (settings & 8) != 0;
    plan.offers_oauthbearer = (settings & 16) != 0;
    plan.pass_refusal_text = (settings & 32) != 0;
    plan.limits = {80, 160, 60, 6, 3};
    max_unread_ = 162;
    machine_ = proto::MakeFront(protocol, plan);
    Pump();
  }

  void Feed(std::string_view bytes) {
    input_ += bytes;
    Pump();
  }
  void Finish() {
    machine_->Expire();
    Pump();
    // An end is an end.
    if (!is_over_) std::abort();
    const std::string said = said_;
    const size_t input_bytes = input_.size();
    machine_->LoginOk({"X", "y"});
    machine_->Expire();
    Pump();
    POSTERN_CHECK(input_.size() == input_bytes && said_ == said);
  }
  [[nodiscard]] const std::string& said() const { return said_; }
  [[nodiscard]] bool has_started_tls() const { return has_started_tls_; }

 private:
  void Pump() {
    for (int i = 0; i < 100000; ++i) {
      const proto::FrontStep step = machine_->Next(input_);
      POSTERN_CHECK(step.consumed <= input_.size());
      input_.erase(0, step.consumed);
      input_.shrink_to_fit();
      if (!Take(step.event)) return;
    }
    std::abort();  // never stops
  }

  bool Take(const proto::FrontEvent& event) {
    return std::visit(
        [this](const auto& what) {
          using What = std::decay_t<decltype(what)>;
          if constexpr (std::is_same_v<What, proto::NeedBytes>) {
            POSTERN_CHECK(input_.size() <= max_unread_);
            return false;
          } else if constexpr (std::is_same_v<What, proto::Wait>) {
            std::abort();  // every question was answered
            return false;
          } else if constexpr (std::is_same_v<What, proto::Send>) {
            POSTERN_CHECK(what.bytes.ends_with("\r\n"));
            POSTERN_CHECK(what.bytes.size() < 4096);
            said_ += what.bytes;
            return true;
          } else if constexpr (std::is_same_v<What, proto::StartTls>) {
            POSTERN_CHECK(input_.empty());
            has_started_tls_ = true;
            said_ += "<tls>";
            machine_->TlsUp();
            return true;
          } else if constexpr (std::is_same_v<What, proto::Login>) {
            const proto::LoginRequest& request = *what.request;
            if (what.is_usable) {
              POSTERN_CHECK(proto::IsUsableUser(request.user));
              POSTERN_CHECK(proto::IsUsablePassword(request.password.Reveal()));
            }
            said_ += what.is_usable ? "<login " : "<unusable ";
            said_ += request.user;
            said_ += '|';
            said_ += request.password.Reveal();
            said_ += request.message.Reveal();
            said_ += '>';
            Answer();
            return true;
          } else if constexpr (std::is_same_v<What, proto::LoginAborted>) {
            said_ += "<aborted>";
            return true;
          } else if constexpr (std::is_same_v<What, proto::SaslResponse>) {
            POSTERN_CHECK(proto::IsSaslResponse(what.line->Reveal()));
            said_ += "<response>";
            machine_->LoginRefused({"AUTHENTICATIONFAILED", "no", true});
            return true;
          } else if constexpr (std::is_same_v<What, proto::HandOver>) {
            is_over_ = true;
            return false;
          } else {
            is_over_ = true;
            return false;
          }
        },
        event);
  }

  void Answer() {
    const auto answer = static_cast<uint8_t>(answers_[num_logins_++ % answers_.size()]);
    switch (answer % 5) {
      case 0:
        machine_->LoginOk({"IMAP4rev1 IDLE", "in"});
        return;
      case 1:
        machine_->LoginOk({"", ""});
        return;
      case 2:
        machine_->LoginRefused({"EXPIRED", "long ago", true});
        return;
      case 3:
        machine_->LoginUnavailable();
        return;
      default:
        machine_->PassChallenge("e30=");
        return;
    }
  }

  std::unique_ptr<proto::FrontMachine> machine_;
  std::string_view answers_;
  size_t num_logins_ = 0;
  size_t max_unread_ = 0;
  std::string input_, said_;
  bool is_over_ = false;
  bool has_started_tls_ = false;
};

inline void FuzzFront(proto::MailProtocol protocol, const uint8_t* data, size_t size) {
  if (size < 5) return;
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const std::string_view answers = all.substr(1, 4), bytes = all.substr(5);
  FrontRun whole(protocol, data[0], answers);
  whole.Feed(bytes);
  whole.Finish();
  FrontRun pieces(protocol, data[0], answers);
  for (const char c : bytes) pieces.Feed(std::string_view(&c, 1));
  pieces.Finish();
  // Bytes behind STARTTLS end the one; the other's come after the handshake.
  if (pieces.has_started_tls()) return;
  POSTERN_CHECK(whole.said() == pieces.said());
}

}  // namespace postern::fuzz
