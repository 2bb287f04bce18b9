// auth_http: one question through the servers.
// SPDX-License-Identifier: Apache-2.0
#include "lb/directory/auth_http.h"

#include <utility>

#include "lb/base/url.h"
#include "lb/directory/auth_http_wire.h"
#include "lb/directory/kept.h"
#include "lb/directory/server_dial.h"
#include "lb/directory/server_walk.h"
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
        walk_(core_->servers),
        late_(core_->loop.timers(), io::Timer::Invoke<&Question::OnLate, Question>, this) {}

  // The next server, if there is one, which answers later.
  void AskNext() {
    answer_ = {};
    if (!walk_.Next()) return Finish(walk_.Failure());
    const base::HttpUrl& url = core_->urls[walk_.server()];
    tls_ = core_->tls[walk_.server()];
    if (url.is_https && tls_ == nullptr) {
      late_.ArmAt(core_->loop.Now());
      return;
    }
    late_.ArmAt(core_->loop.Now() + core_->timeout);
    dial_ = std::make_unique<ServerDial>(
        core_->loop, core_->dialer, core_->servers, walk_.server(),
        DialTls{url.is_https ? tls_.get() : nullptr, url.host},
        [this](std::unique_ptr<io::Stream> stream, const std::string& why, Blame blame) {
          OnDialled(std::move(stream), why, blame);
        });
    dial_->Start();
  }

 private:
  void OnDialled(std::unique_ptr<io::Stream> stream, const std::string& why, Blame blame) {
    dial_.reset();
    if (stream == nullptr) return Leave(why, blame);
    stream_ = std::move(stream);
    stream_->SetObserver(this);
    stream_->WritePart(AuthHttpHead(core_->urls[walk_.server()], core_->headers));
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
      case AuthHttpAnswer::Status::kDone:
        return Finish(walk_.Answered(answer_.answer()));
      case AuthHttpAnswer::Status::kBroken:
        return Leave(answer_.error(), Blame::kServer);
      case AuthHttpAnswer::Status::kUnfit:
        // It works, and what it says of others may be sound.
        return Leave(answer_.error(), Blame::kQuestion);
    }
  }

  void OnLate() {
    if (dial_ != nullptr) return Leave(std::string(dial_->GiveUp()), Blame::kServer);
    if (stream_ != nullptr) return Leave("no whole answer in time", Blame::kServer);
    Leave("there are no TLS settings for it", Blame::kServer);
  }

  void Leave(const std::string& why, Blame blame) {
    late_.Cancel();
    walk_.Leave(why, blame);
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
  ServerWalk walk_;
  io::Timer late_;
  std::shared_ptr<const io::TlsSettings> tls_;  // of dial_ and stream_
  std::unique_ptr<ServerDial> dial_;
  std::unique_ptr<io::Stream> stream_;
  AuthHttpAnswer answer_;
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
