// smtp_bench: a SmtpRelay between a scripted client and fake backends, without sockets: for unit
// tests and dialogue files.
//
// Backends answer politely by themselves unless told otherwise; time is what the test says. Bytes
// of both sides are fed whole, one by one, or in seeded pieces.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "conf/config.h"
#include "lb/base/rng.h"
#include "lb/proto/smtp_relay.h"

namespace postern::test {

struct FakeMessage {
  std::string from, text;  // text as it came, without the terminator
  std::vector<std::string> to;
  std::vector<std::string> accepted;  // of those
  bool is_chunked = false;            // it came by BDAT
  // The message: text without the dots that DATA wants.
  [[nodiscard]] std::string Octets() const;
};

struct FakeBackend {
  enum class Door { kOpen, kRefuses, kHangs };
  std::string name;
  Door door = Door::kOpen;
  bool is_lmtp = false;
  conf::TlsMode tls = conf::TlsMode::kNone;
  conf::ClientAddress client_address = conf::ClientAddress::kNone;
  conf::Reauth reauth = conf::Reauth::kReplay;
  std::vector<std::string> keywords = {"PIPELINING", "SIZE 10240000", "8BITMIME",
                                       "ENHANCEDSTATUSCODES"};
  // What it says to commands that begin so (the longest wins; "GREETING", "TEXT" for the text after
  // its first bytes, or for its first chunk, "." for the end of it, or the last chunk,
  // ".b@y.example" for LMTP's answer for one). Several lines are joined by \n. "hang": nothing;
  // "die": closes. Each may be a sequence: one a time, the last for ever.
  std::map<std::string, std::vector<std::string>> answers;
  bool takes_bytes = true;  // false: what is written to it stays unsent
  bool takes_text = true;   // likewise, of a message's text

  std::vector<std::string> lines;  // all it was sent but text
  std::string octets;              // all it was sent
  std::vector<FakeMessage> messages;
  int num_connections = 0;
  bool was_quit = false;
};

class SmtpBench final : public proto::SmtpReports,
                        public proto::ReplayBudget,
                        public proto::RefusalMemory {
 public:
  enum class Cut { kWhole, kByByte, kRandom };
  SmtpBench();
  ~SmtpBench();

  // --- set up; before Start ---
  proto::SmtpSettings settings;
  std::vector<std::string> capabilities = {"PIPELINING", "SIZE 10240000", "8BITMIME",
                                           "ENHANCEDSTATUSCODES"};
  proto::SmtpClient client;
  Cut cut = Cut::kWhole;
  uint64_t seed = 1;
  std::map<std::string, std::unique_ptr<FakeBackend>> backends;
  // Home of a recipient or user: names of backends. "": the default. A word in front of a reply
  // ("reject 550 ...", "tempfail", "unknown", "blocked") is a verdict.
  std::map<std::string, std::string> homes = {{"", "B1 B2"}};
  // By recipient, "" for all others: who takes a transaction of several homes; none where not said.
  std::map<std::string, std::string> relays;
  std::optional<base::PeerName> peer_name = base::PeerName{base::PeerName::Kind::kUnavailable, ""};
  size_t budget_bytes = 1 << 20;
  size_t file_bytes = 100 << 20;  // what the journal's file may be asked to hold
  bool has_untried = false;       // as OnNobody
  bool is_spool_quick = true;     // false: the journal's file answers when AnswerSpool is called
  size_t spool_read_bytes = 1 << 20;  // at most, an answer

  FakeBackend& backend(const std::string& name);
  void Start(std::string_view early = {});

  // --- what happens ---
  void Send(std::string_view bytes);  // the client
  void Line(std::string_view line) { Send(std::string(line) + "\r\n"); }
  void FrontTls();  // its handshake is done
  void Eof();
  void LoseClient();
  void After(base::Duration duration);  // deadlines in between are met
  void BackSays(const std::string& name, std::string_view bytes);
  void LoseBack(const std::string& name, base::FaultKind kind = base::FaultKind::kLost);
  void TakeBytes(const std::string& name);  // it takes bytes again
  void GivePeerName(const base::PeerName& name);
  void AnswerSpool();  // all that it owes
  void FailSpool(proto::JournalLoss why = proto::JournalLoss::kDisk);
  void Drain();

  // --- what came of it ---
  // All that the client was sent since the last call.
  std::string Replies();
  // The codes of complete replies since the last call: "250 250 550".
  std::string Codes();
  [[nodiscard]] bool is_over() const { return end.has_value(); }
  [[nodiscard]] std::string_view leg_backend() const {
    return leg_ ? std::string_view(leg_->backend->name) : std::string_view();
  }
  [[nodiscard]] size_t unsent_bytes() const { return leg_ ? leg_->unsent.size() : 0; }
  std::optional<base::EndCause> end;
  std::vector<proto::SmtpOutcome> outcomes;
  std::vector<std::string> events;  // of SmtpReports, one word each
  std::vector<proto::SmtpLegFault> faults;
  bool wants_front_tls = false;
  size_t budget_taken = 0;
  std::map<std::string, std::string> refusals;  // remembered: "from to" to reply
  std::optional<std::string> spool_file;        // of the message under way
  uint64_t num_front_bytes = 0;
  std::unique_ptr<proto::SmtpRelay> relay;
  base::MonoTime now{std::chrono::hours(1)};

 private:
  struct Home {
    std::vector<FakeBackend*> members;
  };
  struct Leg {
    proto::LegId id = 0;
    FakeBackend* backend = nullptr;
    std::string input;    // to the relay, not taken yet
    size_t shown = 0;     // of it, to the relay so far
    std::string partial;  // from the relay, not a whole line yet
    std::string unsent;
    FakeMessage message;
    enum class State { kCommands, kText, kChunk, kSasl } state = State::kCommands;
    uint64_t chunk_left = 0;
    bool is_last_chunk = false;
    bool is_connected = false;
    bool wants_tls = false;
  };

  static bool Contains(const void* home, proto::EndpointRef endpoint);
  [[nodiscard]] Home* HomeOf(const std::string& names);
  [[nodiscard]] bool HasCommon(const Home& home) const;
  void Drive();
  void Perform();
  void Do(proto::AskRoute& action);
  void Do(proto::ToBack& action);
  void Do(proto::SpoolAppend& action);
  void Do(proto::SpoolRead& action);
  void Do(proto::SpoolClose& action);
  void Do(proto::OpenLeg& action);
  void Do(proto::DropLeg& action);
  void Do(proto::StartTlsOn& action);
  void Do(proto::EndSession& action);
  void FlushBack();
  void FlushFront();
  [[nodiscard]] size_t NextPiece(size_t available);
  void Deliver(Leg& leg, std::string_view bytes);
  void Accept(Leg& leg);
  void BackLine(Leg& leg, const std::string& line);
  void BackChunk(Leg& leg);
  void Answer(Leg& leg, const std::string& what, const std::string& usual);

  // proto::SmtpReports, proto::ReplayBudget, proto::RefusalMemory
  void OnCommand(proto::SmtpVerb, base::Duration) override {}
  void OnRecipient(Recipient result) override;
  void OnBareNewline() override { events.emplace_back("bare_newline"); }
  void OnEarlyTalker() override { events.emplace_back("early_talker"); }
  void OnLogin(proto::Mechanism, const std::string& user, Login result) override;
  void OnTransaction(const proto::SmtpOutcome& outcome) override { outcomes.push_back(outcome); }
  void OnPhase(proto::LegId, base::Phase, base::Duration) override {}
  void OnLegFault(proto::LegId, const proto::SmtpLegFault& fault) override;
  void OnLegReady(proto::LegId, base::ByteView) override {}
  void OnLegBusy(proto::LegId) override { events.emplace_back("busy"); }
  void OnLegIdle(proto::LegId) override { events.emplace_back("idle"); }
  void OnMoved(Moved moved, base::FaultKind) override;
  void OnJournalLost(proto::JournalLoss why) override;
  bool Take(size_t num_bytes) override;
  void Return(size_t num_bytes) override { budget_taken -= num_bytes; }
  bool HasFileRoom(size_t num_bytes) const override {
    return (spool_file ? spool_file->size() : 0) + num_bytes <= file_bytes;
  }
  void Remember(std::string_view from, std::string_view to, base::ByteView reply) override;
  std::string Recall(std::string_view from, std::string_view to) override;

  std::map<std::string, std::unique_ptr<Home>> built_homes_;
  std::unique_ptr<Leg> leg_;
  bool is_spool_news_ = false;  // something was appended
  std::optional<proto::SpoolRead> spool_read_;
  std::string front_input_;
  std::string front_output_;
  std::unique_ptr<base::SeededRng> rng_;
  bool has_front_eof_ = false;
  bool is_driving_ = false;
};

}  // namespace postern::test
