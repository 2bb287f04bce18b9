// imap_answer: what an IMAP server answers to LIST, SEARCH and FETCH, taken apart.
//
// ImapAnswerReader cuts a stream into answers: lines with the literals that they announce. The
// functions below read one answer each; what is not exactly that answer gives nothing.
// Rules:    RFC 9051 7 and 9, RFC 3501 7.2.5 (SEARCH), RFC 6154 (special-use attributes). UIDs are
//           1 to 4294967295. A FETCH answer's items come in any order; others are passed over.
// Does not: know commands, tags or states (mailbox_dialogue does).
// Limits:   ImapAnswerReader::kMaxBytes an answer, kMaxDepth parentheses, kMaxUids a SEARCH.
// Owner:    one mailbox_dialogue.   Thread: none; pure.
// Tests:    test/health/imap_answer_test.cc, test/fuzz/imap_answer_fuzz.cc
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lb/base/bytes.h"

namespace postern::health {

class ImapAnswerReader {
 public:
  // Less than a stream holds for whoever does not consume.
  static constexpr size_t kMaxBytes = 192 << 10;

  enum class Status : uint8_t { kNeedBytes, kAnswer, kBad };
  struct Result {
    Status status = Status::kNeedBytes;
    size_t consumed = 0;  // of a whole answer; zero otherwise
    base::ByteView text;  // without its last CRLF; literals stand as they came, behind "{n}" CRLF
  };
  // input begins where the last answer ended, and has what was left unconsumed in front.
  [[nodiscard]] Result Next(base::ByteView input);
  // Another stream.
  void Reset();

 private:
  size_t line_ = 0;  // where the answer's present line begins, behind its last literal
  size_t scanned_ = 0;
};

inline constexpr size_t kMaxUids = 20'000;
inline constexpr int kMaxDepth = 16;

// "* SEARCH 2 84 882": the numbers as they came, kMaxUids at most. Nothing: no such answer.
[[nodiscard]] std::optional<std::vector<uint32_t>> ParseSearch(base::ByteView answer);

// "* 12 FETCH (UID 9 BODY[HEADER.FIELDS (X)] {5}..)". Nothing: no FETCH answer with both.
struct FetchedHeader {
  uint32_t uid = 0;
  std::string header;  // as it came
};
[[nodiscard]] std::optional<FetchedHeader> ParseFetchedHeader(base::ByteView answer);

// "* LIST (\HasNoChildren \Junk) "/" Spam". Nothing: no LIST answer.
struct ListedMailbox {
  bool is_junk = false;
  bool is_selectable = true;
  std::string name;  // as it came: in modified UTF-7
};
[[nodiscard]] std::optional<ListedMailbox> ParseListed(base::ByteView answer);

// The bodies of all fields of this name, unfolded and without blanks around them.
[[nodiscard]] std::vector<std::string> HeaderBodies(base::ByteView header, base::ByteView name);

// "3,5:9,12" of numbers in any order, each once.
[[nodiscard]] std::string PrintUidSet(std::vector<uint32_t> uids);

}  // namespace postern::health
