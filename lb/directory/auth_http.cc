// auth_http: one question through the servers.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/auth_http.h"

#include <utility>

#include "lb/base/url.h"
#include "lb/directory/auth_http_wire.h"
#include "lb/directory/kept.h"
#include "lb/directory/server_dial.h"
#include "lb/directory/servers.h"
#include "lb/io/timer.h"

namespace postern::directory {
namespace {

std::vector<base::HttpUrl> UrlsOf(const conf::Directory& conf) {
  std::vector<base::HttpUrl> urls;
  for (const std::string& text : conf.urls)
    // The validator has refused what is no URL.
    if (auto url = base::ParseHttpUrl(text)) urls.push_back(std::move(url).value());
  return urls;
}

std::vector<ServerPlace> PlacesOf(const std::vector<base::HttpUrl>& urls) {
  std::vector<ServerPlace> places;
  for (const base::HttpUrl& url : urls) places.push_back({url.host, url.port, {}});
  return places;
}

}  // namespace

struct AuthHttp::Core {
  Core(io::Loop& its_loop, io::Dialer& its_dialer, io::Resolver& resolver,
       const conf::Directory& conf, Tls its_tls)
      : loop(its_loop),
        dialer(its_dialer),
        timeout(conf.timeout),
        headers(conf.headers),
        urls(UrlsOf(conf)),
        tls(std::move(its_tls)),
        servers(its_loop, resolver, conf.name, PlacesOf(urls)) {
    tls.resize(urls.size());
  }

  io::Loop& loop;
  io::Dialer& dialer;
  const base::Duration timeout;
  const AuthHttpHeaders headers;
  const std::vector<base::HttpUrl> urls;
  Tls tls;  // as urls
  Servers servers;
};

class AuthHttp::Question final : public io::Lookup, private io::Stream::Observer {
 public:
  Question(std::shared_ptr<Core> core, base::Secret text, Done done)
      : core_(std::move(core)),
        text_(std::move(text)),
        done_(std::move(done)),
        order_(core_->servers.Order()),
        late_(core_->loop.timers(), io::Timer::Invoke<&Question::OnLate, Question>, this) {}

  // The next server, if there is one, which answers later.
  void AskNext() {
    answer_ = {};
    if (next_ == order_.size())
      return Finish(is_of_question_ ? FailedForOne(std::move(why_)) : Failed(std::move(why_)));
    server_ = order_[next_++];
    core_->servers.OnAsked(server_);
    const base::HttpUrl& url = core_->urls[server_];
    tls_ = core_->tls[server_];
    if (url.is_https && tls_ == nullptr) {
      late_.ArmAt(core_->loop.Now());
      return;
    }
    late_.ArmAt(core_->loop.Now() + core_->timeout);
    dial_ = std::make_unique<ServerDial>(
        core_->loop, core_->dialer, core_->servers, server_,
        DialTls{url.is_https ? tls_.get() : nullptr, url.host},
        [this](std::unique_ptr<io::Stream> stream, const std::string& why) {
          OnDialled(std::move(stream), why);
        });
    dial_->Start();
  }

 private:
  enum class Blame : uint8_t { kServer, kAnswer };

  void OnDialled(std::unique_ptr<io::Stream> stream, const std::string& why) {
    dial_.reset();
    if (stream == nullptr) return Leave(why, Blame::kServer);
    stream_ = std::move(stream);
    stream_->SetObserver(this);
    stream_->WritePart(AuthHttpHead(core_->urls[server_], core_->headers));
    stream_->Write(text_.Reveal());
    TakeInput();
  }

  void OnStream(io::Stream&, io::Stream::Event event) override {
    if (stream_ == nullptr) return;
    if (event == io::Stream::Event::kReadable) return TakeInput();
    if (event == io::Stream::Event::kEnd) Judge(answer_.End());
  }

  void TakeInput() {
    const base::ByteView input = stream_->Input();
    if (input.empty()) return;
    const AuthHttpAnswer::Status status = answer_.Feed(input);
    stream_->Consume(input.size());
    Judge(status);
  }

  void Judge(AuthHttpAnswer::Status status) {
    switch (status) {
      case AuthHttpAnswer::Status::kMore:
        return;
      case AuthHttpAnswer::Status::kDone: {
        core_->servers.OnAnswered(server_);
        io::LookupAnswer answer = answer_.answer();
        const std::string words = std::exchange(answer.why, core_->servers.name(server_));
        if (!words.empty()) answer.why += ": " + words;
        return Finish(answer);
      }
      case AuthHttpAnswer::Status::kBroken:
        return Leave(answer_.error(), Blame::kServer);
      case AuthHttpAnswer::Status::kUnfit:
        // It works, and what it says of others may be sound.
        core_->servers.OnAnswered(server_);
        return Leave(answer_.error(), Blame::kAnswer);
    }
  }

  void OnLate() {
    if (dial_ != nullptr) return Leave(std::string(dial_->GiveUp()), Blame::kServer);
    if (stream_ != nullptr) return Leave("no whole answer in time", Blame::kServer);
    Leave("there are no TLS settings for it", Blame::kServer);
  }

  void Leave(const std::string& why, Blame blame) {
    late_.Cancel();
    if (blame == Blame::kServer) core_->servers.OnFailed(server_, why);
    is_of_question_ |= blame == Blame::kAnswer;
    AppendReason(why_, core_->servers.name(server_), why);
    dial_.reset();
    Drop(core_->loop, std::move(stream_));
    AskNext();
  }

  // Its caller may destroy this.
  void Finish(const io::LookupAnswer& answer) {
    late_.Cancel();
    dial_.reset();
    Drop(core_->loop, std::move(stream_));
    const Done done = std::exchange(done_, nullptr);
    done(answer);
  }

  const std::shared_ptr<Core> core_;
  const base::Secret text_;
  Done done_;
  const std::vector<uint32_t> order_;
  size_t next_ = 0;  // of order_
  uint32_t server_ = 0;
  io::Timer late_;
  std::shared_ptr<const io::TlsSettings> tls_;  // of dial_ and stream_
  std::unique_ptr<ServerDial> dial_;
  std::unique_ptr<io::Stream> stream_;
  AuthHttpAnswer answer_;
  std::string why_;              // of the servers left behind
  bool is_of_question_ = false;  // one of them works
};

AuthHttp::AuthHttp(io::Loop& loop, io::Dialer& dialer, io::Resolver& resolver,
                   const conf::Directory& conf, Tls tls)
    : core_(MakeKept<Core>(loop, loop, dialer, resolver, conf, std::move(tls))) {}

AuthHttp::~AuthHttp() = default;

void AuthHttp::UseTls(Tls tls) {
  core_->tls = std::move(tls);
  core_->tls.resize(core_->urls.size());
}

std::optional<io::LookupAnswer> AuthHttp::Ask(const io::LookupQuery& query, Done done,
                                              std::unique_ptr<io::Lookup>& pending) {
  if (core_->urls.empty()) return Failed("it has no servers");
  auto text = AuthHttpQuestion(query, core_->headers);
  if (!text) return FailedForOne(text.error());
  auto question = std::make_unique<Question>(core_, std::move(text).value(), std::move(done));
  question->AskNext();
  pending = std::move(question);
  return std::nullopt;
}

}  // namespace postern::directory
