// host_names: where hosts are.
// SPDX-License-Identifier: Apache-2.0
#include "lb/io/host_names.h"

#include <algorithm>
#include <utility>

#include "lb/base/log.h"

namespace postern::io {

struct HostNames::Host {
  Host(HostNames& its_owner, std::string its_name)
      : owner(its_owner),
        name(std::move(its_name)),
        again(its_owner.loop_.timers(), Timer::Invoke<&Host::OnTimer, Host>, this) {}
  void OnTimer() { owner.Ask(*this); }

  HostNames& owner;
  const std::string name;
  Timer again;
  bool is_failing = false;  // the log has it
};

HostNames::HostNames(Loop& loop, Resolver& resolver, OnResolved on_resolved)
    : loop_(loop), resolver_(resolver), on_resolved_(std::move(on_resolved)) {}

HostNames::~HostNames() = default;

void HostNames::Watch(const std::set<std::string>& hosts) {
  watch_ = std::make_shared<HostNames*>(this);
  hosts_.clear();
  for (const std::string& name : hosts) {
    auto& host = hosts_[name] = std::make_unique<Host>(*this, name);
    Ask(*host);
  }
}

void HostNames::Ask(Host& host) {
  resolver_.Resolve(host.name, [watch = std::weak_ptr<HostNames*>(watch_),
                                name = host.name](const ResolvedName& answer) {
    if (const auto names = watch.lock()) (*names)->OnAnswer(name, answer);
  });
}

void HostNames::OnAnswer(const std::string& name, const ResolvedName& answer) {
  const auto it = hosts_.find(name);
  if (it == hosts_.end()) return;
  Host& host = *it->second;
  if (answer.addresses.empty()) {
    if (!host.is_failing)
      base::log::Warn("resolve_failed", {{"host", name}, {"why", answer.error}});
    host.is_failing = true;
    host.again.ArmAt(loop_.Now() + kShortestTtl);
    return;
  }
  host.is_failing = false;
  host.again.ArmAt(loop_.Now() + std::clamp(answer.ttl, kShortestTtl, kLongestTtl));
  on_resolved_(name, answer.addresses);
}

}  // namespace postern::io
