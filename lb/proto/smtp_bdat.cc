// smtp_bdat: text in chunks (RFC 3030).
//
// The client's chunks are read like any text: what of it is there goes on at once. To a backend that
// takes chunks each read goes as a chunk of our own, so that bare newlines may be replaced, a move
// needs no memory of where chunks began, and no chunk is ever open there; BDAT 0 LAST, in a write of
// its own behind all their answers, hands over. Any other backend gets DATA and dots.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "lb/proto/smtp_relay.h"

namespace postern::proto {

using base::ByteView;
using base::Phase;
using base::SessionResult;

void SmtpRelay::Bdat(ByteView args) {
  const SmtpChunk chunk = ParseBdatArgs(args);
  if (!chunk.is_valid) {
    // Nobody knows where the octets end, and they must not be run.
    return SayGoodbye(SmtpText::kBadChunk, SessionResult::kProtocolError, "BDAT without a size");
  }
  front_ = Front::kChunk;
  chunk_ = {chunk.size, chunk.is_last, SmtpText::kOk};
  if (!announced_.chunking) {
    chunk_.refusal = SmtpText::kNotImplemented;
  } else if (mail_.stage == Stage::kNone) {
    chunk_.refusal = SmtpText::kNoMail;
  } else if (mail_.stage == Stage::kEnvelope) {
    BeginChunks();
  } else if (mail_.stage == Stage::kText && chunk.size > MessageLimit() - mail_.text_bytes) {
    Discard(Line(SmtpText::kMessageTooLarge));
  }
}

// The verdicts on all recipients are known.
void SmtpRelay::BeginChunks() {
  if (mail_.num_rcpt_commands == 0) return RefuseChunks(Line(SmtpText::kNoRecipients));
  if (mail_.is_broken) return RefuseChunks(Line(SmtpText::kBackendLost));
  if (mail_.num_accepted == 0) return RefuseChunks(NoValidRecipients());
  if (chunk_.left > MessageLimit()) return RefuseChunks(Line(SmtpText::kMessageTooLarge));
  mail_.is_chunked = true;
  mail_.stage = Stage::kDataAsked;
  chunk_scanner_ = SmtpChunkScanner(settings_.bare_newline == conf::BareNewline::kNormalize
                                        ? SmtpChunkScanner::BareNewlines::kNormalize
                                        : SmtpChunkScanner::BareNewlines::kKeep);
  if (mail_.is_uncommitted) return OpenText();
  wait_ = Wait::kDataStart;
  PumpEnvelope();
}

// The octets of the chunk that are there; with nothing, for a chunk of no octets.
size_t SmtpRelay::ReadChunk(ByteView input) {
  const ByteView octets = input.substr(0, std::min<uint64_t>(input.size(), chunk_.left));
  if (!MayRead(octets.size())) return 0;
  chunk_.left -= octets.size();
  CountForClock(octets.size());
  if (mail_.stage == Stage::kText) {
    made_text_.clear();
    dotted_.clear();
    const bool is_end = chunk_.left == 0 && chunk_.is_last;
    const ByteView text = chunk_scanner_.Take(octets, is_end, made_text_);
    PassOn(text, chunk_scanner_.has_bare_newline());
  }
  if (chunk_.left == 0) OnEndOfChunk();
  return octets.size();
}

void SmtpRelay::OnEndOfChunk() {
  front_ = Front::kCommand;
  must_restart_clock_ = true;
  if (chunk_.refusal != SmtpText::kOk) {
    if (failed_chunks_.empty()) return Bad(chunk_.refusal);
    for (size_t i = 0; i < (chunk_.is_last ? num_failed_final_ : 1); ++i) Say(failed_chunks_);
    if (chunk_.is_last) failed_chunks_.clear();
  } else if (mail_.stage == Stage::kDiscarded) {
    const std::string reply = std::move(mail_.discard_reply);
    if (!chunk_.is_last) {
      failed_chunks_ = reply;
      num_failed_final_ = settings_.is_lmtp ? std::max<size_t>(mail_.num_accepted, 1) : 1;
    }
    EndText(reply, {SessionResult::kClientQuit, base::Side::kNone, Phase::kData, ""});
  } else if (chunk_.is_last) {
    EndOfText();
  } else {
    // No word of the backend's: only the last chunk's answer says anything of the message.
    Say(SmtpText::kChunkOk);
  }
}

// This chunk is read to its end, then refused, and the transaction with it (RFC 3030 4.2).
void SmtpRelay::RefuseChunks(ByteView reply) {
  mail_.discard_reply = reply;
  LetGoOfLeg();
  mail_.is_chunked = true;
  mail_.stage = Stage::kDiscarded;
  wait_ = Wait::kNothing;
}

// --- to the backend ----------------------------------------------------------------------------

// The octets follow in the next ToBack.
void SmtpRelay::SayChunk(uint64_t size) {
  back_output_.append("BDAT ").append(std::to_string(size)).append("\r\n");
  if (leg_.expected.empty() || leg_.expected.back().what != Expect::kChunk) {
    leg_.expected.push_back({Expect::kChunk, mail_.number, 0, now_, 0});
  } else {
    ++leg_.expected.back().num_more;
  }
}

void SmtpRelay::OnChunkReply(const SmtpReply& reply) {
  if (!reply.is_ok()) return OnEarlyReply(reply);
  if (!leg_.expected.empty()) leg_.expected.front().sent = now_;  // its turn begins now
}

}  // namespace postern::proto
