// smtp_bench: a SmtpRelay between a scripted client and fake backends, without sockets.
// SPDX-License-Identifier: Apache-2.0
#include "test/support/smtp_bench.h"

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <utility>
#include <variant>

namespace postern::test {

using base::ByteView;

SmtpBench::SmtpBench() {
  settings.hostname = "mx.example";
  proto::SmtpTimeouts& timeouts = settings.timeouts;
  using std::chrono::minutes;
  using std::chrono::seconds;
  timeouts = {seconds(10), minutes(5),  minutes(5),  minutes(5),  seconds(2),
              seconds(3),  seconds(10), seconds(20), seconds(90), seconds(30),
              minutes(3),  minutes(10), seconds(10)};
  client.address = *base::SocketAddress::Parse("192.0.2.7:40000");
  client.local = *base::SocketAddress::Parse("192.0.2.1:25");
  client.accepted = now;
}

SmtpBench::~SmtpBench() = default;

FakeBackend& SmtpBench::backend(const std::string& name) {
  std::unique_ptr<FakeBackend>& slot = backends[name];
  if (slot == nullptr) {
    slot = std::make_unique<FakeBackend>();
    slot->name = name;
  }
  return *slot;
}

void SmtpBench::Start(std::string_view early) {
  rng_ = std::make_unique<base::SeededRng>(seed);
  settings.capabilities = capabilities;
  relay = std::make_unique<proto::SmtpRelay>(settings, client, *this, *this, *this);
  relay->Start(now, early);
  if (peer_name) relay->OnPeerName(*peer_name, now);
  Drive();
}

// --- what happens -----------------------------------------------------------------------------

size_t SmtpBench::NextPiece(size_t available) {
  switch (cut) {
    case Cut::kWhole:
      return available;
    case Cut::kByByte:
      return 1;
    case Cut::kRandom:
      return 1 + rng_->Below(std::min<size_t>(available, 40));
  }
  return available;
}

void SmtpBench::Send(std::string_view bytes) {
  while (!bytes.empty() && !is_over()) {
    const size_t size = NextPiece(bytes.size());
    front_input_.append(bytes.substr(0, size));
    bytes.remove_prefix(size);
    num_front_bytes += size;
    Drive();
  }
}

void SmtpBench::FrontTls() {
  wants_front_tls = false;
  relay->OnFrontTls(now);
  Drive();
}

void SmtpBench::Eof() {
  has_front_eof_ = true;
  relay->OnFrontEof(now);
  Drive();
}

void SmtpBench::LoseClient() {
  relay->OnFrontLost(now, "reset");
  Drive();
}

void SmtpBench::After(base::Duration duration) {
  const base::MonoTime until = now + duration;
  while (!is_over() && relay->deadline() <= until) {
    now = std::max(now, relay->deadline());
    relay->OnTimer(now);
    Drive();
  }
  now = until;
}

void SmtpBench::BackSays(const std::string& name, std::string_view bytes) {
  if (leg_ == nullptr || leg_->backend->name != name) return;
  leg_->input += bytes;
  Drive();
}

void SmtpBench::LoseBack(const std::string& name, base::FaultKind kind) {
  if (leg_ == nullptr || leg_->backend->name != name) return;
  relay->OnLegEnd(leg_->id, kind, "lost", now);
  Drive();
}

void SmtpBench::TakeBytes(const std::string& name) {
  backend(name).takes_bytes = backend(name).takes_text = true;
  if (leg_ == nullptr || leg_->backend->name != name) return;
  const std::string bytes = std::move(leg_->unsent);
  leg_->unsent.clear();
  Deliver(*leg_, bytes);
  Drive();
}

void SmtpBench::GivePeerName(const base::PeerName& name) {
  relay->OnPeerName(name, now);
  Drive();
}

void SmtpBench::AnswerSpool() {
  std::string read;
  if (std::exchange(is_spool_news_, false)) relay->OnSpoolStored(spool_file->size(), now);
  if (spool_read_) {
    read =
        spool_file->substr(spool_read_->offset, std::min(spool_read_->num_bytes, spool_read_bytes));
    spool_read_.reset();
    relay->OnSpoolRead(read, now);
  }
  Perform();  // while the bytes are there
  Drive();
}

void SmtpBench::FailSpool(proto::JournalLoss why) {
  relay->OnSpoolFailed(why, now);
  Drive();
}

void SmtpBench::Drain() {
  relay->BeginDrain(now);
  Drive();
}

// --- the driver -------------------------------------------------------------------------------

void SmtpBench::Drive() {
  if (is_driving_) return;
  is_driving_ = true;
  Perform();
  bool is_busy = true;
  while (is_busy && !is_over()) {
    is_busy = false;
    if (is_spool_quick && (is_spool_news_ || spool_read_)) {
      AnswerSpool();
      is_busy = true;
    }
    if (leg_ != nullptr && !leg_->input.empty() && leg_->is_connected && !leg_->wants_tls) {
      // What could not be taken yet is shown again with one piece more.
      const proto::LegId id = leg_->id;
      while (leg_ != nullptr && leg_->id == id && leg_->shown < leg_->input.size() &&
             !leg_->wants_tls) {
        leg_->shown += NextPiece(leg_->input.size() - leg_->shown);
        const size_t taken = relay->OnBack(id, ByteView(leg_->input).substr(0, leg_->shown), now);
        leg_->input.erase(0, taken);
        leg_->shown -= taken;
        if (taken > 0) is_busy = true;
        Perform();
      }
      if (leg_ != nullptr && leg_->id != id) is_busy = true;
    }
    if (relay->wants_front() && (!front_input_.empty() || has_front_eof_ || relay->is_draining())) {
      const std::string input = front_input_;
      const size_t taken = relay->OnFront(input, now);
      Perform();
      front_input_.erase(0, taken);
      const bool has_leg_news = leg_ != nullptr && leg_->shown < leg_->input.size();
      if (taken > 0 || has_leg_news) is_busy = true;
    }
  }
  is_driving_ = false;
}

void SmtpBench::Perform() {
  std::vector<proto::SmtpAction>& actions = relay->actions();
  do {
    for (size_t i = 0; i < actions.size(); ++i) {
      proto::SmtpAction action = std::move(actions[i]);
      std::visit([this](auto& one) { Do(one); }, action);
    }
    actions.clear();
    FlushBack();
    if (leg_ != nullptr && relay->wants_unsent())
      relay->OnLegUnsent(leg_->id, leg_->unsent.size(), now);
  } while (!actions.empty() || !relay->back_output().empty());
  FlushFront();
}

void SmtpBench::FlushFront() {
  front_output_ += relay->front_output();
  relay->ClearFrontOutput();
}

void SmtpBench::FlushBack() {
  const std::string bytes(relay->back_output());
  relay->ClearBackOutput();
  if (leg_ != nullptr) Deliver(*leg_, bytes);
}

bool SmtpBench::Contains(const void* home, proto::EndpointRef endpoint) {
  const auto& members = static_cast<const Home*>(home)->members;
  return std::find(members.begin(), members.end(), endpoint) != members.end();
}

SmtpBench::Home* SmtpBench::HomeOf(const std::string& names) {
  std::unique_ptr<Home>& home = built_homes_[names];
  if (home == nullptr) {
    home = std::make_unique<Home>();
    std::istringstream words(names);
    for (std::string name; words >> name;) home->members.push_back(&backend(name));
  }
  return home.get();
}

bool SmtpBench::HasCommon(const Home& home) const {
  if (!relay->has_home()) return false;
  const auto& homes_now = relay->homes();
  const auto& tried = relay->tried();
  return std::any_of(home.members.begin(), home.members.end(), [&](const FakeBackend* member) {
    return !member->is_lmtp &&
           std::all_of(homes_now.begin(), homes_now.end(),
                       [member](const proto::HomeRef& each) { return each.Contains(member); }) &&
           std::find(tried.begin(), tried.end(), member) == tried.end();
  });
}

void SmtpBench::Do(proto::AskRoute& action) {
  const auto found = homes.find(std::string(action.name));
  const std::string& words = found == homes.end() ? homes[""] : found->second;
  proto::RouteAnswer answer;
  const std::string first = words.substr(0, words.find(' '));
  const std::string rest = words.size() > first.size() ? words.substr(first.size() + 1) : "";
  if (first == "reject" || first == "tempfail") {
    answer.kind =
        first == "reject" ? proto::RouteAnswer::Kind::kReject : proto::RouteAnswer::Kind::kTempFail;
    answer.text = rest;
  } else if (first == "unknown") {
    answer.kind = proto::RouteAnswer::Kind::kUnknown;
  } else if (first == "blocked") {
    answer.kind = proto::RouteAnswer::Kind::kBlocked;
  } else {
    const Home* home = HomeOf(words);
    answer.kind = proto::RouteAnswer::Kind::kHome;
    answer.home = {home, &Contains};
    answer.is_idle_leg_good = leg_ != nullptr && Contains(home, leg_->backend);
    answer.has_common = HasCommon(*home);
    answer.takes_several = std::any_of(home->members.begin(), home->members.end(),
                                       [](const FakeBackend* member) { return !member->is_lmtp; });
    const auto relay_names = relays.count(std::string(action.name)) != 0
                                 ? relays.find(std::string(action.name))
                                 : relays.find("");
    if (relay_names != relays.end()) answer.relay = {HomeOf(relay_names->second), &Contains};
  }
  relay->OnRoute(answer, now);
}

void SmtpBench::Do(proto::ToBack& action) {
  FlushBack();
  if (leg_ != nullptr) Deliver(*leg_, action.bytes);
}

void SmtpBench::Do(proto::SpoolAppend& action) {
  if (!spool_file) spool_file.emplace();
  *spool_file += action.bytes;
  is_spool_news_ = true;
}

void SmtpBench::Do(proto::SpoolRead& action) {
  spool_read_ = action;
}

void SmtpBench::Do(proto::SpoolClose&) {
  spool_file.reset();
  spool_read_.reset();
  is_spool_news_ = false;
}

void SmtpBench::Do(proto::OpenLeg& action) {
  if (action.leg != relay->leg()) return;
  FakeBackend* picked = nullptr;
  const auto& members = static_cast<const Home*>(relay->homes().front().home)->members;
  for (FakeBackend* member : members) {
    const auto& tried = relay->tried();
    const auto& wanted = relay->homes();
    if (member->is_lmtp && relay->has_several()) continue;
    if (std::find(tried.begin(), tried.end(), member) != tried.end()) continue;
    if (!relay->MayOpenTo(member->reauth)) continue;
    if (!std::all_of(wanted.begin(), wanted.end(),
                     [member](const proto::HomeRef& home) { return home.Contains(member); }))
      continue;
    picked = member;
    break;
  }
  if (picked == nullptr) return relay->OnNobody(action.leg, has_untried, now);
  leg_ = std::make_unique<Leg>();
  leg_->id = action.leg;
  leg_->backend = picked;
  ++picked->num_connections;
  proto::SmtpLegFacts facts;
  facts.endpoint = picked;
  facts.is_lmtp = picked->is_lmtp;
  facts.tls = picked->tls;
  facts.client_address = picked->client_address;
  facts.login_user = relay->pick_key();
  facts.reauth = picked->reauth;
  facts.keeps_credentials = std::any_of(
      members.begin(), members.end(),
      [](const FakeBackend* member) { return member->reauth == conf::Reauth::kReplay; });
  relay->OnLegPicked(leg_->id, facts, now);
  switch (picked->door) {
    case FakeBackend::Door::kOpen:
      leg_->is_connected = true;
      if (picked->tls != conf::TlsMode::kImplicit) Answer(*leg_, "GREETING", "220 " + picked->name);
      relay->OnLegConnected(leg_->id, now);
      break;
    case FakeBackend::Door::kRefuses:
      relay->OnLegEnd(leg_->id, base::FaultKind::kRefused, "refused", now);
      break;
    case FakeBackend::Door::kHangs:
      break;
  }
}

void SmtpBench::Do(proto::DropLeg& action) {
  FlushBack();
  if (leg_ != nullptr && action.leg == leg_->id) leg_.reset();
}

void SmtpBench::Do(proto::StartTlsOn& action) {
  if (action.side == base::Side::kFront) {
    wants_front_tls = true;
    return;
  }
  FlushBack();
  if (leg_ == nullptr || leg_->id != action.leg) return;
  leg_->input.clear();
  leg_->shown = 0;
  leg_->backend->lines.emplace_back("(tls)");
  if (leg_->backend->tls == conf::TlsMode::kImplicit)
    Answer(*leg_, "GREETING", "220 " + leg_->backend->name);
  relay->OnLegTls(leg_->id, now);
}

void SmtpBench::Do(proto::EndSession& action) {
  end = std::move(action.cause);
}

// --- fake backends ----------------------------------------------------------------------------

void SmtpBench::Answer(Leg& leg, const std::string& what, const std::string& usual) {
  std::string words = usual;
  std::map<std::string, std::vector<std::string>>& answers = leg.backend->answers;
  auto best = answers.end();
  for (auto it = answers.begin(); it != answers.end(); ++it)
    if (what.compare(0, it->first.size(), it->first) == 0 &&
        (best == answers.end() || it->first.size() > best->first.size()))
      best = it;
  if (best != answers.end()) {
    words = best->second.front();
    if (best->second.size() > 1) best->second.erase(best->second.begin());
  }
  if (words == "usual") words = usual;
  if (words == "hang") return;
  if (words == "die") {
    relay->OnLegEnd(leg.id, base::FaultKind::kLost, "closed", now);
    return;
  }
  for (size_t at = 0; at <= words.size();) {
    const size_t end_of_line = std::min(words.find('\n', at), words.size());
    leg.input += words.substr(at, end_of_line - at) + "\r\n";
    at = end_of_line + 1;
  }
  if (what == "DATA" && words.compare(0, 3, "354") == 0) {
    leg.state = Leg::State::kText;
    leg.message.text.clear();
  }
}

void SmtpBench::Deliver(Leg& leg, std::string_view bytes) {
  if (bytes.empty()) return;
  if (!leg.backend->takes_bytes || (!leg.backend->takes_text && leg.state == Leg::State::kText)) {
    leg.unsent += bytes;
    return;
  }
  const proto::LegId id = leg.id;
  leg.partial += bytes;
  leg.backend->octets += bytes;
  while (leg_ != nullptr && leg_->id == id) {
    if (leg.state == Leg::State::kChunk) {
      const size_t size = std::min<size_t>(leg.partial.size(), leg.chunk_left);
      leg.message.text += leg.partial.substr(0, size);
      leg.partial.erase(0, size);
      leg.chunk_left -= size;
      if (leg.chunk_left > 0) return;
      BackChunk(leg);
      continue;
    }
    if (leg.state == Leg::State::kText) {
      std::string& text = leg.message.text;
      const bool was_empty = text.empty();
      const size_t from = text.size() < 4 ? 0 : text.size() - 4;
      text += leg.partial;
      leg.partial.clear();
      const bool is_empty_message = text.compare(0, 3, ".\r\n") == 0;
      const size_t at = is_empty_message ? 0 : text.find("\r\n.\r\n", from);
      if (was_empty && !text.empty() && leg.backend->answers.count("TEXT") != 0)
        Answer(leg, "TEXT", "");
      if (leg_ == nullptr || at == std::string::npos) return;
      const size_t size = is_empty_message ? 0 : at + 2;
      leg.partial = text.substr(size + 3);
      text.resize(size);
      leg.state = Leg::State::kCommands;
      leg.backend->messages.push_back(leg.message);
      Accept(leg);
      continue;
    }
    const size_t end_of_line = leg.partial.find("\r\n");
    if (end_of_line == std::string::npos) return;
    const std::string line = leg.partial.substr(0, end_of_line);
    leg.partial.erase(0, end_of_line + 2);
    leg.backend->lines.push_back(line);
    BackLine(leg, line);
  }
}

// A chunk is whole.
void SmtpBench::BackChunk(Leg& leg) {
  leg.state = Leg::State::kCommands;
  const bool is_first = !leg.message.is_chunked;
  leg.message.is_chunked = true;
  if (!leg.is_last_chunk) {
    const bool has_text_answer = is_first && leg.backend->answers.count("TEXT") != 0;
    return Answer(leg, has_text_answer ? "TEXT" : "BDAT", "250 2.0.0 Ok");
  }
  leg.backend->messages.push_back(leg.message);
  Accept(leg);
}

// LMTP: one answer for each recipient.
void SmtpBench::Accept(Leg& leg) {
  const std::string usual = "250 2.0.0 Ok: queued as " + leg.backend->name + "Q" +
                            std::to_string(leg.backend->messages.size());
  if (!leg.backend->is_lmtp) return Answer(leg, ".", usual);
  for (const std::string& address : FakeMessage(leg.message).accepted)
    Answer(leg, "." + address, usual);
}

void SmtpBench::BackLine(Leg& leg, const std::string& line) {
  const auto begins = [&line](std::string_view word) {
    return line.compare(0, word.size(), word) == 0;
  };
  if (leg.state == Leg::State::kSasl) {
    leg.state = Leg::State::kCommands;
    return Answer(leg, "SASL", "235 2.7.0 welcome");
  }
  if (begins(leg.backend->is_lmtp ? "LHLO" : "EHLO")) {
    std::string lines = "250-" + leg.backend->name;
    for (const std::string& keyword : leg.backend->keywords) lines += "\n250-" + keyword;
    lines[lines.rfind("250-") + 3] = ' ';
    return Answer(leg, line, lines);
  }
  if (begins("HELO") && !leg.backend->is_lmtp) return Answer(leg, line, "250 " + leg.backend->name);
  if (begins("MAIL FROM:")) {
    leg.message = {};
    leg.message.from = line.substr(11, line.find('>') - 11);
    return Answer(leg, line, "250 2.1.0 Ok");
  }
  if (begins("RCPT TO:")) {
    const std::string address = line.substr(9, line.find('>') - 9);
    leg.message.to.push_back(address);
    const size_t before = leg.input.size();
    Answer(leg, "RCPT " + address, "250 2.1.5 Ok");
    if (leg.input.size() > before && leg.input[before] == '2')
      leg.message.accepted.push_back(address);
    return;
  }
  if (begins("DATA")) return Answer(leg, line, "354 go on");
  if (begins("BDAT ")) {
    const auto& keywords = leg.backend->keywords;
    if (leg.message.to.empty() ||
        std::find(keywords.begin(), keywords.end(), "CHUNKING") == keywords.end())
      return Answer(leg, "(no BDAT)", "503 5.5.1 not now");
    leg.state = Leg::State::kChunk;
    leg.chunk_left = std::strtoull(line.c_str() + 5, nullptr, 10);
    leg.is_last_chunk = line.size() > 5 && line.compare(line.size() - 5, 5, " LAST") == 0;
    return;
  }
  if (begins("RSET")) return Answer(leg, line, "250 2.0.0 Ok");
  if (begins("STARTTLS")) return Answer(leg, line, "220 2.0.0 go");
  if (begins("XCLIENT")) return Answer(leg, line, "220 " + leg.backend->name);
  if (begins("QUIT")) {
    leg.backend->was_quit = true;
    return Answer(leg, line, "221 2.0.0 bye");
  }
  if (begins("AUTH LOGIN")) {
    leg.state = Leg::State::kSasl;
    return Answer(leg, line, "334 VXNlcm5hbWU6");
  }
  if (begins("AUTH")) return Answer(leg, line, "235 2.7.0 welcome");
  if (line.empty()) return Answer(leg, "(empty)", "500 5.5.1 what?");
  Answer(leg, line, "500 5.5.1 what?");
}

std::string FakeMessage::Octets() const {
  if (is_chunked) return text;
  std::string octets = "\r\n" + text;
  for (size_t at = octets.find("\r\n."); at != std::string::npos; at = octets.find("\r\n.", at + 2))
    octets.erase(at + 2, 1);
  return octets.substr(2);
}

// --- what came of it --------------------------------------------------------------------------

std::string SmtpBench::Replies() {
  return std::exchange(front_output_, {});
}

std::string SmtpBench::Codes() {
  std::istringstream lines(Replies());
  std::string codes;
  for (std::string line; std::getline(lines, line);) {
    if (line.size() > 3 && line[3] == '-') continue;
    if (!codes.empty()) codes += ' ';
    codes += line.substr(0, 3);
  }
  return codes;
}

void SmtpBench::OnRecipient(Recipient result) {
  events.emplace_back(result == Recipient::kAccepted   ? "accepted"
                      : result == Recipient::kRejected ? "rejected"
                                                       : "deferred");
}

void SmtpBench::OnLogin(proto::Mechanism, const std::string& user, Login result) {
  constexpr const char* kWords[] = {"ok", "bad", "temp", "aborted", "blocked"};
  events.push_back("login " + user + " " + kWords[static_cast<int>(result)]);
}

void SmtpBench::OnLegFault(proto::LegId, const proto::SmtpLegFault& fault) {
  faults.push_back(fault);
}

void SmtpBench::OnMoved(Moved moved, base::FaultKind) {
  events.emplace_back(moved == Moved::kBeforeEnvelope ? "retry" : "replay");
}

void SmtpBench::OnJournalLost(proto::JournalLoss why) {
  constexpr const char* kWords[] = {"too_long", "full", "disk"};
  events.push_back(std::string("lost ") + kWords[static_cast<int>(why)]);
}

bool SmtpBench::Take(size_t num_bytes) {
  if (budget_taken + num_bytes > budget_bytes) return false;
  budget_taken += num_bytes;
  return true;
}

void SmtpBench::Remember(std::string_view from, std::string_view to, ByteView reply) {
  refusals[std::string(from) + " " + std::string(to)] = reply;
}

std::string SmtpBench::Recall(std::string_view from, std::string_view to) {
  const auto found = refusals.find(std::string(from) + " " + std::string(to));
  if (found == refusals.end()) return "";
  const std::string reply = found->second;
  refusals.erase(found);
  return reply;
}

}  // namespace postern::test
