// smtp_relay: one SMTP session, both legs: the client's dialogue, the transaction with its journal,
// and the one backend it is on.
//
// Does not: touch sockets, TLS, routes, clocks or logs. Bytes, answers and the time come in;
// actions and two buffers of bytes to write go out.
// Rules:    RFC 5321 4.1-4.3; RFC 2920; RFC 3030; RFC 3207 4.2 (forget everything on STARTTLS);
//           RFC 4954 4; only a backend's 25z to the end becomes one; behind that no replay.
//           RFC 2033 (LMTP, on either side): the text is answered once for each recipient. One reply
//           to an SMTP client cannot pass that on: of his, a transaction over LMTP has one.
// Owner:    one SmtpSession, or a probe of the whole.   Thread: that session's worker; no locks.
// Limits:   SmtpLimits; memory is bounded by them (journal_waiting_bytes by the driver).
// Why so:   MAIL is answered before the backend is known, replies of a pipelined group come from
//           both sides, a transaction moves between backends, a leg outlives a transaction: all
//           that is one state, so it is one machine.
// Files:    smtp_driver.h (what is said to it and by it), smtp_relay.cc (what comes in),
//           smtp_commands.cc (the client's verbs), smtp_login.cc (AUTH), smtp_transaction.cc
//           (envelope and its replies), smtp_message.cc (text and its end), smtp_bdat.cc (text in
//           chunks), smtp_replay.cc (the journal and its file), smtp_leg.cc (the backend's
//           connection, moving to another), smtp_commit.cc (choosing it behind the text).
// Tests:    test/proto/smtp_relay_test.cc and neighbours, test/dialogue/smtp/,
//           test/fuzz/smtp_relay_fuzz.cc, test/sim/
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "conf/config.h"
#include "lb/base/address.h"
#include "lb/base/bytes.h"
#include "lb/base/check.h"
#include "lb/base/clock.h"
#include "lb/base/end_cause.h"
#include "lb/base/peer_name.h"
#include "lb/proto/sasl.h"
#include "lb/proto/smtp_back.h"
#include "lb/proto/smtp_chunks.h"
#include "lb/proto/smtp_data.h"
#include "lb/proto/smtp_driver.h"
#include "lb/proto/smtp_extensions.h"
#include "lb/proto/smtp_grammar.h"
#include "lb/proto/smtp_journal.h"
#include "lb/proto/smtp_replies.h"
#include "lb/proto/smtp_reply.h"
#include "lb/proto/smtp_text.h"

namespace postern::proto {

class SmtpRelay {
 public:
  SmtpRelay(const SmtpSettings& settings, const SmtpClient& client, SmtpReports& reports,
            ReplayBudget& budget, RefusalMemory& refusals);
  ~SmtpRelay();
  SmtpRelay(const SmtpRelay&) = delete;
  SmtpRelay& operator=(const SmtpRelay&) = delete;

  // Each call may append actions and output; the driver does them, clears them, and gives OnFront
  // what is left of the client's bytes again until nothing more is consumed.
  void Start(base::MonoTime now, base::ByteView early);
  [[nodiscard]] size_t OnFront(base::ByteView input, base::MonoTime now);
  void OnFrontTls(base::MonoTime now);
  // The client has closed its direction; all its bytes were given to OnFront, and what it did not
  // take now is given again.
  void OnFrontEof(base::MonoTime now);
  void OnFrontLost(base::MonoTime now, std::string why);
  void OnRoute(const RouteAnswer& answer, base::MonoTime now);

  void OnLegPicked(LegId leg, const SmtpLegFacts& facts, base::MonoTime now);
  // Instead of OnLegPicked: one that another client has left there; facts allow it (MayShare).
  void OnLegTaken(LegId leg, const SmtpLegFacts& facts, const SmtpIdleLeg& idle,
                  base::MonoTime now);
  // Nobody can take it; are there any that were not tried, being down or full?
  void OnNobody(LegId leg, bool has_untried, base::MonoTime now);
  void OnLegConnected(LegId leg, base::MonoTime now);
  void OnLegTls(LegId leg, base::MonoTime now);
  [[nodiscard]] size_t OnBack(LegId leg, base::ByteView input, base::MonoTime now);
  // What of all that was written to the leg the socket has not taken yet.
  void OnLegUnsent(LegId leg, size_t unsent_bytes, base::MonoTime now);
  void OnLegEnd(LegId leg, base::FaultKind kind, std::string why, base::MonoTime now);
  // The endpoint takes no work any more: what is not handed over and can go elsewhere goes, at
  // once.
  void LeaveLeg(std::string why, base::MonoTime now);
  void OnPeerName(const base::PeerName& name, base::MonoTime now);

  // Of the journal's file; of what was to be read perhaps only the beginning.
  void OnSpoolStored(uint64_t total_bytes, base::MonoTime now);
  void OnSpoolRead(base::ByteView bytes, base::MonoTime now);
  void OnSpoolFailed(JournalLoss why, base::MonoTime now);

  // Call when deadline() has come.
  void OnTimer(base::MonoTime now);
  [[nodiscard]] base::MonoTime deadline() const;

  void BeginDrain(base::MonoTime now);
  void Kill(base::SessionResult why, base::MonoTime now);

  // Output; what is returned may hold credentials. Cleared (and wiped) by the driver's call.
  [[nodiscard]] base::ByteView front_output() const { return replies_.Output(); }
  void ClearFrontOutput() { replies_.ClearOutput(); }
  [[nodiscard]] base::ByteView back_output() const { return back_output_; }
  void ClearBackOutput();
  [[nodiscard]] std::vector<SmtpAction>& actions() { return actions_; }

  // Whom OpenLeg is for: an endpoint of all of these, but none of those.
  [[nodiscard]] const std::vector<HomeRef>& homes() const { return homes_; }
  // A transaction has its home: homes() are those of the driver's present objects.
  [[nodiscard]] bool has_home() const { return work_ == Work::kTransaction; }
  [[nodiscard]] const std::vector<EndpointRef>& tried() const { return tried_; }
  // The transaction has more recipients than one that an LMTP endpoint can be given.
  [[nodiscard]] bool has_several() const {
    return !settings_.is_lmtp && mail_.num_accepted + mail_.num_waiting > 1;
  }
  // The recipient or user that decides (canonical form is the driver's).
  [[nodiscard]] std::string_view pick_key() const;
  [[nodiscard]] LegId leg() const { return leg_.id; }
  [[nodiscard]] EndpointRef leg_endpoint() const { return leg_.facts.endpoint; }
  [[nodiscard]] bool is_leg_lmtp() const { return leg_.facts.is_lmtp; }
  // May a leg there pass from client to client? Not where the backend is told of them.
  [[nodiscard]] bool MayShare(const SmtpLegFacts& facts) const;
  // Has a backend all that the message under way uses?
  [[nodiscard]] bool CoversTransaction(const SmtpExtensions& extensions) const;
  // What the backend owes an answer to, and since when; nothing: it is not its turn.
  struct Outstanding {
    base::Phase phase = base::Phase::kConnect;
    base::MonoTime since;
    bool is_passive = false;  // no byte that a client chose has been sent
  };
  [[nodiscard]] std::optional<Outstanding> outstanding() const;

  [[nodiscard]] bool is_over() const { return front_ == Front::kEnded; }
  // Nothing is under way that a reload must not disturb.
  [[nodiscard]] bool is_idle() const;
  // OnFront is to be called when there are bytes; it takes them, or refuses who speaks too early.
  [[nodiscard]] bool wants_front() const {
    return (wait_ == Wait::kNothing || wait_ == Wait::kGreetDelay) && !is_over();
  }
  [[nodiscard]] bool is_draining() const { return is_draining_; }
  // OnLegUnsent is to be called after writes to the leg.
  [[nodiscard]] bool wants_unsent() const { return leg_.is_data_open; }
  // All text was written; the terminator follows as soon as the leg's socket has taken it.
  [[nodiscard]] bool is_terminator_next() const {
    return mail_.stage == Stage::kEnding && leg_.is_data_open && !leg_.is_chunking &&
           !leg_.is_replaying;
  }
  // Of the message under way, what its file has not stored yet.
  [[nodiscard]] uint64_t journal_waiting_bytes() const { return journal_.waiting_bytes(); }
  [[nodiscard]] uint64_t num_commands() const { return num_commands_; }
  // Of the login that the backend has accepted; empty: none.
  [[nodiscard]] const std::string& user() const;
  // The login under way, or accepted; null: none.
  [[nodiscard]] const LoginRequest* login() const { return login_.get(); }
  // Its password is still known.
  [[nodiscard]] bool has_credentials() const;
  // Can a leg be opened to an endpoint of this kind?
  [[nodiscard]] bool MayOpenTo(conf::Reauth reauth) const;
  [[nodiscard]] std::string_view hello() const { return hello_; }
  // Of the transaction under way.
  [[nodiscard]] std::string_view reverse_path() const { return mail_.from; }
  [[nodiscard]] uint64_t transaction() const { return mail_.number; }  // 0: none
  [[nodiscard]] const SmtpReplies& replies() const { return replies_; }

 private:
  using Ticket = SmtpReplies::Ticket;
  static constexpr base::MonoTime kNever = base::MonoTime::max();

  enum class Front : uint8_t { kGreeting, kCommand, kSasl, kData, kChunk, kEnded };
  // Why the client's bytes are left alone.
  enum class Wait : uint8_t {
    kNothing,
    kGreetDelay,
    kTls,        // handshake
    kRoute,      // AskRoute
    kVerdicts,   // of the recipients before one with another home
    kQueue,      // too many replies are due
    kLogin,      // the backend's answer
    kRefusal,    // the time of a refusal
    kDataStart,  // 354, or a backend that takes chunks
    kLeg,        // within the text: the next backend, until it has all that was read
    kDataEnd,    // the reply to the end of data
  };
  enum class FrontClock : uint8_t { kOff, kCommand, kData };
  enum class Work : uint8_t { kNone, kLogin, kTransaction };

  struct Recipient {
    enum class State : uint8_t { kNew, kSent, kAccepted, kRefused };
    State state = State::kNew;  // on the present leg
    bool is_told = false;       // the client has its 250
    std::string address;
    std::string parameters;  // " NOTIFY=...", as they go out
    Ticket ticket = 0;       // while not told and not refused
    std::string refusal;     // by the present leg, of one who was told 250 (kAfterData)
    base::MonoTime asked;
  };

  enum class Stage : uint8_t {
    kNone,      // no transaction
    kEnvelope,  // MAIL was said
    kDataAsked,
    kText,       // 354 was said to the client, or a chunk is read, or the next one awaited
    kDiscarded,  // reading to the end of a text, or chunk, that will not be delivered
    kEnding,     // all text is written, the terminator is not
    kHandedOver,
  };

  struct Transaction {
    Stage stage = Stage::kNone;
    uint64_t number = 0;
    std::string from;
    std::string parameters;  // RET, ENVID: as they go out
    std::string auth;        // AUTH=...
    uint64_t size = 0;
    bool has_size = false;
    SmtpBody body = SmtpBody::kNone;
    bool is_utf8 = false;
    bool uses_dsn = false;
    bool is_chunked = false;  // the client sends it by BDAT: text and journal have no dots stuffed
    bool is_uncommitted = false;    // kAfterData: its backend will be chosen behind its text
    bool is_idle_leg_good = false;  // to be chosen
    uint64_t num_rcpt_commands = 0;
    std::vector<Recipient> recipients;
    size_t num_accepted = 0;  // told and not lost
    size_t num_waiting = 0;   // sent, or to be sent, and not told
    // LMTP: replies to the text, one for each accepted recipient.
    size_t num_final = 0;
    size_t next_final = 0;             // the recipient of the next
    std::string bad_final;             // the first that is no 25z: what the log says
    std::vector<std::string> refused;  // recipients whose own is none
    HomeRef relay;                     // by the rule that gave the transaction its home
    // Set once nobody there will take it: what each recipient of this home is told.
    std::string refusal;
    std::string last_refusal;  // of any recipient: what the log says if nothing else is said
    // The client was told of a recipient that cannot be had any more.
    bool is_broken = false;
    uint32_t moves = 0;
    std::vector<EndpointRef> lacking;  // of those tried, who would not get it as it is
    Ticket data_ticket = 0;
    base::MonoTime data_asked;
    uint64_t text_bytes = 0;
    std::string discard_reply;
    bool has_counted_newline = false;
  };

  enum class Expect : uint8_t { kRset, kMail, kRcpt, kData, kChunk, kEnd };
  struct Expected {
    Expect what = Expect::kMail;
    uint64_t transaction = 0;  // an answer to a transaction that is over says nothing any more
    size_t recipient = 0;
    base::MonoTime sent;
    uint64_t num_more = 0;  // of chunks and of LMTP's ends: so many answers follow this one
  };

  struct Leg {
    enum class State : uint8_t { kNone, kPicking, kLadder, kReady };
    LegId id = 0;
    State state = State::kNone;
    SmtpLegFacts facts;
    std::unique_ptr<SmtpBack> ladder;
    SmtpReplyReader reader{SmtpReplyReader::Limits{}};
    SmtpExtensions extensions;
    std::string hello;     // the client's name as said there
    bool is_esmtp = true;  // how it had said it
    bool knows_client = false;
    std::vector<Expected> expected;
    size_t next_recipient = 0;
    bool is_mail_sent = false;
    bool is_mail_accepted = false;
    bool is_mail_refused = false;
    bool is_data_sent = false;
    bool is_data_open = false;  // 354 came, or chunks are sent
    bool is_chunking = false;   // they are
    SmtpDotStuffer stuffer;     // of chunked text that goes there by DATA
    bool is_replaying = false;  // it has not been given all of the journal yet
    uint64_t replayed_bytes = 0;
    bool is_idle = false;
    bool is_early = false;     // what is unread came when no answer was due
    bool is_dirty = false;     // RSET is due before the next MAIL
    bool is_reused = false;    // served before, and has not answered anything of this work
    bool has_refused = false;  // something: servers count errors, and slow down or hang up
    uint32_t num_transactions = 0;
    size_t unsent_bytes = 0;
    base::Phase phase = base::Phase::kConnect;
    base::MonoTime phase_began;
    base::MonoTime deadline = kNever;
    base::MonoTime name_deadline = kNever;  // while the ladder waits for the client's name
    base::MonoTime name_wanted;
  };

  // smtp_relay.cc
  void Greet();
  void End(base::SessionResult result, base::Side side, std::string why);
  void SayGoodbye(SmtpText text, base::SessionResult result, std::string why);
  void FinishCall();
  [[nodiscard]] bool IsSafePoint() const;
  void OnFrontDeadline();
  // Answers a command that should not have come; the last one is answered with a goodbye.
  void Bad(SmtpText text);
  void RefuseEarlyTalker();
  void Say(SmtpText text) { replies_.Say(Line(text)); }
  void Say(base::ByteView lines) { replies_.Say(lines); }
  [[nodiscard]] base::Phase FrontPhase() const;

  // smtp_commands.cc
  [[nodiscard]] size_t ReadCommand(base::ByteView input);
  [[nodiscard]] size_t LineLimit(base::ByteView input) const;
  void RunCommand(const SmtpCommand& command, base::ByteView behind);
  [[nodiscard]] SmtpText CheckParameters(const SmtpPath& path) const;
  [[nodiscard]] uint64_t MessageLimit() const;
  void Hello(SmtpVerb verb, base::ByteView args);
  void SayEhlo();
  void StartTls(base::ByteView args, base::ByteView behind);
  void Mail(base::ByteView args);
  void Rcpt(base::ByteView args);
  void Data(base::ByteView args);
  void Quit(base::ByteView args);

  // smtp_login.cc
  void Auth(base::ByteView args);
  void SaslLine(base::ByteView line);
  void TakeSasl(SaslServer::Outcome outcome);
  void OnLoginRoute(const RouteAnswer& answer);
  void OnLoginFault(SmtpLegFault fault, EndpointRef endpoint);
  void LoginOk();
  struct LoginRefusal {
    std::string reply;      // whole lines; empty: our own
    std::string challenge;  // to be passed on before it
    base::Duration wait{};
  };
  void RefuseLogin(SmtpReports::Login result) { RefuseLogin(result, LoginRefusal()); }
  void RefuseLogin(SmtpReports::Login result, LoginRefusal refusal);
  // wait: from the password, at least.
  void FailLogin(base::ByteView reply, base::Duration wait = {});
  void RefuseAfter(base::Duration wait);  // from the password
  void SayRefusal();

  // smtp_transaction.cc
  void OnRecipientRoute(const RouteAnswer& answer);
  void PlaceRecipient();
  void BeginAtItsHome(bool is_idle_leg_good);
  void Gather();
  void PlaceWhereItStays();
  void AddRecipient();
  void RefuseRecipient(base::ByteView reply, SmtpReports::Recipient result);
  void PumpEnvelope();
  void SendMail();
  void SendRecipient(size_t index);
  void SendData();
  void OnMailReply(const SmtpReply& reply, base::Duration took);
  void OnRcptReply(const SmtpReply& reply, const Expected& expected);
  void OnDataReply(const SmtpReply& reply, base::Duration took);
  void StartText(base::ByteView reply);
  void AnswerRecipient(Recipient& recipient, base::ByteView reply, bool is_accepted);
  void AnswerWaiting(base::ByteView reply);
  void SettleVerdicts();
  void AnswerData(base::ByteView reply);
  void EndTransaction(base::ByteView reply, base::EndCause cause);
  void ForgetTransaction();
  void ReportTransaction(base::ByteView reply, base::EndCause cause);
  [[nodiscard]] bool CanAskData() const;
  [[nodiscard]] base::ByteView NoValidRecipients() const;

  // smtp_message.cc
  [[nodiscard]] size_t ReadText(base::ByteView input);
  void CountForClock(size_t num_bytes);
  void PassOn(base::ByteView text, bool has_bare_newline);
  void OpenText();
  void SendText(base::ByteView text);
  void OnEndOfText();
  void EndOfText();
  void Discard(base::ByteView reply);
  void HandOver();
  void OnEndReply(const SmtpReply& reply, base::Duration took);
  void SayFinal(base::ByteView reply);
  void NoteFinal(base::ByteView reply);
  [[nodiscard]] size_t NumFinal() const;
  void OnEarlyReply(const SmtpReply& reply);
  void EndText(base::ByteView reply, base::EndCause cause);

  // smtp_bdat.cc
  void Bdat(base::ByteView args);
  void BeginChunks();
  [[nodiscard]] size_t ReadChunk(base::ByteView input);
  void OnEndOfChunk();
  void RefuseChunks(base::ByteView reply);
  void SayChunk(uint64_t size);
  void OnChunkReply(const SmtpReply& reply);

  // smtp_commit.cc
  // The client's 250 for a recipient are Postern's own word, and the backend's comes later.
  [[nodiscard]] bool JudgesLate() const { return settings_.commit == conf::Commit::kAfterData; }
  [[nodiscard]] bool MayRead(size_t num_bytes);
  void Commit();
  [[nodiscard]] bool IsLegAtHome() const;
  void OnLateVerdict(Recipient& recipient, const SmtpReply& reply);

  // smtp_replay.cc
  void Keep(base::ByteView text);
  void Replay();
  void PumpReplay();
  void LoseJournal(JournalLoss why);
  void ForgetJournal();
  void CloseSpool();
  void ArmSpool();
  [[nodiscard]] bool CanMoveText() const;

  // smtp_leg.cc
  void ChooseLeg(bool is_idle_leg_good);
  void OpenAnother();
  void ReuseLeg();
  void BuildLadder(const SmtpLegFacts& facts);
  void RunLadder(SmtpBack::Step step);
  void OnLadderReady();
  void NotePhase(base::Phase next);
  [[nodiscard]] bool TakesText(const SmtpExtensions& extensions) const;
  void TakeReply(const SmtpReply& reply);
  void OnLegFault(SmtpLegFault fault);
  void MoveTransaction(const SmtpLegFault& fault, EndpointRef endpoint, bool was_envelope_sent);
  void ForgetVerdicts();
  void GiveUp(base::ByteView reply);
  [[nodiscard]] bool MaySayQuit() const;
  void CloseLeg(DropLeg::How how);
  void PassLegOn();   // or closes it
  void LetGoOfLeg();  // idle, or closed if it cannot serve again
  void ArmLeg();
  void OnLegDeadline();
  [[nodiscard]] base::Phase ReplyPhase() const;
  [[nodiscard]] SmtpLegFault FaultNow(base::FaultKind kind, std::string why) const;

  const SmtpSettings& settings_;
  const SmtpClient client_;
  SmtpReports& reports_;
  RefusalMemory& refusals_;
  SmtpExtensions announced_;

  base::MonoTime now_{};
  Front front_ = Front::kGreeting;
  Wait wait_ = Wait::kNothing;
  SmtpReplies replies_;
  std::string back_output_;
  bool has_secret_output_ = false;
  std::vector<SmtpAction> actions_;

  bool has_tls_ = false;
  bool is_draining_ = false;
  bool is_front_eof_ = false;
  bool is_skipping_line_ = false;
  bool is_esmtp_ = false;
  std::string hello_;
  uint64_t num_commands_ = 0;
  uint64_t num_bad_commands_ = 0;
  uint64_t num_auth_failures_ = 0;
  uint64_t num_transactions_ = 0;

  // Login.
  std::unique_ptr<SaslServer> sasl_;
  std::unique_ptr<LoginRequest> login_;  // under way, or accepted
  bool is_logged_in_ = false;
  bool stays_ = false;  // the leg of the login is the only one there can be
  Mechanism mechanism_ = Mechanism::kPlain;
  base::MonoTime password_came_{};
  base::MonoTime refusal_due_ = kNever;
  std::string refusal_;
  std::string challenge_;  // to be passed on before the refusal

  // Work: what a leg is wanted for.
  Work work_ = Work::kNone;
  std::vector<HomeRef> homes_;
  std::vector<EndpointRef> tried_;
  base::MonoTime search_began_{};
  Leg leg_;
  LegId last_leg_ = 0;
  std::optional<base::PeerName> peer_name_;

  Transaction mail_;
  Recipient recipient_;              // the one that RCPT speaks of now
  RouteAnswer recipient_way_;        // and where it goes; without text
  bool has_held_recipient_ = false;  // it waits for the verdicts on those before it
  SmtpJournal journal_;
  LegId reading_for_ = 0;  // the leg that what is read of the file is for; 0: nothing is read
  base::MonoTime spool_deadline_ = kNever;
  SmtpDataScanner scanner_;
  // What BDAT has announced.
  struct Chunk {
    uint64_t left = 0;  // octets still to come
    bool is_last = false;
    SmtpText refusal = SmtpText::kOk;  // said at its end: it belongs to no transaction
  };
  Chunk chunk_;
  SmtpChunkScanner chunk_scanner_;
  std::string failed_chunks_;      // said to what is left of a chunked text that was refused
  size_t num_failed_final_ = 0;    // so many times to its last chunk
  std::string made_text_;          // pieces of one read that had to be joined
  std::list<std::string> dotted_;  // text that had to be dotted; stays until the actions are done
  std::array<double, base::kNumPhases> phases_ms_;

  FrontClock front_clock_ = FrontClock::kOff;
  bool must_restart_clock_ = false;
  uint64_t clock_bytes_ = 0;
  base::MonoTime front_deadline_ = kNever;
  base::MonoTime login_deadline_ = kNever;
};

}  // namespace postern::proto
