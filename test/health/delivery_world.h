// delivery_world: a mail server in memory, SMTP in and IMAP out, and delivery probes that use it,
// in virtual time.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "health/delivery_message.h"
#include "health/delivery_probes.h"
#include "health/imap_answer.h"
#include "lb/base/rng.h"
#include "metrics/recorder.h"
#include "test/support/sim_loop.h"
#include "test/support/sim_net.h"

namespace postern::health {

// Both protocols as far as a probe speaks them.
class MailServer {
 public:
  struct Mail {
    uint32_t uid = 0;
    std::string text;
    bool is_deleted = false;
  };
  explicit MailServer(test::SimLoop& loop) : loop_(loop) {}

  test::SimNet::OnAccept SmtpDoor() {
    return [this](std::unique_ptr<test::SimStream> stream) { Open(std::move(stream), true); };
  }
  test::SimNet::OnAccept ImapDoor() {
    return [this](std::unique_ptr<test::SimStream> stream) { Open(std::move(stream), false); };
  }
  void Put(const std::string& folder, std::string text) {
    folders[folder].push_back({next_uid_++, std::move(text)});
  }
  void CutImap() {
    for (const auto& connection : connections_)
      if (!connection->is_smtp && !connection->is_over) connection->stream->Reset();
  }

  std::map<std::string, std::vector<Mail>> folders{{"INBOX", {}}};
  std::string capabilities = "IMAP4rev1 UIDPLUS SPECIAL-USE LIST-EXTENDED";
  std::string junk;                   // name of the \Junk folder; empty: none
  std::string delivers_to = "INBOX";  // empty: discards
  base::Duration delivers_after = std::chrono::milliseconds(300);
  std::map<std::string, std::string> refuses;  // first word of a command -> what is said instead
  std::vector<std::string> said;               // all commands
  int num_accepted = 0;

 private:
  struct Connection final : io::Stream::Observer {
    Connection(MailServer& its_owner, std::unique_ptr<test::SimStream> its_stream, bool its_is_smtp)
        : owner(its_owner), stream(std::move(its_stream)), is_smtp(its_is_smtp) {
      stream->SetObserver(this);
      stream->Write(is_smtp ? "220 mx ready\r\n" : "* OK ready\r\n");
    }
    void OnStream(io::Stream&, io::Stream::Event event) override {
      if (event == io::Stream::Event::kEnd) {
        is_over = true;
        stream->ShutdownWrite();
      }
      if (event != io::Stream::Event::kReadable) return;
      while (true) {
        const size_t end = stream->Input().find("\r\n");
        if (end == base::ByteView::npos) return;
        const std::string line(stream->Input().substr(0, end));
        stream->Consume(end + 2);
        is_smtp ? owner.TakeSmtp(*this, line) : owner.TakeImap(*this, line);
      }
    }
    MailServer& owner;
    std::unique_ptr<test::SimStream> stream;
    const bool is_smtp;
    bool is_over = false;
    bool is_in_text = false;
    std::string text, folder;
  };

  void Open(std::unique_ptr<test::SimStream> stream, bool is_smtp) {
    connections_.push_back(std::make_unique<Connection>(*this, std::move(stream), is_smtp));
  }

  void TakeSmtp(Connection& connection, const std::string& line) {
    if (connection.is_in_text) {
      if (line != ".") {
        connection.text += line + "\r\n";
        return;
      }
      connection.is_in_text = false;
      if (const auto no = refuses.find("."); no != refuses.end())
        return connection.stream->Write(no->second + "\r\n");
      ++num_accepted;
      loop_.Schedule(delivers_after, [this, folder = delivers_to, text = connection.text] {
        if (!folder.empty()) Put(folder, text);
      });
      return connection.stream->Write("250 2.0.0 queued\r\n");
    }
    said.push_back(line);
    const std::string verb = line.substr(0, line.find(' '));
    if (const auto no = refuses.find(verb); no != refuses.end())
      return connection.stream->Write(no->second + "\r\n");
    if (verb == "DATA") {
      connection.is_in_text = true;
      connection.text.clear();
      return connection.stream->Write("354 go on\r\n");
    }
    if (verb == "EHLO") return connection.stream->Write("250-mx\r\n250-AUTH PLAIN\r\n250 DSN\r\n");
    if (verb == "AUTH") return connection.stream->Write("235 in\r\n");
    connection.stream->Write(verb == "QUIT" ? "221 bye\r\n" : "250 ok\r\n");
  }

  void TakeImap(Connection& connection, const std::string& line) {
    said.push_back(line);
    const size_t blank = line.find(' ');
    const std::string tag = line.substr(0, blank);
    const std::string command = line.substr(blank + 1);
    std::string out;
    for (const auto& [words, no] : refuses)
      if (command.starts_with(words)) {
        out = no;
        for (size_t at = out.find('%'); at != std::string::npos; at = out.find('%'))
          out.replace(at, 1, tag);
        return connection.stream->Write(out + "\r\n");
      }
    std::vector<Mail>& mails = folders[connection.folder];
    const auto is_in = [&](uint32_t uid) {
      const size_t from = command.find_first_of("0123456789");
      return from != std::string::npos && Contains(command.substr(from), uid);
    };
    if (command == "CAPABILITY") {
      out = "* CAPABILITY " + capabilities + "\r\n";
    } else if (command.starts_with("LIST")) {
      if (!junk.empty()) out = "* LIST (\\Junk) \"/\" \"" + junk + "\"\r\n";
    } else if (command.starts_with("SELECT")) {
      connection.folder = command.substr(8, command.size() - 9);
    } else if (command.starts_with("UID SEARCH")) {
      out = "* SEARCH";
      const bool wants_deleted = command == "UID SEARCH DELETED";
      const std::string owner =
          wants_deleted
              ? ""
              : command.substr(command.find('"') + 1, command.rfind('"') - command.find('"') - 1);
      for (const Mail& mail : mails)
        if (wants_deleted
                ? mail.is_deleted
                : mail.text.find(std::string(kDeliveryHeader) + ": ") != std::string::npos &&
                      mail.text.find(owner) != std::string::npos)
          out += ' ' + std::to_string(mail.uid);
      out += "\r\n";
    } else if (command.starts_with("UID FETCH")) {
      for (const Mail& mail : mails)
        if (is_in(mail.uid)) {
          const size_t at = mail.text.find(kDeliveryHeader);
          const std::string header = mail.text.substr(at, mail.text.find("\r\n", at) + 2 - at);
          out += "* 1 FETCH (UID " + std::to_string(mail.uid) +
                 " BODY[HEADER.FIELDS (X-Postern-Probe)] {" + std::to_string(header.size() + 2) +
                 "}\r\n" + header + "\r\n)\r\n";
        }
    } else if (command.starts_with("UID STORE")) {
      for (Mail& mail : mails) mail.is_deleted |= is_in(mail.uid);
    } else if (command.starts_with("UID EXPUNGE")) {
      std::erase_if(mails, [&](const Mail& mail) { return mail.is_deleted && is_in(mail.uid); });
    } else if (command == "EXPUNGE") {
      std::erase_if(mails, [](const Mail& mail) { return mail.is_deleted; });
    }
    connection.stream->Write(out + tag + " OK done\r\n");
  }

  static bool Contains(const std::string& set, uint32_t uid) {
    const std::string numbers = set.substr(0, set.find(' '));
    for (size_t at = 0; at < numbers.size();) {
      const size_t end = std::min(numbers.find(',', at), numbers.size());
      const std::string part = numbers.substr(at, end - at);
      const size_t colon = part.find(':');
      const auto first = static_cast<uint32_t>(std::stoul(part));
      const auto last = colon == std::string::npos
                            ? first
                            : static_cast<uint32_t>(std::stoul(part.substr(colon + 1)));
      if (uid >= first && uid <= last) return true;
      at = end + 1;
    }
    return false;
  }

  test::SimLoop& loop_;
  uint32_t next_uid_ = 1;
  std::vector<std::unique_ptr<Connection>> connections_;
};

class DeliveryWorld : public testing::Test {
 protected:
  DeliveryWorld() {
    net_.Listen(*base::SocketAddress::Parse("10.0.0.1:25"), server_.SmtpDoor());
    net_.Listen(*base::SocketAddress::Parse("10.0.0.1:143"), server_.ImapDoor());
    config_->hostname = "lb1";
    AddBackend("m1", "10.0.0.1");
    conf::Probe& probe = config_->probes.emplace_back();
    probe.name = "p";
    probe.interval = std::chrono::seconds(60);
    probe.timeout = std::chrono::seconds(20);
    probe.from = "a@example.com";
    probe.to = "b@example.com";
    probe.send_backend = "m1";
    probe.find_backend = "m1";
    probe.find.user = "b";
    probe.find.password = base::Secret("secret");
    probe.mailbox = "INBOX";
  }
  void AddBackend(const std::string& name, const std::string& host) {
    conf::Backend& backend = config_->backends.emplace_back();
    backend.name = name;
    backend.host = host;
    backend.endpoints = {{.protocol = conf::Protocol::kSmtp, .port = 25},
                         {.protocol = conf::Protocol::kImap, .port = 143}};
  }
  void Watch() {
    (void)registry_.Configure(*config_);
    auto config = std::make_shared<const conf::Config>(*config_);
    configs_.push_back(config);
    probes_->Watch(std::make_shared<const DeliveryInputs>(DeliveryInputs{
        config, std::make_shared<balance::EndpointTable>(*config, book_), {}, doors_}));
  }
  // Until the first round has ended, whatever came of it.
  void RunRound() {
    const double before = Count("ok") + Count("failed");
    EXPECT_TRUE(loop_.RunUntil([&] { return Count("ok") + Count("failed") > before; }))
        << "no round has ended";
  }
  double Count(const std::string& result) const {
    return registry_.Value("postern_delivery_probes_total{probe=\"p\",result=\"" + result + "\"}");
  }
  double Stage(const std::string& stage, const std::string& what = "count") const {
    return registry_.Value("postern_delivery_probe_duration_seconds_" + what +
                           "{probe=\"p\",stage=\"" + stage + "\"}");
  }
  std::string Marked(const std::string& owner = "lb1/p") const {
    return "Subject: x\r\nX-Postern-Probe: " + owner + " 0123456789abcdef0123456789abcdef\r\n\r\n";
  }
  int NumSaid(const std::string& words) const {
    return static_cast<int>(std::count_if(
        server_.said.begin(), server_.said.end(),
        [&](const std::string& line) { return line.find(words) != std::string::npos; }));
  }

  test::SimLoop loop_;
  base::SeededRng rng_{1};
  test::SimNet net_{loop_, rng_};
  MailServer server_{loop_};
  metrics::Registry registry_;
  metrics::Recorder recorder_{registry_};
  balance::EndpointBook book_{1};
  std::shared_ptr<conf::Config> config_ = std::make_shared<conf::Config>();
  std::vector<std::shared_ptr<const conf::Config>> configs_;
  std::vector<DeliveryDoor> doors_;
  std::vector<Event> events_;
  std::unique_ptr<DeliveryProbes> probes_ = std::make_unique<DeliveryProbes>(
      loop_, net_, rng_, recorder_, [this](const Event& event) { events_.push_back(event); });
};

}  // namespace postern::health
