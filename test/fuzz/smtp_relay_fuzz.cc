// smtp_relay_fuzz: a whole session from interleaved bytes and events of a client, its backends and
// the clock; checks what must hold whatever they do.
//
// Input: three bytes of configuration, then operations: a byte that says what happens, and for
// some a count byte and that many bytes. Canned lines let the fuzzer get deep.
// Holds: never more replies than commands; no 250 to an end of data that no backend gave; nothing
// but whole, clean command lines to a backend; no end of data in a text but the terminator; memory
// within its bounds; nothing after the end.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "lb/base/check.h"
#include "lb/proto/smtp_relay.h"

namespace {

using namespace postern;
using base::ByteView;

constexpr size_t kReplayMemory = 40 << 10;

constexpr const char* kFrontLines[] = {
    "EHLO client.example\r\n",
    "HELO client.example\r\n",
    "MAIL FROM:<a@x.example>\r\n",
    "MAIL FROM:<a@x.example> SIZE=100 BODY=8BITMIME SMTPUTF8 RET=FULL\r\n",
    "RCPT TO:<b@y.example>\r\n",
    "RCPT TO:<other@y.example>\r\n",
    "RCPT TO:<none@y.example> NOTIFY=NEVER\r\n",
    "RCPT TO:<both@y.example>\r\n",
    "DATA\r\n",
    "text\r\n",
    ".\r\n",
    "bare\n.\r\n",
    "RSET\r\n",
    "QUIT\r\n",
    "NOOP\r\n",
    "STARTTLS\r\n",
    "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n",
    "AUTH LOGIN\r\n",
    "YWxpY2U=\r\n",
    "AUTH XOAUTH2 dXNlcj1hAWF1dGg9QmVhcmVyIHgBAQ==\r\n",
    "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n",
    "XCLIENT ADDR=192.0.2.9\r\n",
    "BDAT 7\r\none\r\n..",
    "BDAT 8 LAST\r\n\n.\r\ntwo\r",
    "BDAT 3 LAST\r\n.\r\n",
    "BDAT 0 LAST\r\n",
    "BDAT 20000\r\n",
    "BDAT 18446744073709551617\r\n",
    "MAIL FROM:<a@x.example> BODY=BINARYMIME\r\nRCPT TO:<b@y.example>\r\nBDAT 1\r\n\n",
};

constexpr const char* kBackLines[] = {
    "220 b\r\n",
    "250-b\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250-"
    "STARTTLS\r\n"
    "250-XCLIENT NAME ADDR HELO\r\n250 AUTH PLAIN LOGIN XOAUTH2\r\n",
    "250 b\r\n",
    "250 2.0.0 Ok\r\n",
    "250 2.0.0 Ok: queued as AB12\r\n",
    "354 go\r\n",
    "235 2.7.0 in\r\n",
    "334 \r\n",
    "421 4.3.2 busy\r\n",
    "421 4.7.0 you\r\n",
    "450 4.2.0 grey\r\n",
    "452 4.3.1 full\r\n",
    "550 5.1.1 nobody\r\n",
    "535 5.7.8 no\r\n",
    "454 4.7.0 later\r\n",
    "503 5.5.1 order\r\n",
    "xx\r\n",
    "250-b\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-CHUNKING\r\n250 BINARYMIME\r\n",
    "354 go\r\n552 5.2.2 full\r\n",
};

class Session final : public proto::SmtpReports,
                      public proto::ReplayBudget,
                      public proto::RefusalMemory {
 public:
  explicit Session(const uint8_t* config) {
    capabilities_ = {"PIPELINING", "SIZE 100000", "8BITMIME",  "SMTPUTF8",
                     "DSN",        "CHUNKING",    "BINARYMIME"};
    settings_.is_submission = config[0] % 2 != 0;
    settings_.is_lmtp = !settings_.is_submission && config[2] % 16 >= 12;
    settings_.tls = static_cast<proto::SmtpFrontTls>(config[0] / 2 % 3);
    settings_.require_tls = config[0] & 16;
    settings_.offers_xoauth2 = true;
    settings_.bare_newline = static_cast<conf::BareNewline>(config[0] / 32 % 3);
    tls_ = static_cast<conf::TlsMode>(config[1] % 3);
    address_ = static_cast<conf::ClientAddress>(config[1] / 4 % 4);
    settings_.retries = config[1] / 16 % 4;
    has_relay_ = config[1] & 64;
    has_lmtp_ = config[1] & 128;
    settings_.leg_transactions = 1 + config[2] % 4;
    settings_.passes_legs_on = config[2] & 128;
    left_.hello = config[2] & 64 ? "client.example" : "other.example";
    left_.extensions = proto::ParseEhloReply(kBackLines[config[2] & 32 ? 1 : 17]);
    settings_.commit = config[2] & 4 ? conf::Commit::kAfterData : conf::Commit::kStreaming;
    file_bytes_ = config[2] & 8 ? 20 << 10 : SIZE_MAX;
    settings_.limits.recipients = 20;
    settings_.limits.message = 60 << 10;
    settings_.limits.line = 300;
    settings_.limits.reply_lines = 16;
    settings_.replay_memory = kReplayMemory;
    settings_.replay_limit = 40 << 10;
    settings_.hostname = "mx.example";
    settings_.capabilities = capabilities_;
    proto::SmtpTimeouts& timeouts = settings_.timeouts;
    using std::chrono::seconds;
    timeouts = {seconds(10),  seconds(300), seconds(300), seconds(300), seconds(2),
                seconds(3),   seconds(10),  seconds(20),  seconds(90),  seconds(30),
                seconds(180), seconds(600), seconds(10)};
    client_.address = *base::SocketAddress::Parse("192.0.2.7:40000");
    client_.local = *base::SocketAddress::Parse("192.0.2.1:25");
    client_.accepted = now_;
    relay_ = std::make_unique<proto::SmtpRelay>(settings_, client_, *this, *this, *this);
    relay_->Start(now_, {});
    Drive();
  }
  ~Session() {
    relay_.reset();
    POSTERN_CHECK(taken_ == 0 && !file_);
  }

  void Run(ByteView input) {
    while (!input.empty() && !is_over_) {
      const auto op = static_cast<uint8_t>(input[0]);
      input.remove_prefix(1);
      Step(op, input);
      Drive();
    }
    if (!is_over_) {
      relay_->OnFrontLost(now_, "gone");
      Drive();
    }
    POSTERN_CHECK(is_over_);
    CheckOver();
  }

 private:
  static bool Contains(const void* home, proto::EndpointRef endpoint) {
    const auto which = *static_cast<const int*>(home);
    const auto place = static_cast<const char*>(endpoint) - kEndpoints;
    return (which & (1 << place)) != 0;
  }

  void Step(uint8_t op, ByteView& input) {
    const auto take_bytes = [&input] {
      if (input.empty()) return ByteView();
      const size_t size = std::min<size_t>(static_cast<unsigned char>(input[0]), input.size() - 1);
      const ByteView bytes = input.substr(1, size);
      input.remove_prefix(1 + size);
      return bytes;
    };
    const auto take_byte = [&input]() -> uint8_t {
      if (input.empty()) return 0;
      const auto byte = static_cast<uint8_t>(input[0]);
      input.remove_prefix(1);
      return byte;
    };
    switch (op % 16) {
      case 0:
        FeedFront(take_bytes());
        break;
      case 1:
        back_ += take_bytes();
        break;
      case 2:
      case 3:
      case 4:
        FeedFront(kFrontLines[take_byte() % std::size(kFrontLines)]);
        break;
      case 5:
      case 6:
      case 7:
        back_ += kBackLines[take_byte() % std::size(kBackLines)];
        break;
      case 8:
        if (leg_ != 0 && !is_connected_) {
          is_connected_ = true;
          relay_->OnLegConnected(leg_, now_);
        } else if (wants_back_tls_) {
          wants_back_tls_ = false;
          relay_->OnLegTls(leg_, now_);
        }
        break;
      case 9:
        if (leg_ != 0)
          relay_->OnLegEnd(leg_, static_cast<base::FaultKind>(take_byte() % base::kNumFaultKinds),
                           "end", now_);
        break;
      case 10:
        now_ += std::chrono::seconds(take_byte());
        if (relay_->deadline() <= now_) relay_->OnTimer(now_);
        break;
      case 11:
        if (wants_front_tls_) {
          wants_front_tls_ = false;
          relay_->OnFrontTls(now_);
        }
        break;
      case 12:
        if (op == 12) {
          has_eof_ = true;
          relay_->OnFrontEof(now_);
        } else if (op == 28) {
          relay_->BeginDrain(now_);
        } else if (op == 44) {
          relay_->Kill(base::SessionResult::kKicked, now_);
        }
        break;
      case 13:
        if (op < 128) {
          unsent_ = take_byte() % 2 == 0 ? 0 : 5000;
        } else {
          Spool(take_byte());
        }
        break;
      case 14:
        relay_->OnPeerName({static_cast<base::PeerName::Kind>(take_byte() % 3), "h.example"}, now_);
        break;
      case 15: {  // a long piece of text
        const std::string text(4000U * (1 + take_byte() % 8), 'x');
        FeedFront(text);
        break;
      }
    }
  }

  // The journal's file answers, in part or in full, or fails.
  void Spool(uint8_t how) {
    if (!file_) return;
    if (how % 8 == 0) {
      relay_->OnSpoolFailed(static_cast<proto::JournalLoss>(1 + how / 8 % 2), now_);
    } else if (how % 8 < 4) {
      relay_->OnSpoolStored(file_->size(), now_);
    } else if (read_) {
      const std::string bytes =
          file_->substr(read_->offset, std::min<size_t>(read_->num_bytes, 1 + how * 500));
      read_.reset();
      relay_->OnSpoolRead(bytes, now_);
      Perform();
    }
  }

  void FeedFront(ByteView bytes) {
    if (has_eof_ || wants_front_tls_) return;
    front_ += bytes;
    num_lines_ += static_cast<size_t>(std::count(bytes.begin(), bytes.end(), '\n'));
  }

  void Drive() {
    if (is_over_) return;
    Perform();
    for (bool is_busy = true; is_busy && !is_over_;) {
      is_busy = false;
      if (leg_ != 0 && is_connected_ && !wants_back_tls_ && !back_.empty()) {
        const size_t taken = relay_->OnBack(leg_, back_, now_);
        POSTERN_CHECK(taken <= back_.size());
        if (num_ends_ > 0) said_since_end_ += back_.substr(0, taken);
        back_.erase(0, taken);
        is_busy = taken > 0;
        Perform();
      }
      if (!is_over_ && relay_->wants_front()) {
        const std::string input = front_;
        const size_t taken = relay_->OnFront(input, now_);
        POSTERN_CHECK(taken <= front_.size());
        Perform();
        front_.erase(0, taken);
        if (taken > 0) is_busy = true;
      }
    }
    POSTERN_CHECK(taken_ <= kReplayMemory + (16 << 10));
  }

  void Perform() {
    std::vector<proto::SmtpAction>& actions = relay_->actions();
    do {
      for (size_t i = 0; i < actions.size(); ++i) {
        proto::SmtpAction action = std::move(actions[i]);
        std::visit([this](auto& one) { Do(one); }, action);
      }
      actions.clear();
      FlushBack();
      if (leg_ != 0 && relay_->wants_unsent()) relay_->OnLegUnsent(leg_, unsent_, now_);
    } while (!actions.empty() || !relay_->back_output().empty());
    CountReplies(relay_->front_output());
    relay_->ClearFrontOutput();
  }

  void CountReplies(ByteView output) {
    while (!output.empty()) {
      const size_t end = output.find("\r\n");
      POSTERN_CHECK(end != ByteView::npos && end >= 3);
      const ByteView line = output.substr(0, end);
      output.remove_prefix(end + 2);
      POSTERN_CHECK(line.find_first_of(ByteView("\r\n\0", 3)) == ByteView::npos);
      if (line.size() > 3 && line[3] == '-') continue;
      ++num_replies_;
    }
    // The greeting, one for each line (of LMTP one more for each recipient), and at most two
    // goodbyes.
    POSTERN_CHECK(num_replies_ <= num_lines_ * (settings_.is_lmtp ? 2 : 1) + 3);
  }

  void FlushBack() {
    const std::string bytes(relay_->back_output());
    relay_->ClearBackOutput();
    if (leg_ != 0) ToLeg(bytes);
  }

  void ToLeg(ByteView bytes) {
    if (bytes.empty()) return;
    POSTERN_CHECK(is_connected_);
    POSTERN_CHECK(chunk_left_ == 0);
    if (relay_->wants_unsent() &&
        (bytes == ".\r\n" || bytes == "\r\n.\r\n" || bytes == "BDAT 0 LAST\r\n")) {
      POSTERN_CHECK(unsent_ == 0);
      ++num_ends_;
      said_since_end_.clear();
      return;
    }
    if (is_first_ && address_ != conf::ClientAddress::kNone &&
        address_ != conf::ClientAddress::kXclient) {
      is_first_ = false;
      return;  // the PROXY header
    }
    is_first_ = false;
    while (!bytes.empty()) {
      const size_t end = bytes.find("\r\n");
      POSTERN_CHECK(end != ByteView::npos);
      const ByteView line = bytes.substr(0, end);
      bytes.remove_prefix(end + 2);
      for (const char c : line) POSTERN_CHECK(static_cast<unsigned char>(c) >= ' ' && c != 0x7f);
      bool is_known = line.find_first_not_of(
                          "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") ==
                      ByteView::npos;  // of a login
      for (const char* verb :
           {IsLmtp(endpoint_) ? "LHLO " : "EHLO ", "HELO ", "MAIL FROM:<", "RCPT TO:<", "DATA",
            "RSET", "QUIT", "STARTTLS", "XCLIENT ", "AUTH ", "BDAT "})
        is_known = is_known || line.substr(0, std::char_traits<char>::length(verb)) == verb;
      POSTERN_CHECK(is_known);
      if (line.substr(0, 5) == "BDAT ") {
        // Its octets are all that may follow.
        POSTERN_CHECK(bytes.empty());
        const proto::SmtpChunk chunk = proto::ParseBdatArgs(line.substr(5));
        POSTERN_CHECK(chunk.is_valid && chunk.size > 0 && !chunk.is_last);
        chunk_left_ = chunk.size;
      }
      if (settings_.is_submission && line.substr(0, 4) == "MAIL")
        POSTERN_CHECK(!relay_->user().empty());
    }
  }

  // The first endpoint, where it is to be one.
  [[nodiscard]] bool IsLmtp(proto::EndpointRef endpoint) const {
    return has_lmtp_ && endpoint == kEndpoints;
  }

  [[nodiscard]] bool HasCommon(const int* home) const {
    int all = *home;
    if (!relay_->has_home()) return false;
    if (has_lmtp_) all &= ~1;
    for (const proto::HomeRef& each : relay_->homes()) all &= *static_cast<const int*>(each.home);
    for (const proto::EndpointRef endpoint : relay_->tried())
      all &= ~(1 << (static_cast<const char*>(endpoint) - kEndpoints));
    return all != 0;
  }

  void Do(proto::AskRoute& action) {
    static constexpr int kHomes[] = {3, 4, 5};
    proto::RouteAnswer answer;
    const int* home = nullptr;
    if (action.name == "other@y.example") {
      home = &kHomes[1];
    } else if (action.name == "both@y.example") {
      home = &kHomes[2];
    } else if (action.name != "none@y.example") {
      home = &kHomes[0];
    }
    if (home != nullptr) {
      answer.kind = proto::RouteAnswer::Kind::kHome;
      answer.home = {home, &Contains};
      answer.is_idle_leg_good = leg_ != 0 && Contains(home, endpoint_);
      answer.has_common = HasCommon(home);
      answer.takes_several = !(has_lmtp_ && *home == 1);
      static constexpr int kRelay = 6;
      if (has_relay_) answer.relay = {&kRelay, &Contains};
    }
    relay_->OnRoute(answer, now_);
  }

  void Do(proto::ToBack& action) {
    if (action.bytes.empty()) return;  // it was taken back
    FlushBack();
    POSTERN_CHECK(leg_ != 0 && is_connected_);
    if (chunk_left_ > 0) {
      POSTERN_CHECK(action.bytes.size() <= chunk_left_);
      chunk_left_ -= action.bytes.size();
      return;
    }
    text_ += action.bytes;
    if (text_.size() > 64) text_.erase(0, text_.size() - 64);
    POSTERN_CHECK(text_.find("\r\n.\r\n") == std::string::npos);
  }

  void Do(proto::SpoolAppend& action) {
    POSTERN_CHECK(!action.bytes.empty());
    if (!file_) file_.emplace();
    *file_ += action.bytes;
    POSTERN_CHECK(file_->size() <= settings_.replay_limit);
  }

  void Do(proto::SpoolRead& action) {
    POSTERN_CHECK(file_ && !read_ && action.num_bytes > 0);
    POSTERN_CHECK(action.offset + action.num_bytes <= file_->size());
    read_ = action;
  }

  void Do(proto::SpoolClose&) {
    POSTERN_CHECK(file_.has_value());
    file_.reset();
    read_.reset();
  }

  void Do(proto::OpenLeg& action) {
    if (action.leg != relay_->leg()) return;
    POSTERN_CHECK(leg_ == 0);
    const auto& tried = relay_->tried();
    for (int place = 0; place < 3; ++place) {
      const proto::EndpointRef endpoint = kEndpoints + place;
      const auto& homes = relay_->homes();
      if (std::find(tried.begin(), tried.end(), endpoint) != tried.end()) continue;
      if (IsLmtp(endpoint) && relay_->has_several()) continue;
      if (!std::all_of(homes.begin(), homes.end(),
                       [endpoint](const proto::HomeRef& home) { return home.Contains(endpoint); }))
        continue;
      leg_ = action.leg;
      endpoint_ = endpoint;
      wants_back_tls_ = false;
      is_first_ = true;
      back_.clear();
      text_ = "\r\n";
      num_ends_ = 0;
      unsent_ = 0;
      chunk_left_ = 0;
      const proto::SmtpLegFacts facts{endpoint, IsLmtp(endpoint), tls_, address_, "alice"};
      is_connected_ = relay_->MayShare(facts) && relay_->CoversTransaction(left_.extensions);
      if (is_connected_) return relay_->OnLegTaken(leg_, facts, left_, now_);
      return relay_->OnLegPicked(leg_, facts, now_);
    }
    relay_->OnNobody(action.leg, false, now_);
  }

  void Do(proto::DropLeg& action) {
    chunk_left_ = 0;  // it ends within one where the octets were taken back
    FlushBack();
    if (action.idle != nullptr) {
      POSTERN_CHECK(address_ == conf::ClientAddress::kNone && relay_->user().empty());
      POSTERN_CHECK(relay_->back_output().empty() && num_ends_ == 0);
    }
    if (action.leg == leg_) leg_ = 0;
  }

  void Do(proto::StartTlsOn& action) {
    if (action.side == base::Side::kFront) {
      wants_front_tls_ = true;
      front_.clear();
    } else if (action.leg == leg_) {
      FlushBack();
      wants_back_tls_ = true;
      back_.clear();
    }
  }

  void Do(proto::EndSession&) {
    POSTERN_CHECK(!is_over_);
    is_over_ = true;
  }

  void CheckOver() {
    POSTERN_CHECK(relay_->is_over());
    POSTERN_CHECK(relay_->OnFront("NOOP\r\n", now_) == 0);
    relay_->OnTimer(now_ + std::chrono::hours(10));
    relay_->OnFrontEof(now_);
    relay_->Kill(base::SessionResult::kKicked, now_);
    relay_->BeginDrain(now_);
    POSTERN_CHECK(relay_->deadline() == base::MonoTime::max());
    POSTERN_CHECK(relay_->actions().empty());
    POSTERN_CHECK(relay_->front_output().empty());
    POSTERN_CHECK(relay_->back_output().empty());
  }

  // proto::SmtpReports
  void OnCommand(proto::SmtpVerb, base::Duration took) override {
    POSTERN_CHECK(took >= base::Duration::zero());
  }
  void OnRecipient(Recipient) override {}
  void OnBareNewline() override {}
  void OnEarlyTalker() override {}
  void OnLogin(proto::Mechanism, const std::string&, Login) override {}
  void OnTransaction(const proto::SmtpOutcome& outcome) override {
    if (outcome.code / 100 != 2) return;
    POSTERN_CHECK(!outcome.to.empty());
    POSTERN_CHECK(num_ends_ == 1);
    // The reply is being taken now: it is at the head of what the backend has said.
    POSTERN_CHECK(said_since_end_.find("25") != std::string::npos ||
                  back_.find("25") != std::string::npos);
    num_ends_ = 0;
    text_ = "\r\n";
  }
  void OnPhase(proto::LegId, base::Phase, base::Duration) override {}
  void OnLegFault(proto::LegId leg, const proto::SmtpLegFault&) override {
    POSTERN_CHECK(leg == leg_);
  }
  void OnLegReady(proto::LegId, base::ByteView) override {}
  void OnLegBusy(proto::LegId) override {}
  void OnLegIdle(proto::LegId) override {
    num_ends_ = 0;
    text_ = "\r\n";
  }
  void OnMoved(Moved, base::FaultKind) override {}
  void OnJournalLost(proto::JournalLoss) override {}
  bool Take(size_t num_bytes) override {
    taken_ += num_bytes;
    return true;
  }
  void Return(size_t num_bytes) override { taken_ -= num_bytes; }
  bool HasFileRoom(size_t num_bytes) const override {
    return (file_ ? file_->size() : 0) + num_bytes <= file_bytes_;
  }
  void Remember(std::string_view, std::string_view to, ByteView reply) override {
    POSTERN_CHECK(reply.size() < 1100 && reply.ends_with("\r\n"));
    POSTERN_CHECK(reply[0] == '4' || reply[0] == '5');
    refusals_[std::string(to)] = reply;
  }
  std::string Recall(std::string_view, std::string_view to) override {
    return std::exchange(refusals_[std::string(to)], "");
  }

  static constexpr char kEndpoints[3] = {};

  proto::SmtpSettings settings_;
  std::vector<std::string> capabilities_;
  proto::SmtpClient client_;
  conf::TlsMode tls_ = conf::TlsMode::kNone;
  conf::ClientAddress address_ = conf::ClientAddress::kNone;
  base::MonoTime now_{std::chrono::hours(1)};
  std::unique_ptr<proto::SmtpRelay> relay_;
  std::string front_, back_, text_, said_since_end_;
  proto::SmtpIdleLeg left_;  // by another client, at any endpoint, again and again
  proto::LegId leg_ = 0;
  proto::EndpointRef endpoint_ = nullptr;
  std::optional<std::string> file_;  // the journal's
  std::optional<proto::SpoolRead> read_;
  std::map<std::string, std::string> refusals_;
  size_t file_bytes_ = SIZE_MAX;
  size_t unsent_ = 0;
  uint64_t chunk_left_ = 0;  // of a chunk to the backend
  size_t taken_ = 0;
  size_t num_lines_ = 0, num_replies_ = 0, num_ends_ = 0;
  bool is_connected_ = false, is_first_ = true, wants_back_tls_ = false, wants_front_tls_ = false,
       has_relay_ = false, has_lmtp_ = false;
  bool has_eof_ = false, is_over_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3 || size > 4096) return 0;
  Session session(data);
  session.Run(ByteView(reinterpret_cast<const char*>(data) + 3, size - 3));
  return 0;
}
