// bindings: which sockets the listeners of a configuration need, which of them are there already,
// and the new ones bound.
//
// A socket is known by its listener's name, the place of its address in the list, and the address
// as configured: a reload that changes none of these keeps it, and with it what waits there.
// Owner:    the process.   Thread: control.
// Tests:    test/integration/commands_test.py
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "conf/config.h"
#include "lb/base/address.h"
#include "lb/base/result.h"
#include "lb/net/owned_fd.h"

namespace postern::daemon {

struct BoundListener {
  std::string name;
  uint32_t listener = 0;              // Config::listeners
  base::SocketAddress address;        // the real one
  std::vector<net::OwnedFd> sockets;  // one per worker, until they are handed over
  bool is_new = false;
};
using Bindings = std::map<std::string, BoundListener>;  // by BindingKey

[[nodiscard]] std::string BindingKey(const std::string& listener, size_t place,
                                     const base::SocketAddress& address);

// New sockets, num_workers each and not listening yet, for addresses that `known` has not; the
// others without any.
[[nodiscard]] base::Result<Bindings> Bind(const conf::Config& config, const Bindings& known,
                                          size_t num_workers);
// The new ones of them listen: whom the kernel lets in from now on is to be served, so this is the
// last thing that may fail before they are published. An error says which cannot.
[[nodiscard]] base::Result<bool> Listen(const Bindings& bindings);

}  // namespace postern::daemon
