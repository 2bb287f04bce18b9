// commands: check, schema, version, status, reload.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/commands.h"

#include <cstdio>
#include <fstream>

#include "conf/load.h"
#include "lb/daemon/process.h"
#include "lb/net/http_client.h"
#include "lb/net/library_versions.h"
#include "lb/tls/tls_library.h"

namespace postern::daemon {
namespace {

// Asks the running process; prints its answer's body, or why there is none.
int Ask(const std::string& config_path, const std::string& method, const std::string& path) {
  const conf::LoadResult loaded = conf::LoadFile(config_path, SystemFileChecks());
  if (!loaded.config) {
    for (const conf::Problem& error : loaded.errors)
      std::fprintf(stderr, "error: %s\n", error.ToString().c_str());
    return 1;
  }
  const conf::Admin& admin = loaded.config->admin;
  net::HttpCall call;
  call.method = method;
  call.target = path;
  call.unix_path = admin.socket;
  if (admin.socket.empty()) {
    if (admin.addresses.empty() || admin.addresses.front().port == 0) {
      std::fprintf(stderr,
                   "error: %s names neither admin.socket nor an admin.address with a port: the "
                   "running process cannot be found\n",
                   config_path.c_str());
      return 1;
    }
    call.address = admin.addresses.front();
    if (call.address.ip.is_unspecified()) call.address.ip = *base::IpAddress::Parse("127.0.0.1");
    std::string token;
    std::ifstream file(admin.token_file);
    if (!admin.token_file.empty() && std::getline(file, token))
      call.headers.emplace_back("Authorization", "Bearer " + token);
  }
  const base::Result<net::HttpAnswer> answer = net::Fetch(call);
  if (!answer) {
    std::fprintf(stderr, "error: %s\n", answer.error().c_str());
    return 1;
  }
  std::FILE* out = answer->status / 100 == 2 ? stdout : stderr;
  std::fputs(answer->body.c_str(), out);
  return answer->status / 100 == 2 ? 0 : 1;
}

}  // namespace

std::string VersionText() {
  return std::string("postern ") + POSTERN_VERSION + " (" + Revision() + ")\n" +
         tls::LibraryName() + (tls::HasMlkem() ? "" : ", without X25519MLKEM768") + "\n" +
         net::LibraryVersions() + "compiled by " + __VERSION__ + "\n";
}

int PrintVersion() {
  std::fputs(VersionText().c_str(), stdout);
  if (!tls::IsLibraryCurrent())
    std::fputs(
        "note: this TLS library is good for building and testing; a release wants a current "
        "BoringSSL (-DBORINGSSL_ROOT=...)\n",
        stdout);
  return 0;
}

int PrintSchema() {
  std::fputs(conf::Schema().c_str(), stdout);
  return 0;
}

int Check(const std::string& config_path) {
  const conf::LoadResult loaded = conf::LoadFile(config_path, SystemFileChecks());
  for (const conf::Problem& warning : loaded.warnings)
    std::fprintf(stderr, "warning: %s\n", warning.ToString().c_str());
  for (const conf::Problem& error : loaded.errors)
    std::fprintf(stderr, "error: %s\n", error.ToString().c_str());
  if (!loaded.config) {
    std::fprintf(stderr, "%s: %zu error%s\n", config_path.c_str(), loaded.errors.size(),
                 loaded.errors.size() == 1 ? "" : "s");
    return 1;
  }
  // What only building shows: certificates that do not load, CAs that cannot be read.
  balance::EndpointBook book(1);
  const auto built =
      BuildSnapshot(std::make_shared<const conf::Config>(*loaded.config),
                    {1, book, std::make_shared<tls::TicketKeys>(), base::SystemClock()});
  if (!built) {
    std::fprintf(stderr, "error: %s: %s\n", config_path.c_str(), built.error().c_str());
    return 1;
  }
  std::printf("%s: good (%zu listeners, %zu backends, %zu pools, %zu routes)\n",
              config_path.c_str(), loaded.config->listeners.size(), loaded.config->backends.size(),
              loaded.config->pools.size(), loaded.config->routes.size());
  return 0;
}

int ShowStatus(const std::string& config_path) {
  return Ask(config_path, "GET", "/api/v1/status");
}

int AskReload(const std::string& config_path) {
  return Ask(config_path, "POST", "/api/v1/reload");
}

}  // namespace postern::daemon
