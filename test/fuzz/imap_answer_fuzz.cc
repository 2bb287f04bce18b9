// imap_answer_fuzz: any bytes of an IMAP server, to the parsers and to the dialogue of a delivery
// probe: no crash, any cut gives the same, and nothing is touched that it did not ask for.
// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "health/imap_answer.h"
#include "health/mailbox_dialogue.h"
#include "lb/base/check.h"

namespace {

using postern::health::Dialogue;
using postern::health::ImapAnswerReader;
using postern::health::MailboxDialogue;

void Parse(std::string_view answer) {
  using namespace postern::health;  // NOLINT: the functions under test
  if (const auto uids = ParseSearch(answer)) POSTERN_CHECK(uids->size() <= kMaxUids);
  if (const auto fetched = ParseFetchedHeader(answer)) {
    POSTERN_CHECK(fetched->uid > 0 && fetched->header.size() <= answer.size());
    for (const std::string& body : HeaderBodies(fetched->header, "X-Postern-Probe"))
      POSTERN_CHECK(body.find('\n') == std::string::npos);
  }
  if (const auto listed = ParseListed(answer)) POSTERN_CHECK(!listed->name.empty());
}

// Logged in, then looks and removes what it has found, in pieces of so many bytes.
std::string Talk(std::string_view bytes, size_t piece_bytes, bool has_uidplus) {
  postern::health::MailboxPlan plan;
  plan.login.user = "u";
  plan.login.password = postern::base::Secret("p");
  plan.owner = "n/p";
  MailboxDialogue dialogue(plan);
  std::string said;
  POSTERN_CHECK(dialogue.OnConnected({}, said).want == Dialogue::Want::kBytes);
  std::string input = "* OK [CAPABILITY IMAP4rev1] hi\r\nP1 OK [CAPABILITY IMAP4rev1 SPECIAL-USE";
  input += has_uidplus ? " UIDPLUS] in\r\n" : "] in\r\n";
  size_t at = 0;
  while (true) {
    const Dialogue::Step step = dialogue.Next(input, said);
    POSTERN_CHECK(step.consumed <= input.size());
    input.erase(0, step.consumed);
    if (step.want == Dialogue::Want::kOver) return said + "<over>";
    POSTERN_CHECK(step.want != Dialogue::Want::kStartTls);
    if (step.want == Dialogue::Want::kTurn) {
      std::vector<uint32_t> uids;
      for (const MailboxDialogue::Found& each : dialogue.found()) uids.push_back(each.uid);
      POSTERN_CHECK(uids.size() <= MailboxDialogue::kMaxFound);
      if (!uids.empty() && said.find("FETCH") > said.rfind("STORE")) uids.clear();
      if (uids.empty()) {
        dialogue.Look("INBOX", said);
      } else {
        dialogue.Remove(uids, said);
      }
      continue;
    }
    if (step.consumed > 0) continue;
    if (at >= bytes.size()) return said;
    input += bytes.substr(at, piece_bytes);
    at += piece_bytes;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  Parse(bytes);
  ImapAnswerReader reader;
  std::string_view rest = bytes;
  while (true) {
    const ImapAnswerReader::Result result = reader.Next(rest);
    if (result.status != ImapAnswerReader::Status::kAnswer) break;
    Parse(result.text);
    rest.remove_prefix(result.consumed);
  }
  const bool has_uidplus = (data[0] & 1) != 0;
  POSTERN_CHECK(Talk(bytes, bytes.size() + 1, has_uidplus) ==
                Talk(bytes, 1 + data[0] / 2U, has_uidplus));
  return 0;
}
