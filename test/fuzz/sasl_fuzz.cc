// sasl_fuzz: exchanges of a client's, line by line; what comes out may become a line at a backend,
// and says there what it said here.
// SPDX-License-Identifier: Apache-2.0
#include "lb/proto/sasl.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "lb/base/base64.h"
#include "lb/base/check.h"
#include "lb/base/escape.h"

namespace {

using namespace postern;
using proto::Mechanism;
using proto::SaslServer;

// Takes a request to a backend that is our own server.
void Pass(const proto::LoginRequest& request, Mechanism mechanism) {
  proto::SaslClient client(mechanism, request, request.user);
  SaslServer server;
  SaslServer::Outcome outcome = server.Start(mechanism, std::nullopt);
  for (int i = 0; i < 3 && outcome == SaslServer::Outcome::kChallenge; ++i) {
    const proto::SaslClient::Step step = client.Next(server.challenge());
    POSTERN_CHECK(step.outcome == proto::SaslClient::Outcome::kRespond);
    outcome = server.Next(step.response.Reveal());
  }
  POSTERN_CHECK(outcome == SaslServer::Outcome::kDone && client.has_sent_all());
  const proto::LoginRequest again = server.TakeRequest();
  POSTERN_CHECK(again.user == request.user && again.password == request.password &&
                again.message == request.message);
}

}  // namespace

// Input: a byte of mechanism, one that says whether there is an initial response, then lines. A
// line that begins with '#' stands for the base64 of its rest.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const Mechanism mechanism = proto::kSaslMechanisms[data[0] % proto::kSaslMechanisms.size()];
  std::string_view rest(reinterpret_cast<const char*>(data) + 2, size - 2);
  const auto take = [&rest] {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string line(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return line.starts_with('#') ? base::Base64Encode(line.substr(1)) : line;
  };
  SaslServer server;
  SaslServer::Outcome outcome;
  if ((data[1] & 1) != 0) {
    outcome = server.Start(mechanism, take());
  } else {
    outcome = server.Start(mechanism, std::nullopt);
  }
  while (outcome == SaslServer::Outcome::kChallenge && !rest.empty()) outcome = server.Next(take());
  if (outcome != SaslServer::Outcome::kDone) return 0;
  const proto::LoginRequest request = server.TakeRequest();
  POSTERN_CHECK(!request.user.empty() && request.user.size() <= proto::kMaxUserBytes);
  POSTERN_CHECK(!base::HasLineBreakOrNul(request.user));
  POSTERN_CHECK(!base::HasLineBreakOrNul(request.password.Reveal()));
  if (IsToken(mechanism)) {
    Pass(request, mechanism);
  } else {
    Pass(request, Mechanism::kPlain);
    Pass(request, Mechanism::kLogin);
  }
  return 0;
}
