// dial: an endpoint's addresses in turn, and the words in which a fault of it is told.
// SPDX-License-Identifier: Apache-2.0
#include "lb/session/dial.h"

#include <utility>
#include <vector>

#include "lb/base/check.h"
#include "lb/base/escape.h"
#include "lb/base/log.h"

namespace postern::session {

Dial::Dial(const balance::Endpoint& endpoint)
    : endpoint_(&endpoint), facts_(endpoint.state->facts()) {
  if (facts_ == nullptr || facts_->addresses.empty())
    literal_ = base::IpAddress::Parse(endpoint.backend->host);
}

std::span<const base::IpAddress> Dial::addresses() const {
  if (literal_) return {&*literal_, 1};
  return facts_ == nullptr ? std::span<const base::IpAddress>() : facts_->addresses;
}

std::unique_ptr<io::Stream> Dial::Next(SessionEnv& env, io::Stream::Observer& observer) {
  POSTERN_CHECK(num_left() > 0);
  io::DialOptions options;
  options.address = {addresses()[num_dialled_++], endpoint_->conf->port};
  const std::vector<base::IpAddress>& sources = endpoint_->backend->source_addresses;
  const size_t start = sources.empty() ? 0 : env.rng.Below(sources.size());
  for (size_t i = 0; i < sources.size() && !options.source; ++i) {
    const base::IpAddress& source = sources[(start + i) % sources.size()];
    if (source.family() == options.address.ip.family()) options.source = source;
  }
  return env.dialer.Connect(options, observer);
}

void CloseLater(io::Loop& loop, std::unique_ptr<io::Stream> stream) {
  if (stream == nullptr) return;
  stream->Close();
  loop.Post([dead = std::shared_ptr<io::Stream>(std::move(stream))] {});
}

io::TlsRequest BackTls(const Parts& parts, const balance::Endpoint& endpoint) {
  const conf::Backend& backend = *endpoint.backend;
  io::TlsRequest request;
  request.role = io::TlsRole::kClient;
  request.settings = parts.back_tls[endpoint.id].get();
  request.server_name = backend.verify.name.empty() ? backend.host : backend.verify.name;
  return request;
}

std::string FaultInWords(const balance::Endpoint& endpoint, base::Phase phase, base::FaultKind kind,
                         std::string_view why) {
  std::string words = endpoint.backend->name;
  for (const std::string_view word : {base::Name(phase), base::Name(kind)}) {
    words += ' ';
    words += word;
  }
  if (!why.empty()) {
    words += ": ";
    words += why;
  }
  return words;
}

void LogFault(const balance::Endpoint& endpoint, base::Phase phase, base::FaultKind kind,
              std::string_view why) {
  if (!base::log::Enabled(base::log::Level::kWarn)) return;
  base::log::Warn("backend_failed", {{"backend", endpoint.backend->name},
                                     {"protocol", std::string(conf::Name(endpoint.conf->protocol))},
                                     {"phase", std::string(base::Name(phase))},
                                     {"kind", std::string(base::Name(kind))},
                                     {"why", base::Printable(why, 200)}});
}

}  // namespace postern::session
