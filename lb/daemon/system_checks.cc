// system_checks: certificates, keys, maps and addresses, looked at for the validator.
// SPDX-License-Identifier: Apache-2.0
#include "lb/daemon/system_checks.h"

#include "lb/net/own_addresses.h"
#include "lb/tls/cert_info.h"
#include "lb/tls/ticket_keys.h"
#include "lb/tls/tls_library.h"

namespace postern::daemon {

conf::FileChecks SystemFileChecks(MapLoader& maps, conf::FileChecks::Invalid invalid) {
  conf::FileChecks checks;
  checks.invalid = invalid;
  checks.validity = [](const std::string& cert) { return tls::CheckValidity(cert); };
  checks.is_own_address = [own = net::OwnAddresses()](const base::IpAddress& ip) {
    return own.count(ip) > 0;
  };
  checks.pair = [](const std::string& cert, const std::string& key) {
    return tls::CheckPair(cert, key);
  };
  checks.ca_file = [](const std::string& path) { return tls::CheckCaFile(path); };
  checks.map_file = [&maps](const std::string& path, const conf::Users& users) {
    return maps.Check(path, users);
  };
  checks.ticket_keys = [](const std::string& path) { return tls::CheckTicketKeys(path); };
  checks.knows_group = [](const std::string& group) { return tls::KnowsGroup(group); };
  return checks;
}

}  // namespace postern::daemon
