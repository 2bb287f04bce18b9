// lmtp_fan_fuzz: an LmtpFan between a relay and homes that say anything at any time.
//
// What must hold: legs that were opened, and no others, are spoken to, in whole lines but for the
// text; there is no more than one reply for each line and for each recipient's text; text goes to
// legs that take it alone.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <string>

#include "lb/base/bytes.h"
#include "lb/base/check.h"
#include "lb/proto/lmtp_fan.h"

namespace {

using namespace postern;
using base::ByteView;
using proto::LmtpFan;

constexpr const char* kFrontLines[] = {"LHLO c.example\r\n",
                                       "MAIL FROM:<a@x.example>\r\n",
                                       "RCPT TO:<a@y.example>\r\n",
                                       "RCPT TO:<b@y.example>\r\n",
                                       "RCPT TO:<C@y.example>\r\n",
                                       "RCPT TO:<d@y.example>\r\n",
                                       "DATA\r\n",
                                       "RSET\r\n",
                                       "QUIT\r\n",
                                       "text\r\n",
                                       "..dots\r\n",
                                       ".\r\n",
                                       "RCPT TO:<\r\n"};
constexpr const char* kLegLines[] = {
    "220 hi\r\n",        "250-a\r\n250 b\r\n",  "250 2.0.0 Ok\r\n",
    "354 go\r\n",        "452 4.5.3 full\r\n",  "550 5.1.1 nobody\r\n",
    "421 4.3.2 bye\r\n", "451 4.3.0 later\r\n", "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n354 go\r\n",
    "nonsense\r\n"};

class Session final : public LmtpFan::Driver {
 public:
  Session() : fan_(Limits(), "mx.example", *this) {}

  void Run(ByteView input) {
    while (!input.empty()) {
      const auto op = static_cast<uint8_t>(input[0]);
      const auto what = static_cast<uint8_t>(input.size() > 1 ? input[1] : 0);
      input.remove_prefix(std::min<size_t>(input.size(), 2));
      const LmtpFan::LegId leg = 1 + op / 8 % 8;
      switch (op % 8) {
        case 0:
        case 1:
        case 2:
          front_ += kFrontLines[what % std::size(kFrontLines)];
          break;
        case 3:
        case 4:
        case 5:
          Say(leg, kLegLines[what % std::size(kLegLines)]);
          break;
        case 6: {
          const ByteView bytes = input.substr(0, what % 16);
          input.remove_prefix(bytes.size());
          if (op < 128) {
            front_ += bytes;
          } else {
            Say(leg, bytes);
          }
          break;
        }
        case 7:
          fan_.OnLegEnd(leg);
          break;
      }
      Front();
    }
  }

 private:
  struct Leg {
    std::string input;
  };

  static LmtpFan::Limits Limits() {
    LmtpFan::Limits limits;
    limits.line_bytes = 100;
    limits.legs = 4;
    limits.kept_legs = 2;
    return limits;
  }

  void Front() {
    for (size_t taken = 1; taken > 0 && !front_.empty();) {
      const bool was_in_text = fan_.is_in_text();
      taken = fan_.OnFront(front_);
      POSTERN_CHECK(taken <= front_.size());
      if (!was_in_text)
        num_due_ += static_cast<size_t>(
            std::count(front_.begin(), front_.begin() + static_cast<ptrdiff_t>(taken), '\n'));
      if (!was_in_text) ++num_due_;  // a line that was too long
      front_.erase(0, taken);
      Count();
    }
    Count();
  }

  void Say(LmtpFan::LegId id, ByteView bytes) {
    const auto leg = legs_.find(id);
    if (leg == legs_.end()) return;
    leg->second.input += bytes;
    const std::string input = leg->second.input;
    const size_t taken = fan_.OnLeg(id, input);
    POSTERN_CHECK(taken <= input.size());
    if (const auto still = legs_.find(id); still != legs_.end())
      still->second.input.erase(0, taken);
    Count();
  }

  void Count() {
    for (ByteView output = fan_.front_output(); !output.empty();) {
      const size_t end = output.find("\r\n");
      POSTERN_CHECK(end != ByteView::npos && end >= 3);
      if (output[3] != '-') ++num_replies_;
      output.remove_prefix(end + 2);
    }
    fan_.ClearFrontOutput();
    POSTERN_CHECK(num_replies_ <= 1 + num_due_ + num_finals_);
  }

  LmtpFan::Home HomeOf(ByteView recipient) override {
    if (recipient.empty()) return {};
    return {kHomes + static_cast<unsigned char>(recipient[0]), recipient[0] < 'a'};
  }
  void OpenLeg(LmtpFan::LegId leg) override {
    POSTERN_CHECK(leg == ++last_leg_);
    legs_[leg];
    POSTERN_CHECK(legs_.size() <= 4);
  }
  void ToLeg(LmtpFan::LegId leg, ByteView bytes) override {
    const auto found = legs_.find(leg);
    POSTERN_CHECK(found != legs_.end());
    if (fan_.is_in_text()) {
      POSTERN_CHECK(fan_.TakesText(leg));
      return;
    }
    POSTERN_CHECK(bytes.empty() || bytes.ends_with("\r\n"));
    POSTERN_CHECK(bytes.find("\r\n") == bytes.size() - 2 || bytes.empty());
    if (bytes.starts_with("RCPT")) ++num_finals_;
  }
  void CloseLeg(LmtpFan::LegId leg) override { POSTERN_CHECK(legs_.erase(leg) == 1); }

  static constexpr char kHomes[256] = {};

  LmtpFan fan_;
  std::map<LmtpFan::LegId, Leg> legs_;
  LmtpFan::LegId last_leg_ = 0;
  std::string front_;
  size_t num_due_ = 0, num_replies_ = 0, num_finals_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 4096) return 0;
  Session session;
  session.Run(ByteView(reinterpret_cast<const char*>(data), size));
  return 0;
}
