// smtp_session: drives a SmtpRelay over two streams.
// SPDX-License-Identifier: Apache-2.0
#include "lb/session/smtp_session.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "lb/base/escape.h"
#include "lb/io/stream_end.h"

namespace postern::session {
namespace {

using base::FaultKind;
using base::Phase;
using base::SessionResult;
using base::Side;
using io::Stream;
using io::StreamEnd;

proto::SmtpFrontTls FrontTlsOf(const ListenerSettings& listener, const Stream& front) {
  if (front.in_tls()) return proto::SmtpFrontTls::kActive;
  return listener.conf.tls == conf::TlsMode::kStartTls ? proto::SmtpFrontTls::kOffered
                                                       : proto::SmtpFrontTls::kNone;
}

proto::SmtpSettings SettingsOf(const ListenerSettings& listener, const Stream& front,
                               bool has_spool, const IdleLegs* idle_legs) {
  const conf::Listener& conf = listener.conf;
  proto::SmtpSettings settings;
  settings.is_submission = conf.protocol == conf::Protocol::kSubmission;
  settings.is_lmtp = conf.protocol == conf::Protocol::kLmtp;
  settings.tls = FrontTlsOf(listener, front);
  settings.auth_requires_tls = conf.auth_requires_tls || conf.require_tls;
  settings.require_tls = conf.require_tls;
  settings.offers_xoauth2 = listener.offers_xoauth2;
  settings.offers_oauthbearer = listener.offers_oauthbearer;
  settings.pass_refusal_text = conf.pass_refusal_text;
  settings.hostname = listener.hostname;
  settings.capabilities = listener.capabilities;
  settings.bare_newline = listener.smtp.bare_newline;
  // Each recipient of LMTP is due the word of its own store: there is no late verdict of all.
  if (!settings.is_lmtp) settings.commit = listener.smtp.commit;
  settings.replay_memory = listener.smtp.replay_memory;
  settings.replay_limit = has_spool ? listener.smtp.replay_limit : 0;
  settings.retries = listener.smtp.retries;
  settings.leg_transactions = listener.smtp.legs_transactions;
  settings.passes_legs_on = idle_legs != nullptr;
  settings.greet_delay = conf.greet_delay;
  const conf::Limits& limits = conf.limits;
  settings.limits = {limits.line,    limits.sasl_line,    limits.reply_lines,   limits.recipients,
                     limits.message, limits.bad_commands, limits.auth_failures, limits.line};
  const conf::Timeouts& timeouts = conf.timeouts;
  proto::SmtpTimeouts& to = settings.timeouts;
  to.tls = timeouts.tls;
  to.login = timeouts.Login(conf.protocol);
  to.command = timeouts.command;
  to.data = timeouts.data;
  to.auth_failure_delay = timeouts.auth_failure_delay;
  to.connect = timeouts.connect;
  to.greeting = timeouts.greeting;
  to.auth = timeouts.auth;
  to.reply = timeouts.reply;
  to.data_start = timeouts.data_start;
  to.data_block = timeouts.data_block;
  to.data_done = timeouts.data_done;
  to.leg_idle = listener.smtp.legs_idle;
  return settings;
}

// Who keeps deadlines and limits for both has them; for the other they are out of reach.
constexpr base::Duration kNotOurs = std::chrono::years(10);

// The client's side, where homes have sessions of their own: these keep the message, move it, and
// wait for backends.
void LeaveToHomes(proto::SmtpSettings& settings) {
  settings.replay_memory = settings.replay_limit = 0;
  settings.retries = 0;
  settings.leg_transactions = UINT32_MAX;
  settings.passes_legs_on = false;
  proto::SmtpTimeouts& to = settings.timeouts;
  to.connect = to.greeting = to.auth = to.reply = kNotOurs;
  to.data_start = to.data_block = to.data_done = to.leg_idle = kNotOurs;
}

// A home's side: the client is another relay of ours.
void LeaveToClientsSide(proto::SmtpSettings& settings) {
  settings.greet_delay = {};
  settings.bare_newline = conf::BareNewline::kPass;
  settings.limits.line += kHomeLineBytes;
  // Judged by the client's side, of the text as it was sent: by now chunks have dots.
  settings.limits.message = UINT64_MAX;
  settings.limits.bad_commands = UINT64_MAX;
  proto::SmtpTimeouts& to = settings.timeouts;
  to.login = to.command = to.data = kNotOurs;
}

}  // namespace

proto::SmtpSettings SmtpSession::SettingsAt(Place place, const ListenerSettings& listener,
                                            const Stream& front, bool has_spool,
                                            const IdleLegs* idle_legs) {
  proto::SmtpSettings settings = SettingsOf(listener, front, has_spool, idle_legs);
  switch (place) {
    case Place::kWhole:
      break;
    case Place::kClient:
      LeaveToHomes(settings);
      break;
    case Place::kHome:
      LeaveToClientsSide(settings);
      break;
  }
  return settings;
}

SmtpSession::SmtpSession(SessionEnv& env, std::shared_ptr<const ListenerSettings> listener,
                         ClientFacts client, std::unique_ptr<Stream> front, Place place)
    : env_(env),
      listener_(std::move(listener)),
      client_(client),
      front_(std::move(front)),
      settings_(SettingsAt(place, *listener_, *front_,
                           env_.host.spool() != nullptr && listener_->smtp.spool_total > 0,
                           env_.host.idle_legs())),
      relay_(settings_, {client_.client, client_.local, client_.accepted}, *this, *this, *this),
      timer_(env.loop.timers(), io::Timer::Invoke<&SmtpSession::OnTimer, SmtpSession>, this) {
  account_.session = client_.session_id;
  account_.listener = listener_->conf.name;
  account_.protocol = listener_->conf.protocol;
  account_.client = client_.client;
}

SmtpSession::~SmtpSession() {
  if (self_ != nullptr) *self_ = nullptr;
}

void SmtpSession::Start() {
  OpenBooks();
  if (listener_->wants_peer_name) FindPeerName();
  front_->SetObserver(this);
  relay_.Start(env_.loop.Now(), front_->Input());
  Drive();
}

void SmtpSession::BeginDrain() {
  relay_.BeginDrain(env_.loop.Now());
  Drive();
}

// Where there is another to go to.
void SmtpSession::LeaveEndpoint(const balance::EndpointState& endpoint) {
  if (is_over_ || back_.leg == 0 || back_.state.get() != &endpoint) return;
  // An idle leg may be older than the homes, whose snapshot is let go of behind the work.
  if (back_.is_busy && !HasAnotherEndpoint()) return;
  relay_.LeaveLeg("the endpoint is down", env_.loop.Now());
  Drive();
}

void SmtpSession::Kill(SessionResult why) {
  relay_.Kill(why, env_.loop.Now());
  Drive();
}

// XCLIENT tells the client's name; it is looked up while the dialogue goes on.
void SmtpSession::FindPeerName() {
  if (has_asked_name_) return;
  has_asked_name_ = true;
  self_ = std::make_shared<SmtpSession*>(this);
  env_.resolver.FindPeerName(client_.client.ip, [self = self_](const base::PeerName& name) {
    SmtpSession* const session = *self;
    if (session == nullptr || session->is_over_) return;
    session->relay_.OnPeerName(name, session->env_.loop.Now());
    session->Drive();
  });
}

// --- events -----------------------------------------------------------------------------------

void SmtpSession::OnStream(Stream& stream, Stream::Event event) {
  if (is_over_) return;
  if (&stream == front_.get()) {
    OnFront(event);
  } else if (&stream == back_.stream.get()) {
    OnBack(event);
  } else {
    return;
  }
  Drive();
}

void SmtpSession::OnFront(Stream::Event event) {
  const base::MonoTime now = env_.loop.Now();
  switch (event) {
    case Stream::Event::kConnected:
    case Stream::Event::kReadable:
    case Stream::Event::kDrained:
      return;  // Drive looks
    case Stream::Event::kTlsUp: {
      const io::TlsFacts& facts = *front_->tls_facts();
      env_.recorder.Handshake(Side::kFront, facts.version, facts.group, facts.is_resumed, true);
      is_front_handshaking_ = false;
      relay_.OnFrontTls(now);
      return;
    }
    case Stream::Event::kEnd:
      if (front_->end() == StreamEnd::kEof) {
        has_front_eof_ = true;
        relay_.OnFrontEof(now);
      } else {
        relay_.OnFrontLost(now, io::EndInWords(*front_));
      }
      return;
  }
}

void SmtpSession::OnBack(Stream::Event event) {
  const base::MonoTime now = env_.loop.Now();
  switch (event) {
    case Stream::Event::kConnected:
      relay_.OnLegConnected(back_.leg, now);
      return;
    case Stream::Event::kTlsUp: {
      const io::TlsFacts& facts = *back_.stream->tls_facts();
      env_.recorder.Handshake(Side::kBack, facts.version, facts.group, facts.is_resumed, true);
      back_.is_handshaking = false;
      relay_.OnLegTls(back_.leg, now);
      return;
    }
    case Stream::Event::kReadable: {
      const size_t taken = relay_.OnBack(back_.leg, back_.stream->Input(), now);
      back_.bytes_in += taken;
      back_.stream->Consume(taken);
      return;
    }
    case Stream::Event::kDrained:
      return;  // Perform tells
    case Stream::Event::kEnd: {
      const StreamEnd end = back_.stream->end();
      if (end == StreamEnd::kRefused && back_.dial->num_left() > 0) {
        CloseLater(env_.loop, std::move(back_.stream));
        back_.stream = back_.dial->Next(env_, *this);
        return;
      }
      relay_.OnLegEnd(back_.leg, io::FaultOf(end), io::EndInWords(*back_.stream), now);
      return;
    }
  }
}

void SmtpSession::OnSpoolStored(uint64_t total_bytes) {
  relay_.OnSpoolStored(total_bytes, env_.loop.Now());
  Drive();
}

void SmtpSession::OnSpoolRead(base::ByteView bytes) {
  relay_.OnSpoolRead(bytes, env_.loop.Now());
  Drive();
}

void SmtpSession::OnSpoolFailed(io::SpoolFault fault) {
  relay_.OnSpoolFailed(
      fault == io::SpoolFault::kFull ? proto::JournalLoss::kFull : proto::JournalLoss::kDisk,
      env_.loop.Now());
  Drive();
}

void SmtpSession::OnTimer() {
  if (is_over_) return;
  const base::MonoTime now = env_.loop.Now();
  if (relay_.deadline() <= now) relay_.OnTimer(now);
  if (Patience() <= now) Suspect();
  Drive();
}

// --- the loop ---------------------------------------------------------------------------------

void SmtpSession::Drive() {
  if (is_over_) return;
  Perform();
  while (!is_over_ && ReadFront()) {
  }
  if (is_over_) return;
  if (relay_.is_idle()) parts_.reset();
  // A side that has more to take than it should hold stops the other one from bringing more.
  const bool is_full = front_->Unsent() > HighWater() || IsBackFull();
  const bool must_wait = is_full || (!relay_.wants_front() && !front_->Input().empty());
  if (must_wait && !is_front_paused_) {
    front_->PauseReads();
  } else if (!must_wait && is_front_paused_) {
    front_->ResumeReads();
  }
  is_front_paused_ = must_wait;
  Rearm();
}

bool SmtpSession::IsBackFull() const {
  if (back_.stream != nullptr && back_.stream->Unsent() > HighWater()) return true;
  return spool_file_ != nullptr && relay_.journal_waiting_bytes() > env_.host.spool()->Window();
}

size_t SmtpSession::HighWater() const {
  return env_.host.HighWater(listener_->conf.limits.buffer);
}

// True if there may be more to do.
bool SmtpSession::ReadFront() {
  if (!relay_.wants_front()) return false;
  if (front_->Unsent() > HighWater() || IsBackFull()) return false;
  const base::ByteView input = front_->Input();
  if (input.empty() && !has_front_eof_ && !relay_.is_draining()) return false;
  reading_bytes_ = input.size();
  const size_t taken = relay_.OnFront(input, env_.loop.Now());
  reading_bytes_ = 0;
  account_.bytes_in += taken;
  const bool has_stopped = !relay_.wants_front();
  Perform();  // some actions are slices of the input
  if (is_over_) return false;
  front_->Consume(taken);
  if (wants_front_tls_) StartFrontTls();
  // What it stopped for may have been answered at once: nothing else would make us look again.
  const bool goes_on = taken > 0 || (has_stopped && relay_.wants_front());
  return goes_on && !IsBackFull();
}

void SmtpSession::Perform() {
  std::vector<proto::SmtpAction>& actions = relay_.actions();
  do {
    // What is done here may append more.
    for (size_t i = 0; i < actions.size() && !is_over_; ++i) {
      proto::SmtpAction action = std::move(actions[i]);
      std::visit([this](auto& one) { Do(one); }, action);
    }
    actions.clear();
    FlushBack();
    if (back_.stream != nullptr && relay_.wants_unsent())
      relay_.OnLegUnsent(back_.leg, back_.stream->Unsent(), env_.loop.Now());
  } while (!actions.empty() || !relay_.back_output().empty());
  FlushFront();
  if (end_.has_value() && !is_over_) Finish(std::move(*end_));
}

void SmtpSession::FlushFront() {
  const base::ByteView output = relay_.front_output();
  if (output.empty()) return;
  account_.bytes_out += output.size();
  front_->Write(output);
  relay_.ClearFrontOutput();
}

void SmtpSession::FlushBack() {
  const base::ByteView output = relay_.back_output();
  if (output.empty()) return;
  if (back_.stream != nullptr) {
    WriteBack(output);
  }
  relay_.ClearBackOutput();
}

void SmtpSession::WriteBack(base::ByteView bytes) {
  back_.bytes_out += bytes.size();
  if (relay_.is_terminator_next()) {
    back_.stream->WritePart(bytes);  // the terminator follows as soon as the socket has these
  } else {
    back_.stream->Write(bytes);
  }
}

void SmtpSession::Rearm() {
  const base::MonoTime next = std::min(relay_.deadline(), Patience());
  // Deadlines move on with every command; only one that comes closer needs the heap now.
  if (!timer_.armed() ? next != base::MonoTime::max() : next < timer_.when()) timer_.ArmAt(next);
}

// --- actions ----------------------------------------------------------------------------------

void SmtpSession::Do(proto::ToBack& action) {
  if (action.bytes.empty() || back_.stream == nullptr) return;
  if (const base::ByteView before = relay_.back_output(); !before.empty()) {
    back_.bytes_out += before.size();
    back_.stream->WritePart(before);  // the size of a chunk, mostly
    relay_.ClearBackOutput();
  }
  WriteBack(action.bytes);
}

void SmtpSession::Do(proto::SpoolAppend& action) {
  if (spool_file_ == nullptr) spool_file_ = env_.host.spool()->Open(*this);
  spool_file_->Append(action.bytes);
}

void SmtpSession::Do(proto::SpoolRead& action) {
  spool_file_->Read(action.offset, action.num_bytes);
}

void SmtpSession::Do(proto::SpoolClose&) {
  spool_file_.reset();
}

void SmtpSession::Do(proto::DropLeg& action) {
  FlushBack();
  if (action.leg != back_.leg) return;
  if (action.idle != nullptr) action.how = PassLegOn(std::move(*action.idle));
  ReleaseBack(action.how, SessionResult::kClientQuit);
}

void SmtpSession::Do(proto::StartTlsOn& action) {
  if (action.side == Side::kFront) {
    wants_front_tls_ = true;  // when the line that asked for it is consumed
  } else if (action.leg == back_.leg) {
    FlushBack();
    StartBackTls();
  }
}

void SmtpSession::Do(proto::EndSession& action) {
  end_ = std::move(action.cause);
}

void SmtpSession::StartFrontTls() {
  wants_front_tls_ = false;
  io::TlsRequest request;
  request.settings = listener_->tls.get();
  is_front_handshaking_ = true;
  front_->StartTls(request);
}

// --- the process's memory ---------------------------------------------------------------------

bool SmtpSession::HasFileRoom(size_t num_bytes) const {
  return env_.host.spool() != nullptr && env_.host.spool()->HasRoom(num_bytes);
}

std::string SmtpSession::RefusalKey(std::string_view from, std::string_view to) const {
  std::string key = listener_->conf.name;
  for (const std::string_view part : {std::string_view(relay_.user()), from, to}) {
    key += '\n';
    key += part;
  }
  return key;
}

// Who has not logged in may name any sender.
std::string SmtpSession::RefusedClient() const {
  return relay_.user().empty() ? client_.client.ip.ToString() : "";
}

void SmtpSession::Remember(std::string_view from, std::string_view to, base::ByteView reply) {
  std::string value = RefusedClient();
  value += '\n';
  value += reply;
  env_.host.RememberRefusal(RefusalKey(from, to), value);
}

// The backend may have meant the client (its address, a forged sender), so that its words are for
// that one alone. Another one, which may be the same sender's, is told to send the recipient by
// itself: then what the backend says of it can be said.
std::string SmtpSession::Recall(std::string_view from, std::string_view to) {
  const std::string value = env_.host.RecallRefusal(RefusalKey(from, to));
  if (value.empty()) return "";
  const size_t end = value.find('\n');
  if (std::string_view(value).substr(0, end) == RefusedClient()) return value.substr(end + 1);
  return std::string(proto::Line(proto::SmtpText::kOtherHome));
}

// --- the end ----------------------------------------------------------------------------------

void SmtpSession::Finish(base::EndCause cause) {
  is_over_ = true;
  query_.reset();
  spool_file_.reset();
  timer_.Cancel();
  if (is_front_handshaking_) env_.recorder.Handshake(Side::kFront, "", "", false, false);
  if (back_.leg != 0) ReleaseBack(proto::DropLeg::How::kAtOnce, cause.result);
  CloseBooks(std::move(cause));
  front_->CloseGently();
  env_.host.Retire(*this);
}

}  // namespace postern::session
